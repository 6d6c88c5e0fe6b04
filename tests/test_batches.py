"""Training batches: complete epochs, kept endings, consistent stems, random order."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paradigms import ROWS, paradigm
from torch import Tensor

from cvae.alphabet import EOS, PAD, SOS, decode, encode
from cvae.batches import (
    PairBatch,
    TrainingRows,
    Words,
    length_buckets,
    words_to_tensor,
)

PATIENT = settings(deadline=None)  # a slow machine is not a failure


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epoch(rows: TrainingRows, seed: int = 0, **changes: Any) -> list[PairBatch]:
    knobs: dict[str, Any] = {"batch_size": 4, "pairs": "cross", "hallucination_share": 0.0}
    return list(rows.epoch(**{**knobs, **changes}, generator=generator(seed)))


def spelled(words: Words) -> list[str]:
    return [decode(symbols) for symbols in words.symbols.tolist()]


# Packing


def test_words_are_packed_with_their_end_and_padded_on_the_right() -> None:
    words = words_to_tensor(["go", "", "went"])
    assert words.symbols.tolist() == [
        [6, 14, EOS, PAD, PAD],
        [EOS, PAD, PAD, PAD, PAD],
        [*encode("went")[1:]],
    ]
    assert words.lengths.tolist() == [3, 1, 5]


def test_rows_hold_every_preferred_form() -> None:
    rows = TrainingRows(ROWS)
    assert len(rows) == len(ROWS)
    for row, tense in itertools.product(range(len(ROWS)), range(4)):
        symbols = rows.symbols[row, tense].tolist()
        word = ROWS[row].preferred[tense]
        assert symbols[: len(word) + 1] == encode(word)[1:]
        assert set(symbols[len(word) + 1 :]) <= {PAD}
        assert int(rows.lengths[row, tense]) == len(word) + 1


def test_a_selection_is_cut_to_its_longest_word() -> None:
    words = TrainingRows(ROWS).words(torch.tensor([6, 6]), torch.tensor([3, 0]))
    assert spelled(words) == ["went", "go"]
    assert words.symbols.shape == (2, 5)
    assert words.lengths.tolist() == [5, 3]


# Epochs


@pytest.mark.parametrize("pairs", ["same", "cross"])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 28, 100])
def test_an_epoch_has_every_word_as_a_source_exactly_once(pairs: str, batch_size: int) -> None:
    batches = epoch(TrainingRows(ROWS), pairs=pairs, batch_size=batch_size)
    sources = Counter(
        (row, tense)
        for batch in batches
        for row, tense in zip(batch.rows.tolist(), batch.source_tense.tolist(), strict=True)
    )
    assert sources == Counter(itertools.product(range(len(ROWS)), range(4)))
    sizes = sorted((len(batch.rows) for batch in batches), reverse=True)
    assert all(size == batch_size for size in sizes[:-1])


@pytest.mark.parametrize("pairs", ["same", "cross"])
def test_source_and_target_are_forms_of_their_row(pairs: str) -> None:
    for batch in epoch(TrainingRows(ROWS), pairs=pairs):
        for side, tenses in (
            (batch.source, batch.source_tense),
            (batch.target, batch.target_tense),
        ):
            assert spelled(side) == [
                ROWS[row].preferred[tense]
                for row, tense in zip(batch.rows.tolist(), tenses.tolist(), strict=True)
            ]
            assert side.lengths.tolist() == [len(word) + 1 for word in spelled(side)]
            assert side.symbols.shape[1] == int(side.lengths.max())
            assert SOS not in side.symbols
        if pairs == "same":
            assert torch.equal(batch.source.symbols, batch.target.symbols)
            assert torch.equal(batch.source_tense, batch.target_tense)


def test_cross_target_tenses_are_uniform_and_independent_of_the_sources() -> None:
    rows = TrainingRows([paradigm("a as aing aed")] * 1000)
    seen: Counter[tuple[int, int]] = Counter()
    for batch in epoch(rows, batch_size=100):
        seen.update(zip(batch.source_tense.tolist(), batch.target_tense.tolist(), strict=True))
    # 16 cells of 250 expected; chi-squared with 12 degrees of freedom (each source tense has
    # exactly 1,000) lies below 39.1 with probability 0.9999.
    chi_squared = sum(
        (seen[cell] - 250) ** 2 / 250 for cell in itertools.product(range(4), repeat=2)
    )
    assert chi_squared < 39.1


def signature(batches: list[PairBatch]) -> list[tuple[Any, ...]]:
    return [
        (
            batch.rows.tolist(),
            batch.source_tense.tolist(),
            batch.target_tense.tolist(),
            spelled(batch.source),
            spelled(batch.target),
        )
        for batch in batches
    ]


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_the_generator_alone_decides_an_epoch(share: float) -> None:
    rows = TrainingRows(ROWS)
    torch.manual_seed(1)
    first = signature(epoch(rows, seed=5, hallucination_share=share))
    torch.manual_seed(2)
    again = signature(epoch(TrainingRows(ROWS), seed=5, hallucination_share=share))
    other = signature(epoch(rows, seed=6, hallucination_share=share))
    assert first == again
    assert first != other


def test_hallucinated_words_come_in_batches_of_their_new_lengths() -> None:
    longer = 0
    for seed in range(20):
        knobs = {"hallucination_share": 1.0, "hallucination_start_share": 1.0}
        for batch in epoch(TrainingRows(ROWS), seed, **knobs):
            for side in (batch.source, batch.target):
                assert side.lengths.tolist() == [len(word) + 1 for word in spelled(side)]
                assert side.symbols.shape[1] == int(side.lengths.max())
                longer += sum(len(word) > 12 for word in spelled(side))  # "embarrassing" has 12
    assert longer > 20


# Buckets


@PATIENT
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=300),
    st.integers(1, 40),
    st.integers(0, 1000),
)
def test_buckets_are_a_permutation_in_batches_of_the_size(
    lengths: list[int], batch_size: int, seed: int
) -> None:
    batches = list(length_buckets(torch.tensor(lengths), batch_size, generator(seed)))
    assert sorted(torch.cat(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(len(batch) <= batch_size for batch in batches)


def padding(lengths: Tensor, batches: list[Tensor]) -> float:
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1.0 - int(lengths.sum()) / padded


def test_buckets_save_padding_and_come_in_random_order() -> None:
    lengths = torch.randint(3, 15, (1000,), generator=generator())
    batches = list(length_buckets(lengths, 32, generator(1)))
    assert (
        padding(lengths, batches)
        < 0.12
        < 0.3
        < padding(lengths, list(torch.arange(1000).split(32)))
    )
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest != sorted(longest)
    other = list(length_buckets(lengths, 32, generator(2)))
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in other]
