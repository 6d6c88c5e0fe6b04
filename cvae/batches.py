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

from cvae.alphabet import LETTERS, PAD, TENSES, encode
from cvae.data import Paradigm

_IS_VOWEL: Final = torch.tensor([letter in "aeiou" for letter in LETTERS])
_VOWELS: Final = torch.nonzero(_IS_VOWEL).flatten()
_CONSONANTS: Final = torch.nonzero(~_IS_VOWEL).flatten()
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
        # No hallucinated stem follows an irregular pattern, because new English verbs are regular.
        stems = [
            max(0, _common_prefix(paradigm.preferred) - kept_letters) if paradigm.regular else 0
            for paradigm in paradigms
        ]
        self.free_letters = torch.tensor(stems, dtype=torch.long)  # (rows,)
        irregular = [row for row, paradigm in enumerate(paradigms) if not paradigm.regular]
        self._irregular_words = _fingerprints(self.symbols[irregular].flatten(0, 1))

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
        generator: torch.Generator,
    ) -> Iterator[PairBatch]:
        """Yield batches with every training word once as a source, in random order.

        Args:
            batch_size: pairs per batch; the last batch may be smaller.
            pairs: ``same`` makes each word its own target, as in the report; ``cross`` draws the
                target tense uniformly and independently of the source tense.
            hallucination_share: share of the pairs with a hallucinated stem.
        """
        count = len(self) * len(TENSES)
        order = torch.randperm(count, generator=generator)
        targets = order % len(TENSES)
        if pairs == "cross":
            targets = torch.randint(len(TENSES), order.shape, generator=generator)
        target_lengths = self.lengths[order // len(TENSES), targets]
        for chosen in length_buckets(target_lengths, batch_size, generator):
            rows, source_tense = order[chosen] // len(TENSES), order[chosen] % len(TENSES)
            target_tense = targets[chosen]
            source, target = self.symbols[rows, source_tense], self.symbols[rows, target_tense]
            if hallucination_share > 0.0:
                source, target = self._hallucinate(
                    rows, source, target, hallucination_share, generator
                )
            yield PairBatch(
                rows=rows,
                source=_cut(source, self.lengths[rows, source_tense]),
                source_tense=source_tense,
                target=_cut(target, self.lengths[rows, target_tense]),
                target_tense=target_tense,
            )

    def _hallucinate(
        self,
        rows: Tensor,
        source: Tensor,
        target: Tensor,
        share: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Replace stem letters, identically in both words: a vowel by a vowel, and so on.

        Each chosen pair has its own replacement rate, drawn uniformly, so that some stems stay
        close to real ones and others do not. A pair that would spell a form of an irregular
        training verb is not changed: turning "call" into "fall" would teach "falled".
        Source: Anastasopoulos and Neubig 2019.
        """
        batch, time = source.shape

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        chosen = uniform(batch, 1) < share
        stem = torch.arange(time) < self.free_letters[rows].unsqueeze(1)  # (batch, time)
        replaced = stem & chosen & (uniform(batch, time) < uniform(batch, 1))
        vowels = _VOWELS[torch.randint(len(_VOWELS), (batch, time), generator=generator)]
        consonants = _CONSONANTS[
            torch.randint(len(_CONSONANTS), (batch, time), generator=generator)
        ]
        is_vowel = _IS_VOWEL[source.clamp(max=len(LETTERS) - 1)]
        letters = torch.where(is_vowel, vowels, consonants)
        made_up = [torch.where(replaced, letters, word) for word in (source, target)]
        irregular = [torch.isin(_fingerprints(word), self._irregular_words) for word in made_up]
        kept = (irregular[0] | irregular[1]).unsqueeze(1)
        return torch.where(kept, source, made_up[0]), torch.where(kept, target, made_up[1])


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


def _fingerprints(symbols: Tensor) -> Tensor:
    """A hash of each word (words, time), to compare words with equal padding.

    It is a polynomial in an odd base, modulo 2**64, so different words of 24 letters have the same
    hash only by chance.
    """
    powers = [pow(6364136223846793005, place, 2**64) for place in range(symbols.shape[1])]
    signed = [power - 2**64 if power >= 2**63 else power for power in powers]
    return (symbols * torch.tensor(signed)).sum(dim=1)


def _common_prefix(words: Sequence[str]) -> int:
    """Length of the longest common prefix."""
    length = 0
    for letters in zip(*words, strict=False):
        if len(set(letters)) > 1:
            break
        length += 1
    return length
