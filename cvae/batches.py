"""Paradigms as tensors, and the batches that training draws from them.

Words are letters followed by EOS, padded with PAD on the right. They have no SOS: a decoder adds
it as its first input, and the report's encoder adds it before a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from cvae.alphabet import PAD, TENSES, encode
from cvae.data import Paradigm
from cvae.hallucination import Hallucination, Pairs

_BUCKETED_BATCHES: Final = 8


@dataclass(frozen=True)
class Words:
    """A batch of words.

    Attributes:
        symbols: (batch, time) int64: letters, EOS, then PAD.
        lengths: (batch,) int64: number of letters plus EOS.
    """

    symbols: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Words:
        return Words(self.symbols.to(device), self.lengths.to(device))


@dataclass(frozen=True)
class PairBatch:
    """Conversions to train on: a source word and tense, a target word and tense."""

    rows: Tensor  # (batch,) index of the training row; a hallucinated pair keeps it
    source: Words
    source_tense: Tensor  # (batch,)
    target: Words
    target_tense: Tensor  # (batch,)


def words_to_tensor(words: Sequence[str]) -> Words:
    """Pack words; shapes (len(words), longest + 1) and (len(words),)."""
    spelled = [encode(word)[1:] for word in words]
    width = max((len(symbols) for symbols in spelled), default=1)
    packed = [symbols + [PAD] * (width - len(symbols)) for symbols in spelled]
    lengths = torch.tensor([len(symbols) for symbols in spelled], dtype=torch.long)
    return Words(torch.tensor(packed, dtype=torch.long).view(len(words), width), lengths)


class TrainingRows:
    """The training paradigms as one tensor; samples pairs from them.

    Attributes:
        symbols: (rows, 4, time) int64, preferred spellings.
        lengths: (rows, 4) int64.
    """

    def __init__(self, paradigms: Sequence[Paradigm], *, kept_letters: int = 2) -> None:
        """Pack ``paradigms``.

        Args:
            kept_letters: number of letters at the end of a stem that hallucination does not
                replace, because they determine the inflection (sibilants, final y or e, consonant
                doubling).
        """
        self.paradigms = [paradigm.preferred for paradigm in paradigms]
        packed = words_to_tensor([word for forms in self.paradigms for word in forms])
        self.symbols = packed.symbols.view(len(paradigms), len(TENSES), -1)
        self.lengths = packed.lengths.view(len(paradigms), len(TENSES))
        self._hallucination = Hallucination(paradigms, self.symbols, kept_letters=kept_letters)

    def __len__(self) -> int:
        return len(self.paradigms)

    def words(self, rows: Tensor, tenses: Tensor) -> Words:
        """The words at index tensors ``rows`` and ``tenses`` (batch,), cut to the longest word."""
        return _cut(self.symbols[rows, tenses], self.lengths[rows, tenses])

    def epoch(
        self,
        *,
        batch_size: int,
        pairs: Literal["same", "cross"],
        hallucination_share: float,
        hallucination_start_share: float = 0.0,
        generator: torch.Generator,
    ) -> Iterator[PairBatch]:
        """Yield batches with every training word once as a source, in random order.

        Args:
            batch_size: pairs per batch; the last batch may be smaller.
            pairs: ``same`` makes each word its own target, as in the report; ``cross`` draws the
                target tense uniformly and independently of the source tense.
            hallucination_share: share of the pairs with a hallucinated stem.
            hallucination_start_share: share of these whose stem gets another start.
        """
        count = len(self) * len(TENSES)
        order = torch.randperm(count, generator=generator)
        targets = order % len(TENSES)
        if pairs == "cross":
            targets = torch.randint(len(TENSES), order.shape, generator=generator)
        rows, source_tense = order // len(TENSES), order % len(TENSES)
        made = Pairs(
            rows,
            self.symbols[rows, source_tense],
            self.lengths[rows, source_tense],
            self.symbols[rows, targets],
            self.lengths[rows, targets],
        )
        if hallucination_share > 0.0:
            made = self._hallucination(
                made,
                share=hallucination_share,
                start_share=hallucination_start_share,
                generator=generator,
            )
        for chosen in length_buckets(made.target_lengths, batch_size, generator):
            yield PairBatch(
                rows=rows[chosen],
                source=_cut(made.source[chosen], made.source_lengths[chosen]),
                source_tense=source_tense[chosen],
                target=_cut(made.target[chosen], made.target_lengths[chosen]),
                target_tense=targets[chosen],
            )


def length_buckets(
    lengths: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Split range(len(lengths)) into batches of similar length, in random order.

    Only indices within a window of several batches are sorted, so that batches stay random
    samples. Padding falls from about a third of all positions to a few percent.
    """
    window = batch_size * _BUCKETED_BATCHES if batch_size > 1 else len(lengths)
    batches: list[Tensor] = []
    for start in range(0, len(lengths), window):
        part = lengths[start : start + window]
        order = part.argsort(stable=True) if batch_size > 1 else torch.arange(len(part))
        batches += torch.split(order + start, batch_size)
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[index]


def by_length(lengths: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Indices of all words, shortest first, in batches of at most ``batch_size``."""
    return torch.split(lengths.argsort(stable=True), batch_size)


def shortened(words: Words, chosen: Tensor) -> Words:
    """The words at the indices ``chosen`` (batch,), cut to the longest of them."""
    return _cut(words.symbols[chosen], words.lengths[chosen])


def _cut(symbols: Tensor, lengths: Tensor) -> Words:
    return Words(symbols[:, : int(lengths.max())].contiguous(), lengths)
