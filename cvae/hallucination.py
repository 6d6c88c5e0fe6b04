"""Hallucinated stems: training pairs of verbs that do not exist, inflected as real ones are.

Without them, a model that has seen 1,200 verbs learns these verbs instead of how a verb is spelled
from a code and inflected. Two changes are made, each identically in source and target:

    letters  letters of the stem are replaced, a vowel by a vowel and a consonant by a consonant
             (Anastasopoulos and Neubig 2019)
    start    the first letters of the stem are exchanged for the first letters of another verb, so
             that stems of all lengths are seen; an irregular verb gets a prefix instead, as in
             "overtake"

The last letters of the stem stay, because they determine how endings are spelled.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from cvae.alphabet import LETTERS, MAX_WORD_LENGTH, PAD, TENSES, encode
from cvae.data import Paradigm

_IS_VOWEL: Final = torch.tensor([letter in "aeiou" for letter in LETTERS])
_VOWELS: Final = torch.nonzero(_IS_VOWEL).flatten()
_CONSONANTS: Final = torch.nonzero(~_IS_VOWEL).flatten()

_LONGEST_START: Final = 8
_PREFIX_VERBS: Final = 3
"""A beginning of verbs is a prefix if at least so many of the words after it are verbs, too."""

_STRESS_DECIDES: Final = re.compile(r"^(?:qu|[^aeiou])*[aeiouy][^aeiouwxy]$")
"""Stems of one syllable with a short vowel: "stop" doubles its p because it has no other syllable,
so a longer stem would teach the wrong spelling."""


class Pairs(NamedTuple):
    """Conversions: ``rows`` (batch,), words (batch, time), lengths (batch,) that include EOS."""

    rows: Tensor
    source: Tensor
    source_lengths: Tensor
    target: Tensor
    target_lengths: Tensor


class Hallucination:
    """Makes up stems for pairs of the training rows.

    Attributes:
        free_letters: (rows,) int64, how many letters at the start of a row's stem may change.
    """

    def __init__(
        self, paradigms: Sequence[Paradigm], symbols: Tensor, *, kept_letters: int
    ) -> None:
        """Prepare for the rows ``paradigms``.

        Args:
            symbols: (rows, 4, time) int64, their preferred spellings.
            kept_letters: number of letters at the end of a stem that do not change, because they
                determine the inflection (sibilants, final y or e, consonant doubling).
        """
        forms = [paradigm.preferred for paradigm in paradigms]
        regular = [paradigm.regular for paradigm in paradigms]
        stems = [_common_prefix(words) for words in forms]
        # No hallucinated stem follows an irregular pattern, because new English verbs are regular.
        free = [
            max(0, len(stem) - kept_letters) if follows_rules else 0
            for stem, follows_rules in zip(stems, regular, strict=True)
        ]
        self.free_letters = torch.tensor(free, dtype=torch.long)
        self._regular = torch.tensor(regular, dtype=torch.bool)
        self._takes_start = torch.tensor(
            [
                not follows_rules or _STRESS_DECIDES.search(stem) is None
                for stem, follows_rules in zip(stems, regular, strict=True)
            ],
            dtype=torch.bool,
        )
        lemmas = [words[0] for words in forms]
        self._starts = _Starts(sorted({start for lemma in lemmas for start in _starts_of(lemma)}))
        self._prefixes = _Starts(_prefixes_of(lemmas))
        self._width = MAX_WORD_LENGTH + 1
        self._all_words = fingerprints(symbols.flatten(0, 1))
        irregular = torch.tensor([not follows for follows in regular], dtype=torch.bool)
        self._irregular_words = self._all_words[irregular.repeat_interleave(len(TENSES))]

    def __call__(
        self,
        pairs: Pairs,
        *,
        share: float,
        start_share: float,
        generator: torch.Generator,
    ) -> Pairs:
        """Return the pairs, some of them with another stem; words may be longer than before.

        Each chosen pair has its own rate at which letters are replaced, drawn uniformly, so that
        some stems stay close to real ones and others do not. A pair that would spell a form of an
        irregular training verb is not changed: turning "call" into "fall" would teach "falled".

        Args:
            share: share of the pairs that are chosen.
            start_share: share of these that get another start or a prefix, if the stem takes one.
        """
        count = len(pairs.rows)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        regular, free = self._regular[pairs.rows], self.free_letters[pairs.rows]
        chosen = uniform(count) < share
        restarted = chosen & self._takes_start[pairs.rows] & (uniform(count) < start_share)
        draw = uniform(count)
        (starts, start_lengths), (prefixes, prefix_lengths) = (
            self._starts.draw(draw), self._prefixes.draw(draw),
        )  # fmt: skip
        start = torch.where(regular.unsqueeze(1), starts, prefixes)
        added = torch.where(regular, start_lengths, prefix_lengths)
        removed = (uniform(count) * (free + 1)).long()
        longest = torch.maximum(pairs.source_lengths, pairs.target_lengths)
        restarted &= (added > 0) & (longest + added - removed <= self._width)
        added, removed = added * restarted, removed * restarted

        places = torch.arange(self._width)
        head = start.gather(1, places.clamp(max=start.shape[1] - 1).expand(count, -1))
        behind = (places - (added - removed).unsqueeze(1)).clamp(0, self._width)
        from_start = places < added.unsqueeze(1)
        stem = places < (free + added - removed).unsqueeze(1)
        replaced = stem & (chosen & regular).unsqueeze(1)
        replaced &= uniform(count, self._width) < uniform(count, 1)
        vowels = _VOWELS[torch.randint(len(_VOWELS), stem.shape, generator=generator)]
        consonants = _CONSONANTS[torch.randint(len(_CONSONANTS), stem.shape, generator=generator)]

        words, made_up = [], []
        for symbols in (pairs.source, pairs.target):
            # One column more than any word has, so that the last one is padding in all of them.
            padded = nn.functional.pad(symbols, (0, self._width + 1 - symbols.shape[1]), value=PAD)
            word, moved = padded[:, :-1], torch.where(from_start, head, padded.gather(1, behind))
            is_vowel = _IS_VOWEL[moved.clamp(max=len(LETTERS) - 1)]
            words.append(word)
            made_up.append(torch.where(replaced, torch.where(is_vowel, vowels, consonants), moved))
        kept = self._is_taken(made_up[0], regular) | self._is_taken(made_up[1], regular)
        grown = (added - removed).masked_fill(kept, 0)
        source, target = (
            torch.where(kept.unsqueeze(1), word, other)
            for word, other in zip(words, made_up, strict=True)
        )
        return Pairs(
            pairs.rows, source, pairs.source_lengths + grown, target, pairs.target_lengths + grown
        )

    def _is_taken(self, words: Tensor, regular: Tensor) -> Tensor:
        """Whether a made-up word is a form of an irregular row or, with a prefix, of any row."""
        prints = fingerprints(words)
        irregular_form = torch.isin(prints, self._irregular_words)
        return torch.where(regular, irregular_form, torch.isin(prints, self._all_words))


class _Starts:
    """Beginnings of words, of which one is drawn by its length and then among those of it."""

    def __init__(self, starts: Sequence[str]) -> None:
        ordered = sorted(starts, key=len)
        self._symbols = torch.full((max(1, len(ordered)), _LONGEST_START), PAD)
        for place, start in enumerate(ordered):
            self._symbols[place, : len(start)] = torch.tensor(encode(start)[1:-1])
        self._lengths = torch.tensor([len(start) for start in ordered] or [0])
        counts = torch.unique_consecutive(self._lengths, return_counts=True)[1]
        self._counts, self._first = counts, counts.cumsum(0) - counts

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """For numbers in [0, 1), (batch,): symbols (batch, longest) and lengths (batch,), which
        are 0 if there are no beginnings."""
        scaled = uniform.double() * len(self._counts)
        length = scaled.long()
        within = ((scaled - length) * self._counts[length]).long()
        chosen = self._first[length] + within
        return self._symbols[chosen], self._lengths[chosen]


def _starts_of(lemma: str) -> list[str]:
    """Beginnings of a lemma that hold a vowel and leave at least two letters."""
    lengths = range(2, min(_LONGEST_START, len(lemma) - 2) + 1)
    return [lemma[:length] for length in lengths if set(lemma[:length]) & set("aeiou")]


def _prefixes_of(lemmas: Sequence[str]) -> list[str]:
    """Beginnings that several verbs share, each with another verb after it: over-, re-, un-."""
    known = {lemma for lemma in lemmas if len(lemma) > 2}
    counts = Counter(
        start for lemma in lemmas for start in _starts_of(lemma) if lemma[len(start) :] in known
    )
    return sorted(start for start, count in counts.items() if count >= _PREFIX_VERBS)


def fingerprints(symbols: Tensor) -> Tensor:
    """A hash of each word (words, time), whatever its padding.

    It is a polynomial in an odd base, modulo 2**64, so different words of 24 letters have the same
    hash only by chance.
    """
    powers = [pow(6364136223846793005, place, 2**64) for place in range(symbols.shape[1])]
    signed = [power - 2**64 if power >= 2**63 else power for power in powers]
    return (symbols.masked_fill(symbols == PAD, 0) * torch.tensor(signed)).sum(dim=1)


def _common_prefix(words: Sequence[str]) -> str:
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False))
    return "".join(letters[0] for letters in same)
