"""Hallucinated stems: kept endings, both words alike, new starts, no irregular verb spelled."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paradigms import ROWS, paradigm

from cvae.alphabet import EOS, MAX_WORD_LENGTH, PAD, decode
from cvae.batches import words_to_tensor
from cvae.data import Paradigm
from cvae.hallucination import Hallucination, Pairs, fingerprints

PATIENT = settings(deadline=None)  # a slow machine is not a failure

VOWELS = set("aeiou")


# The letters that may change: the common prefix without its last two letters.
FREE = ("aband", "ca", "", "embarra", "", "v", "")


def hallucination(rows: Sequence[Paradigm], *, kept_letters: int = 2) -> Hallucination:
    words = words_to_tensor([word for row in rows for word in row.preferred])
    return Hallucination(rows, words.symbols.view(len(rows), 4, -1), kept_letters=kept_letters)


def made_up(
    rows: Sequence[Paradigm],
    seed: int = 0,
    *,
    share: float = 1.0,
    start_share: float = 0.0,
) -> Iterator[tuple[int, tuple[str, str], tuple[str, str]]]:
    """For every pair of tenses of every row: the row, the pair before and after."""
    cases = list(itertools.product(range(len(rows)), range(4), range(4)))
    before = [(rows[row].preferred[a], rows[row].preferred[b]) for row, a, b in cases]
    packed = words_to_tensor([word for pair in before for word in pair])
    source, target = packed.symbols[0::2], packed.symbols[1::2]
    generator = torch.Generator().manual_seed(seed)
    made = hallucination(rows)(
        Pairs(
            torch.tensor([row for row, _, _ in cases]),
            source, packed.lengths[0::2], target, packed.lengths[1::2],
        ),
        share=share,
        start_share=start_share,
        generator=generator,
    )  # fmt: skip
    after = []
    for words, lengths in (
        (made.source, made.source_lengths),
        (made.target, made.target_lengths),
    ):
        spelled = [decode(symbols) for symbols in words.tolist()]
        assert lengths.tolist() == [len(word) + 1 for word in spelled]
        for symbols, word in zip(words.tolist(), spelled, strict=True):
            assert symbols[len(word)] == EOS and set(symbols[len(word) + 1 :]) <= {PAD}
        after.append(spelled)
    for (row, _, _), pair, first, second in zip(cases, before, *after, strict=True):
        yield row, pair, (first, second)


# Letters


def test_the_free_letters_are_the_shared_stem_less_the_kept_ones_of_regular_rows() -> None:
    def free(kept_letters: int) -> list[int]:
        return hallucination(ROWS, kept_letters=kept_letters).free_letters.tolist()

    assert free(2) == [len(letters) for letters in FREE]
    assert free(0) == [7, 4, 0, 9, 0, 3, 0]


def test_only_the_free_letters_change_and_both_words_change_alike() -> None:
    changed = set()
    for seed in range(20):
        for row, before, after in made_up(ROWS, seed):
            free = len(FREE[row])
            assert after[0][:free] == after[1][:free]
            for old, new in zip(before, after, strict=True):
                assert new[free:] == old[free:]
                for made, true in zip(new, FREE[row], strict=False):
                    assert (made in VOWELS) == (true in VOWELS)
            if after[0][:free] != FREE[row]:
                changed.add(row)
    assert changed == {row for row, letters in enumerate(FREE) if letters}


def test_every_consonant_and_every_vowel_is_drawn() -> None:
    rows = [paradigm("bazz bazzes bazzing bazzed")] * 200
    made = [words[0] for _, _, words in made_up(rows)]
    assert {word[0] for word in made} == set("bcdfghjklmnpqrstvwxyz")
    assert {word[1] for word in made} == VOWELS


@pytest.mark.parametrize(
    ("share", "low", "high"), [(0.0, 0.0, 0.0), (0.4, 0.3, 0.4), (1.0, 0.8, 1.0)]
)
def test_the_share_of_pairs_that_are_made_up(share: float, low: float, high: float) -> None:
    # With eighteen free letters, a chosen pair keeps all of them only at a tiny replacement rate.
    rows = [paradigm(" ".join("b" * 20 + ending for ending in ("", "s", "ing", "ed")))] * 60
    made = [words[0][:20] != "b" * 20 for _, _, words in made_up(rows, share=share)]
    assert low <= sum(made) / len(made) <= high


@pytest.mark.parametrize("start_share", [0.0, 1.0])
def test_no_made_up_word_is_a_form_of_an_irregular_verb(start_share: float) -> None:
    """Turning "call" into "fall" would teach "falled"."""
    rows = (
        paradigm("call calls calling called"),
        paradigm("fall falls falling fell", regular=False),
        paradigm("ceed ceeds ceeding ceeded"),
        paradigm("feed feeds feeding fed", regular=False),
        # Another start before the kept "eed" can spell the row above.
        paradigm("fexeed fexeeds fexeeding fexeeded"),
    )
    assert hallucination(rows).free_letters.tolist() == [2, 0, 2, 0, 4]
    made = Counter[str]()
    for seed in range(100):
        for row, _, words in made_up(rows, seed, start_share=start_share):
            if rows[row].regular:
                made.update(words)
    irregular = {form for row in rows if not row.regular for form in row.preferred}
    assert len(made) > 500
    if not start_share:
        assert made["balling"] > 0 and made["deeds"] > 0
    assert not irregular & made.keys()


# Starts


def test_another_start_makes_stems_of_other_lengths_and_keeps_the_ending() -> None:
    lengths = Counter[int]()
    for seed in range(20):
        for row, before, after in made_up(ROWS[:1], seed, start_share=1.0):
            assert row == 0
            # The stem is "abandon", of which "on" is kept; what precedes it is the same.
            stem = after[0][: len(after[0]) - len(before[0]) + len("abandon")]
            for old, new in zip(before, after, strict=True):
                assert new == stem + old[len("abandon") :]
            assert stem.endswith("on") and set(stem[:-2]) & VOWELS
            lengths[len(stem)] += 1
    # "ab" to "aband" before "on", "don" and so on up to "abandon" itself.
    assert set(lengths) == set(range(4, 13))


def test_a_start_is_that_of_another_verb_before_letters_are_replaced() -> None:
    rows = (paradigm("xylox xyloxes xyloxing xyloxed"), paradigm("trample " * 4, regular=False))
    seen = Counter[str]()
    for seed in range(300):
        for row, _, after in made_up(rows, seed, start_share=1.0):
            if row == 0:
                seen.update(start for start in ("tra", "tram", "tramp") if start in after[0])
    assert min(seen[start] for start in ("tra", "tram", "tramp")) > 20


@pytest.mark.parametrize("lemma", ["stop", "hop", "bake", "quit"])
def test_a_short_vowel_before_one_consonant_stays_the_only_syllable(lemma: str) -> None:
    """A longer stem would not double its last letter: "develop", not "developp"."""
    stem = lemma.removesuffix("e")
    forms = f"{lemma} {lemma}s {stem}{'' if lemma != stem else stem[-1]}ing {stem}xed"
    rows = (paradigm(forms), *ROWS)
    lengths = {
        len(after[0]) - len(before[0])
        for seed in range(20)
        for row, before, after in made_up(rows, seed, start_share=1.0)
        if row == 0
    }
    assert lengths == {0}


def irregular_verbs_with_prefixes() -> tuple[Paradigm, ...]:
    regular = [
        f"{prefix}{lemma}"
        for lemma in ("act", "play", "turn")
        for prefix in ("", "re", "over")
    ]  # fmt: skip
    return (
        paradigm("take takes taking took", regular=False),
        paradigm("retake retakes retaking retook", regular=False),
        *(paradigm(f"{lemma} {lemma}s {lemma}ing {lemma}ed") for lemma in regular),
        paradigm("bring brings bringing brought", regular=False),
        paradigm("ring rings ringing rang", regular=False),
    )


def test_an_irregular_verb_gets_a_prefix_that_several_verbs_have() -> None:
    rows = irregular_verbs_with_prefixes()
    made = {
        after
        for seed in range(40)
        for row, _, after in made_up(rows, seed, start_share=1.0)
        if row == 0
    }
    # "re" is drawn, too, but "retake" is a verb of the rows with forms of its own.
    assert ("overtake", "overtook") in made
    assert {first.removesuffix(first.lstrip("over")) for first, _ in made} <= {"", "over"}
    assert not any(word.startswith("re") for pair in made for word in pair)


def test_without_shared_prefixes_an_irregular_verb_stays() -> None:
    for seed in range(5):
        for row, before, after in made_up(ROWS, seed, start_share=1.0):
            assert ROWS[row].regular or before == after


def test_no_word_becomes_longer_than_any_may_be() -> None:
    long = "b" * 20
    rows = (paradigm(f"{long} {long}s {long}ing {long}ed"), *ROWS)
    longest = max(
        len(word)
        for seed in range(50)
        for _, _, after in made_up(rows, seed, start_share=1.0)
        for word in after
    )
    assert longest <= MAX_WORD_LENGTH


# Randomness


@pytest.mark.parametrize("start_share", [0.0, 0.5])
def test_the_generator_alone_decides(start_share: float) -> None:
    torch.manual_seed(1)
    first = list(made_up(ROWS, 5, start_share=start_share))
    torch.manual_seed(2)
    assert first == list(made_up(ROWS, 5, start_share=start_share))
    assert first != list(made_up(ROWS, 6, start_share=start_share))


@given(st.lists(st.text("ab", min_size=1, max_size=6), min_size=2, max_size=40, unique=True))
@PATIENT
def test_different_words_have_different_fingerprints(words: list[str]) -> None:
    assert len(fingerprints(words_to_tensor(words).symbols).unique()) == len(words)
