"""Runs a model over a data set and fills the table of metrics.

``Observations`` holds what a model says (conversions, prior draws, posteriors) and computes each
thing once, when a metric first asks for it. ``METRICS`` lists the metrics: functions from
observations to named numbers. A new metric is one function in ``cvae.metrics``, one line there
or in a function below, and one test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from cvae import inflection, metrics
from cvae.alphabet import TENSES, decode
from cvae.batches import TrainingRows, Words, by_length, shortened, words_to_tensor
from cvae.data import Dataset, Pair, Paradigm, lemma_order, pairs_of
from cvae.losses import kl_per_unit
from cvae.model import ConditionalVAE, Gaussian
from cvae.reranking import encode_words, log_probabilities, rerank
from cvae.source_tense import infer_tenses

Forms = tuple[str, str, str, str]
Cell = float | int | str | None

REPORT_BANK_SEED: Final = 20190325
"""Seed of the fixed bank of prior draws behind the reported Gaussian score."""

DEV_BANK_SEED: Final = 20150612
"""Seed of the bank behind ``dev_gaussian_score``: another one, since selection looks at it."""

SEEN_VERBS: Final = 100
"""Training verbs whose conversions say how well a model fits: 1,200 pairs."""

_CHUNK: Final = 1024  # words decoded at once; bounds memory
_SCORED: Final = 256  # samples of words scored at once; bounds memory
_NOISE_ROWS: Final = 4096  # rows of noise drawn at once: the same seed gives other noise otherwise


@dataclass(frozen=True)
class Split:
    """Conversions to measure on."""

    name: str
    pairs: tuple[Pair, ...]


def seen_split(dataset: Dataset) -> Split:
    """The twelve conversions of a fixed sample of training verbs, none of them a report pair's."""
    shown = {word for pair in dataset.report_pairs for word in (pair.source, *pair.accepted)}
    others = [row for row in dataset.train if not shown.intersection(row.preferred)]
    sample = sorted(others or dataset.train, key=lambda row: lemma_order(row.preferred[0]))
    pairs = pairs_of(sample[:SEEN_VERBS], include_same=False, among=dataset.train)
    return Split("train", pairs)


def dev_split(dataset: Dataset) -> Split:
    """The twelve conversions of every dev verb.

    A data set without dev verbs has those of ``seen_split`` in their place: selection then
    measures fit, but still never sees the report's pairs. The name says so.
    """
    if dataset.dev:
        return Split("dev", pairs_of(dataset.dev, include_same=False))
    return seen_split(dataset)


def prior_bank(latent_size: int, draws: int, seed: int) -> Tensor:
    """A fixed bank of prior draws; (draws, latent), the same on every machine."""
    return torch.randn(draws, latent_size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def convert(
    model: ConditionalVAE, pairs: Sequence[tuple[str, int, int]], device: torch.device
) -> list[str]:
    """Convert words greedily from the mean of their code.

    Args:
        pairs: (word, its tense, wanted tense).
    """
    predictions: list[str] = []
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        sources = sorted({(word, tense) for word, tense, _ in chunk})
        place = {source: index for index, source in enumerate(sources)}
        words = words_to_tensor([word for word, _ in sources]).to(device)
        tenses = torch.tensor([tense for _, tense in sources], device=device)
        codes = encode_words(model, words, tenses).mean
        index = torch.tensor([place[word, tense] for word, tense, _ in chunk], device=device)
        wanted = torch.tensor([target for _, _, target in chunk], device=device)
        symbols = model.greedy(codes[index], wanted)
        predictions += [decode(row) for row in symbols.tolist()]
    return predictions


@torch.no_grad()
def generate(model: ConditionalVAE, z: Tensor, device: torch.device) -> list[Forms]:
    """Decode prior draws (draws, latent) under all four tenses, from weights alone."""
    paradigms: list[Forms] = []
    for chunk in torch.split(z, _CHUNK // len(TENSES)):
        paradigms += decode_codes(model, model.code_of_latent(chunk.to(device)))
    return paradigms


@torch.no_grad()
def decode_codes(model: ConditionalVAE, codes: Tensor) -> list[Forms]:
    """Decode some codes (batch, code) under all four tenses."""
    tenses = torch.arange(len(TENSES), device=codes.device).repeat(len(codes))
    symbols = model.greedy(codes.repeat_interleave(len(TENSES), dim=0), tenses)
    words = [decode(row) for row in symbols.tolist()]
    return [(words[i], words[i + 1], words[i + 2], words[i + 3]) for i in range(0, len(words), 4)]


class Observations:
    """What one model says about one data set, computed when first asked for."""

    def __init__(
        self,
        model: ConditionalVAE,
        dataset: Dataset,
        *,
        draws: int,
        importance_samples: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.draws = draws
        self.importance_samples = importance_samples
        self.device = device
        self.training_rows: frozenset[Forms] = _preferred(dataset.train)

    # Conversions

    @cached_property
    def report(self) -> list[tuple[Pair, str]]:
        return self._converted(self.dataset.report_pairs)

    @cached_property
    def dev(self) -> list[tuple[Pair, str]]:
        if not self.dataset.dev:
            return self.seen_verbs  # the same pairs, see dev_split
        return self._converted(dev_split(self.dataset).pairs)

    @cached_property
    def seen_verbs(self) -> list[tuple[Pair, str]]:
        return self._converted(seen_split(self.dataset).pairs)

    @cached_property
    def train(self) -> list[tuple[Pair, str]]:
        return self._converted(pairs_of(self.dataset.train, include_same=False))

    @cached_property
    def test(self) -> list[tuple[Pair, str]]:
        return self._converted(pairs_of(self.dataset.test, include_same=False))

    def reranked(self, pairs: Sequence[Pair]) -> list[tuple[Pair, str]]:
        """The conversions of ``pairs`` by ``reranking.rerank``."""
        answers = rerank(self.model, _wanted(pairs), self.device)
        return [(pair, answer.word) for pair, answer in zip(pairs, answers, strict=True)]

    def _converted(self, pairs: Sequence[Pair]) -> list[tuple[Pair, str]]:
        return list(zip(pairs, convert(self.model, _wanted(pairs), self.device), strict=True))

    # Prior draws

    @cached_property
    def report_draws(self) -> list[Forms]:
        return self._generated(REPORT_BANK_SEED)

    @cached_property
    def dev_draws(self) -> list[Forms]:
        return self._generated(DEV_BANK_SEED)

    def _generated(self, seed: int) -> list[Forms]:
        bank = prior_bank(self.model.latent_size, self.draws, seed)
        return generate(self.model, bank, self.device)

    # Posteriors of the training words, each under its own tense

    @cached_property
    def posteriors(self) -> tuple[Gaussian, Tensor]:
        """q(z|x, c) of all training words and samples of it; (words, latent) each."""
        generator = torch.Generator().manual_seed(DEV_BANK_SEED)
        samples = [latent.sample(generator) for latent in _chunks(self._latents)]
        return self._latents, torch.cat(samples)

    @cached_property
    def log_weights(self) -> Tensor:
        """log p(x|z, c) + log p(z) - log q(z|x, c) of z ~ q; (words, importance_samples)."""
        generator = torch.Generator().manual_seed(REPORT_BANK_SEED)
        rows: list[Tensor] = []
        for latent in _chunks(self._latents):
            columns = [latent.sample(generator) for _ in range(self.importance_samples)]
            rows.append(torch.stack(columns, dim=1))
        z = torch.cat(rows)  # (words, samples, latent)
        mean, logvar = (part.unsqueeze(1) for part in self._latents)
        noise = (z - mean) * torch.exp(-0.5 * logvar)
        # The constants of the two Gaussians' densities cancel.
        log_ratios = 0.5 * (noise.square() + logvar - z.square()).sum(dim=2)

        words, tenses = self._training_words
        losses = torch.empty_like(log_ratios)
        with torch.no_grad():
            for part in by_length(words.lengths, max(1, _SCORED // self.importance_samples)):
                cut = shortened(words, part).symbols.repeat_interleave(z.shape[1], dim=0)
                tense = tenses[part].repeat_interleave(z.shape[1])
                code = self.model.code_of_latent(z[part].flatten(0, 1))
                losses[part] = self.model.reconstruction(code, tense, cut).view(len(part), -1)
        return log_ratios - losses

    @cached_property
    def reconstruction(self) -> Tensor:
        """-log p(x|code, c) at the mean of the word's own code, all inputs true; (words,)."""
        words, tenses = self._training_words
        return -log_probabilities(self.model, self._codes.mean, tenses, words)

    @cached_property
    def _codes(self) -> Gaussian:
        return encode_words(self.model, *self._training_words)

    @cached_property
    def _latents(self) -> Gaussian:
        with torch.no_grad():
            return self.model.infer_latent(self._codes)

    @cached_property
    def _training_words(self) -> tuple[Words, Tensor]:
        """All training words and their tenses, row by row."""
        rows = TrainingRows(self.dataset.train)
        tenses = torch.arange(len(TENSES)).repeat(len(rows))
        words = Words(rows.symbols.flatten(0, 1), rows.lengths.flatten())
        return words.to(self.device), tenses.to(self.device)


def _wanted(pairs: Sequence[Pair]) -> list[tuple[str, int, int]]:
    return [(pair.source, pair.source_tense, pair.target_tense) for pair in pairs]


def _chunks(latents: Gaussian) -> list[Gaussian]:
    """Parts of a fixed size, since the noise of a draw depends on the size that is drawn."""
    pairs = zip(*(torch.split(part, _NOISE_ROWS) for part in latents), strict=True)
    return [Gaussian(mean, logvar) for mean, logvar in pairs]


Numbers = Mapping[str, float | None]
Metric = Callable[[Observations], Numbers]


def report_conversions(seen: Observations) -> Numbers:
    """BLEU-4 and exact match of the report's ten pairs (or the user's test file)."""
    return {
        "bleu4": _bleu4(seen.report),
        "exact_match": _exact_match(seen.report),
    }


def dev_conversions(seen: Observations) -> Numbers:
    """All twelve conversions of the dev verbs."""
    return _conversions("dev", seen.dev)


def seen_conversions(seen: Observations) -> Numbers:
    """A fixed sample of training verbs: how well the model fits, whatever it makes of new verbs."""
    return {
        "seen_bleu4": _bleu4(seen.seen_verbs),
        "seen_exact_match": _exact_match(seen.seen_verbs),
    }


def train_conversions(seen: Observations) -> Numbers:
    """Exact match of all twelve conversions of every training verb."""
    return _exact_matches("train", seen.train)


def test_conversions(seen: Observations) -> Numbers:
    """The same for the test verbs. For the record only: nothing is chosen by it."""
    return _conversions("test", seen.test)


def reranked_conversions(seen: Observations) -> Numbers:
    """Exact match of the dev and test verbs by ``reranking``. For the record, like the test."""
    table: dict[str, float | None] = {}
    for split, greedy in (("dev", seen.dev), ("test", seen.test)):
        found = seen.reranked([pair for pair, _ in greedy])
        for kind, part in _by_kind(found).items():
            table[f"{split}_exact_match{kind}_reranked"] = _exact_match(part)
    return table


def source_tense(seen: Observations) -> Numbers:
    """Share of the words of dev verbs whose tense is inferred right, irregular pasts apart.

    A tense is right if the word is a form of any known verb in it: *put* is a present and a past.
    """
    verbs = [(verb, tense) for verb in seen.dataset.dev for tense in range(len(TENSES))]
    words = [verb.preferred[tense] for verb, tense in verbs]
    inferred = infer_tenses(seen.model, words, seen.device) if words else []
    right: dict[bool, list[bool]] = {False: [], True: []}
    for (verb, tense), word, found in zip(verbs, words, inferred, strict=True):
        is_right = found in seen.dataset.tenses_of_words.get(word, frozenset({tense}))
        right[tense == TENSES.index("past") and not verb.regular].append(is_right)
    return {
        f"dev_source_tense{name}": sum(part) / len(part) if part else None
        for name, part in (("", right[False]), ("_irregular_past", right[True]))
    }


BASELINES: Final[Mapping[str, Callable[[Pair], str]]] = {
    "rules": lambda pair: inflection.convert(pair.source, pair.source_tense, pair.target_tense),
    "copy the source": lambda pair: pair.source,
}
"""What converts without having learned anything, by its name in tables of scores."""


def baseline_conversions(baseline: str, dataset: Dataset) -> Numbers:
    """What a baseline scores: the numbers that a model has from the same pairs, by the same names.

    Those of the report's pairs, and of the dev and test verbs where the data set has them.
    """
    answer = BASELINES[baseline]

    def converted(pairs: Sequence[Pair]) -> list[tuple[Pair, str]]:
        return [(pair, answer(pair)) for pair in pairs]

    report = converted(dataset.report_pairs)
    return {
        "bleu4": _bleu4(report),
        "exact_match": _exact_match(report),
        **_conversions("dev", converted(pairs_of(dataset.dev, include_same=False))),
        **_conversions("test", converted(pairs_of(dataset.test, include_same=False))),
    }


def dev_generation(seen: Observations) -> Numbers:
    """Gaussian score and variety over the bank that selection may look at."""
    score = metrics.gaussian_score(seen.dev_draws, seen.training_rows)
    return {
        "dev_gaussian_score": score.score,
        "dev_gaussian_distinct": score.distinct,
        "dev_gaussian_variety": score.variety,
        "dev_distinct_paradigms": metrics.distinct_paradigms(seen.dev_draws),
    }


def report_generation(seen: Observations) -> Numbers:
    """Gaussian score over the reported bank, and what it takes to judge it."""
    score = metrics.gaussian_score(seen.report_draws, seen.training_rows)
    return {
        "gaussian_score": score.score,
        "gaussian_low": score.low,
        "gaussian_high": score.high,
        "gaussian_distinct": score.distinct,
        "gaussian_draws": score.draws,
        "gaussian_variety": score.variety,
        "distinct_paradigms": metrics.distinct_paradigms(seen.report_draws),
        "novel_real_share": metrics.novel_share(
            seen.report_draws, seen.training_rows, seen.dataset.is_known
        ),
    }


def latent_use(seen: Observations) -> Numbers:
    """How much the latent z says about a word."""
    posterior, samples = seen.posteriors
    return {
        "kl": float(kl_per_unit(posterior).sum(dim=1).mean()),
        "active_units": metrics.active_units(posterior.mean),
        "mutual_information": metrics.mutual_information(posterior.mean, posterior.logvar, samples),
    }


def likelihood(seen: Observations) -> Numbers:
    """Reconstruction and the report's estimate of -log p(x|c), nats per training word."""
    return {
        "reconstruction": float(seen.reconstruction.mean()),
        "nll": metrics.importance_weighted_nll(seen.log_weights),
    }


DURING_TRAINING: Final[tuple[Metric, ...]] = (
    report_conversions,
    dev_conversions,
    seen_conversions,
    dev_generation,
)
METRICS: Final[tuple[Metric, ...]] = (
    *DURING_TRAINING,
    train_conversions,
    source_tense,
    report_generation,
    latent_use,
    likelihood,
)


def measure(seen: Observations, which: Sequence[Metric]) -> dict[str, float | None]:
    """Fill the table of metrics."""
    table: dict[str, float | None] = {}
    for metric in which:
        table.update(metric(seen))
    return table


def collapse_warning(seen: Observations, table: Numbers) -> str | None:
    """A warning that names posterior collapse, when the final metrics show it."""
    kl, units, information = (table[key] for key in ("kl", "active_units", "mutual_information"))
    assert kl is not None and units is not None
    return metrics.collapse_warning(
        kl,
        int(units),
        information,
        latent_size=seen.model.latent_size,
        distinct_paradigms=metrics.distinct_paradigms(seen.report_draws),
    )


def conversion_rows(seen: Observations, split: str) -> list[dict[str, Cell]]:
    """Rows of conversions.csv for the split ``report``, ``dev`` or ``test``."""
    converted = {"report": seen.report, "dev": seen.dev, "test": seen.test}
    return [
        {
            "split": split,
            "source": pair.source,
            "source_tense": TENSES[pair.source_tense],
            "target_tense": TENSES[pair.target_tense],
            "target": "/".join(pair.accepted),
            "prediction": prediction,
            "correct": int(prediction in pair.accepted),
            "bleu4": metrics.bleu4(pair.target, prediction),
            "edit_distance": metrics.edit_distance(pair.target, prediction),
            "regular": int(pair.regular),
        }
        for pair, prediction in converted[split]
    ]


def sample_rows(seen: Observations) -> list[dict[str, Cell]]:
    """Rows of samples.csv: every draw of the reported bank."""
    return [
        {
            "draw": draw,
            **dict(zip(TENSES, forms, strict=True)),
            "training_row": int(forms in seen.training_rows),
            "real_verb": int(seen.dataset.is_known(forms)),
        }
        for draw, forms in enumerate(seen.report_draws)
    ]


def _conversions(split: str, converted: Sequence[tuple[Pair, str]]) -> dict[str, float | None]:
    table = {f"{split}_bleu4": _bleu4(converted), **_exact_matches(split, converted)}
    for tense, name in enumerate(TENSES):
        part = [item for item in converted if item[0].target_tense == tense]
        table[f"{split}_exact_match_to_{name}"] = _exact_match(part)
    distances = [metrics.edit_distance(pair.target, word) for pair, word in converted]
    table[f"{split}_edit_distance"] = sum(distances) / len(distances) if distances else None
    return table


def _exact_matches(split: str, converted: Sequence[tuple[Pair, str]]) -> dict[str, float | None]:
    """Exact match of all pairs, and of regular and irregular verbs apart with their counts."""
    table: dict[str, float | None] = {}
    for kind, part in _by_kind(converted).items():
        table[f"{split}_exact_match{kind}"] = _exact_match(part)
        if kind:
            table[f"{split}_pairs{kind}"] = len(part)
    return table


def _by_kind(converted: Sequence[tuple[Pair, str]]) -> dict[str, list[tuple[Pair, str]]]:
    """All conversions, and those of regular and irregular verbs, by a metric's suffix."""
    return {
        "": list(converted),
        "_regular": [item for item in converted if item[0].regular],
        "_irregular": [item for item in converted if not item[0].regular],
    }


def _bleu4(converted: Sequence[tuple[Pair, str]]) -> float | None:
    if not converted:
        return None
    return metrics.bleu4_of_pairs((pair.target, prediction) for pair, prediction in converted)


def _exact_match(converted: Sequence[tuple[Pair, str]]) -> float | None:
    if not converted:
        return None
    return metrics.exact_match(
        [pair.accepted for pair, _ in converted], [prediction for _, prediction in converted]
    )


def _preferred(paradigms: Sequence[Paradigm]) -> frozenset[Forms]:
    return frozenset(paradigm.preferred for paradigm in paradigms)
