"""Conversion by reranking: the model's own reconstruction of the source chooses among candidates.

A conversion should lead back: from *walked*, put into the past from *walk*, the model should find
*walk* again. Candidates y for a source x are therefore ranked by

    log p(y | x) + log p(x | y)

where the first term is the decoder's probability of the candidate, and the second one its
probability of the source, given the code of the candidate. Both come from the same weights.

Source: noisy-channel reranking, Yee et al. 2019 (arXiv 1908.05731), here without a language model
and with one model for both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from cvae.alphabet import EOS, PAD, decode
from cvae.batches import Words, by_length, shortened, words_to_tensor
from cvae.model import ConditionalVAE, Gaussian

WIDTH: Final = 8
"""Candidates of a conversion, unless the caller says otherwise."""

_SIDE_BY_SIDE: Final = 256  # words of like length encoded or scored at once; fits the cache


@dataclass(frozen=True)
class Candidate:
    """A possible answer.

    Attributes:
        word: letters; ``?`` for a symbol that is none.
        forward: log p(word | code of the source), in nats.
        back: log p(source | code of the word), in nats.
    """

    word: str
    forward: float
    back: float

    @property
    def score(self) -> float:
        """What candidates are ranked by."""
        return self.forward + self.back


@dataclass(frozen=True)
class Answer:
    """The candidates of one conversion.

    Attributes:
        candidates: by score, the best first; at least one.
        greedy: the word that takes the likeliest symbol at each step.
        reading: log p(source | its own code), in nats: how well the model can spell the source.
    """

    candidates: tuple[Candidate, ...]
    greedy: str
    reading: float

    @property
    def word(self) -> str:
        """The answer itself."""
        return self.candidates[0].word


@torch.no_grad()
def encode_words(model: ConditionalVAE, words: Words, tenses: Tensor) -> Gaussian:
    """``model.encode`` of any number of words, in batches of like length to save padding."""
    parts = by_length(words.lengths, _SIDE_BY_SIDE)
    found = [
        model.encode(cut.symbols, cut.lengths, tenses[part])
        for part in parts
        for cut in (shortened(words, part),)
    ]
    place = torch.cat(parts).argsort()
    return Gaussian(
        torch.cat([codes.mean for codes in found])[place],
        torch.cat([codes.logvar for codes in found])[place],
    )


@torch.no_grad()
def log_probabilities(model: ConditionalVAE, codes: Tensor, tenses: Tensor, words: Words) -> Tensor:
    """log p(word | code, tense) of any number of words, all inputs true; (words,) nats."""
    found = codes.new_empty(len(codes))
    for part in by_length(words.lengths, _SIDE_BY_SIDE):
        symbols = shortened(words, part).symbols
        found[part] = -model.reconstruction(codes[part], tenses[part], symbols)
    return found


@torch.no_grad()
def rerank(
    model: ConditionalVAE,
    pairs: Sequence[tuple[str, int, int]],
    device: torch.device,
    *,
    width: int = WIDTH,
) -> list[Answer]:
    """Convert words from the mean of their code; see the module for the ranking.

    A beam is searched only where it can change the answer. No other word is likelier than one minus
    the probability of the greedy word, and log p(x | y) is at most 0: if the greedy word scores
    higher than that bound, it is the best of all words, and the only candidate.

    Args:
        pairs: (word, its tense, wanted tense).
        width: of the beam; with 1, the greedy word is the only candidate.
    """
    if not pairs:
        return []
    asked = _Asked(model, pairs, device)
    everything = torch.arange(len(pairs), device=device)
    greedy, forward = asked.search(everything, width=1)
    back = asked.back(everything, greedy[:, 0])
    doubtful = forward[:, 0].double() + back.double() < _rest(forward[:, 0])
    candidates = [
        [Candidate(decode(symbols[0]), scores[0], source)]
        for symbols, scores, source in zip(
            greedy.tolist(), forward.tolist(), back.tolist(), strict=True
        )
    ]
    if width > 1 and bool(doubtful.any()):
        for part in torch.split(everything[doubtful], _SIDE_BY_SIDE):
            beams, forward = asked.search(part, width=width)
            rows = part.repeat_interleave(width)
            back = asked.back(rows, beams.flatten(0, 1)).view(len(part), width)
            for row, symbols, scores, sources in zip(
                part.tolist(), beams.tolist(), forward.tolist(), back.tolist(), strict=True
            ):
                beam = map(Candidate, map(decode, symbols), scores, sources)
                ranked = sorted(beam, key=lambda item: -item.score)
                # Two beams can be one word: a start symbol before the first letter is skipped.
                words = [item.word for item in ranked]
                candidates[row] = [
                    item for place, item in enumerate(ranked) if words.index(item.word) == place
                ]
    found = zip(candidates, map(decode, greedy[:, 0].tolist()), asked.reading.tolist(), strict=True)
    return [Answer(tuple(items), word, reading) for items, word, reading in found]


def _rest(log_p: Tensor) -> Tensor:
    """log(1 - p), the most that any other word can have."""
    return torch.log1p(-torch.exp(log_p.double()))


class _Asked:
    """The sources of some conversions, each encoded once, and the wanted tenses."""

    def __init__(
        self, model: ConditionalVAE, pairs: Sequence[tuple[str, int, int]], device: torch.device
    ) -> None:
        self.model = model
        sources = sorted({(word, tense) for word, tense, _ in pairs})
        place = {source: index for index, source in enumerate(sources)}
        self.words = words_to_tensor([word for word, _ in sources]).to(device)
        self.tenses = torch.tensor([tense for _, tense in sources], device=device)
        self.codes = encode_words(model, self.words, self.tenses).mean
        self.source = torch.tensor([place[word, tense] for word, tense, _ in pairs], device=device)
        self.target = torch.tensor([target for _, _, target in pairs], device=device)
        own = log_probabilities(model, self.codes, self.tenses, self.words)
        self.reading = own[self.source]

    def search(self, rows: Tensor, *, width: int) -> tuple[Tensor, Tensor]:
        """The beams of some pairs and their log-probabilities; (rows, width, time), (rows, width).

        EOS follows a word's end.
        """
        words, scores = [], []
        for part in torch.split(rows, _SIDE_BY_SIDE):
            found, log_p = self.model.beam(self.codes[self.source[part]], self.target[part], width)
            words.append(found)
            scores.append(log_p)
        time = max(found.shape[2] for found in words)
        padded = [functional.pad(found, (0, time - found.shape[2]), value=EOS) for found in words]
        return torch.cat(padded), torch.cat(scores)

    def back(self, rows: Tensor, symbols: Tensor) -> Tensor:
        """log p(source | code of the answer) of some pairs' answers (rows, time)."""
        codes = encode_words(self.model, _as_words(symbols), self.target[rows]).mean
        source = self.source[rows]
        words = Words(self.words.symbols[source], self.words.lengths[source])
        return log_probabilities(self.model, codes, self.tenses[source], words)


def _as_words(symbols: Tensor) -> Words:
    """Decoded words (words, time), each cut after its first EOS; one without gets one."""
    ended = functional.pad(symbols, (0, 1), value=EOS)
    lengths = (ended == EOS).int().argmax(dim=1) + 1
    after = torch.arange(ended.shape[1], device=symbols.device) >= lengths.unsqueeze(1)
    return Words(ended.masked_fill(after, PAD), lengths)
