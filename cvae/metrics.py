"""Measures of a model, as functions of words and numbers.

Nothing here runs a model: ``evaluation`` decodes the words and draws the latents. Shares and
BLEU-4 are plain floats; no function turns an empty input into NaN, it raises or says ``None``.
Adding a metric is one function here, one line in ``evaluation`` and one test.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import mul
from typing import Final

import torch
from torch import Tensor

Paradigm = tuple[str, str, str, str]
"""The four forms of a verb, by tense."""


class MetricError(ValueError):
    """A measure of nothing, or of inputs that do not belong together."""


# Conversions: a prediction against its target

_REMEMBERED: Final = 2**15  # pairs of words; a few MB

_SMOOTHING: Final = 0.1  # NLTK's epsilon in smoothing method 1: counts for an order without match


def _bleu4_weights(target: str) -> tuple[float, ...]:
    """Return a weight for each n-gram order; a three-letter target has no 4-gram to match."""
    return (0.33,) * 3 if len(target) == 3 else (0.25,) * 4


@lru_cache(maxsize=_REMEMBERED)
def bleu4(target: str, prediction: str) -> float:
    """BLEU-4 over the letters of one word, as the community of this task computes it.

    With p_n the clipped n-gram precision and w_n its weight::

        BLEU-4 = min(1, exp(1 - len(target) / len(prediction))) * exp(sum_n w_n log p_n)

    w is 1/4 four times, but 0.33 three times when the target has exactly three letters. An order
    without a match counts 0.1 matches (smoothing method 1); a prediction shorter than n counts as
    one n-gram. Without a common letter, and for an empty prediction, the score is 0.

    It equals ``bleu4_nltk`` to the last bit. Pairs are remembered: the same targets are asked for
    at every evaluation, and from three source tenses each.

    Range [0, 1], larger is better. Exact words score 1, except that a word of one or two letters
    never does: it lacks the higher orders, so an exact two-letter word scores 0.316.

    Source: Papineni et al. 2002; smoothing: Chen and Cherry 2014, method 1.
    """
    length = len(prediction)
    if prediction == target and length >= 3:
        return 1.0
    logs: list[float] = []
    matches = 1
    for order, weight in enumerate(_bleu4_weights(target), start=1):
        if matches:  # where no n-gram matches, no longer one does
            left = _ngram_counts(target, order).copy()
            matches = 0
            for start in range(length - order + 1):
                gram = prediction[start : start + order]
                if left.get(gram, 0):
                    left[gram] -= 1
                    matches += 1
        if matches == 0 and order == 1:
            return 0.0
        precision = (matches or _SMOOTHING) / max(1, length - order + 1)
        logs.append(weight * math.log(precision))
    penalty = 1.0 if length > len(target) else math.exp(1 - len(target) / length)
    return penalty * math.exp(math.fsum(logs))


@lru_cache(maxsize=_REMEMBERED)
def _ngram_counts(word: str, order: int) -> dict[str, int]:
    """How often every n-gram stands in a word; shared, so not to be changed."""
    return dict(Counter(word[start : start + order] for start in range(len(word) - order + 1)))


def bleu4_nltk(target: str, prediction: str) -> float:
    """BLEU-4 by NLTK: what ``bleu4`` must equal.

    Range [0, 1], larger is better. Source: ``nltk.translate.bleu_score.sentence_bleu``.
    """
    from nltk.translate.bleu_score import (  # type: ignore[import-untyped,unused-ignore]
        SmoothingFunction,
        sentence_bleu,
    )

    return float(
        sentence_bleu(
            [list(target)],
            list(prediction),
            weights=_bleu4_weights(target),
            smoothing_function=SmoothingFunction().method1,
        )
    )


def bleu4_of_pairs(pairs: Iterable[tuple[str, str]]) -> float:
    """Mean ``bleu4`` over pairs of (target, prediction). Range [0, 1], larger is better.

    Raises:
        MetricError: if there is no pair.
    """
    scores = [bleu4(target, prediction) for target, prediction in pairs]
    if not scores:
        raise MetricError("BLEU-4 of no pairs")
    return math.fsum(scores) / len(scores)


def exact_match(accepted: Sequence[Sequence[str]], predictions: Sequence[str]) -> float:
    """Share of predictions that equal one of their accepted words, letter for letter.

    Range [0, 1], larger is better.

    Args:
        accepted: for each prediction the words that count as right (travelled, traveled).
        predictions: the predicted words.

    Raises:
        MetricError: if there is no prediction, the two differ in length, or an entry of
            ``accepted`` is a bare word, in which every fragment would pass for a match.
    """
    if len(accepted) != len(predictions):
        raise MetricError(f"{len(accepted)} accepted entries for {len(predictions)} predictions")
    if not predictions:
        raise MetricError("exact match of no predictions")
    for words in accepted:
        if isinstance(words, str):
            raise MetricError(f"accepted words are {words!r}; allowed: a sequence of words")
    hits = sum(prediction in words for words, prediction in zip(accepted, predictions, strict=True))
    return hits / len(predictions)


@lru_cache(maxsize=_REMEMBERED)
def edit_distance(a: str, b: str) -> int:
    """Fewest insertions, deletions and replacements of a letter that turn ``a`` into ``b``.

    Range 0 to the longer length, in letters; smaller is better.

    Source: Levenshtein 1966; computed a column at a time, a bit a row, by Myers 1999 in the form of
    Hyyro 2001.
    """
    if a == b or not a:
        return len(b) - len(a)
    rows: dict[str, int] = {}  # the rows at which a letter of ``a`` stands
    for row, letter in enumerate(a):
        rows[letter] = rows.get(letter, 0) | 1 << row
    # The distances of the prefixes of ``a`` to a prefix of ``b`` are a column of the usual table.
    # Neighbours in it differ by at most 1, so two bits a row hold the column, and a letter of ``b``
    # moves all rows to the next column at once.
    last, every = 1 << len(a) - 1, (1 << len(a)) - 1
    more, less = every, 0  # rows whose distance is 1 more, or 1 less, than that of the row above
    distance = len(a)
    for letter in b:
        same = rows.get(letter, 0)
        not_more = same | less
        diagonal = ((same & more) + more ^ more) | same
        grown = less | ~(diagonal | more) & every
        shrunk = more & diagonal
        distance += bool(grown & last) - bool(shrunk & last)
        grown = grown << 1 | 1
        more = (shrunk << 1 | ~(not_more | grown)) & every
        less = grown & not_more & every
    return distance


# Generation: paradigms decoded from prior draws

_Z_95: Final = 1.959963984540054  # 97.5 % quantile of the standard normal: 95 % two-sided


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share of ``successes`` out of ``n`` independent draws.

    Unlike the share plus or minus 1.96 standard errors it stays in [0, 1] and keeps its width when
    no draw, or every draw, succeeds. Of no draws at all it is (0, 1).

    Raises:
        MetricError: unless 0 <= successes <= n.

    Source: Wilson 1927.
    """
    if not 0 <= successes <= n:
        raise MetricError(f"{successes} successes of {n} draws; allowed: 0 <= successes <= n")
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, _Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    # At the ends the bound is exactly 0 or 1; the formula misses it by a rounding error.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


@dataclass(frozen=True)
class GaussianScore:
    """Gaussian score with what it takes to judge it.

    Attributes:
        score: share of draws whose paradigm is a training row; [0, 1], larger is better.
        low: lower end of its 95 % interval.
        high: upper end of its 95 % interval.
        distinct: number of different training rows hit; larger is better. A decoder that
            ignores z and always says one training row has score 1 and distinct 1.
        draws: number of draws.
        variety: the score with repeated rows counted down, ``gaussian_variety``; larger is better.
    """

    score: float
    low: float
    high: float
    distinct: int
    draws: int
    variety: float


def gaussian_score(draws: Sequence[Paradigm], rows: Collection[Paradigm]) -> GaussianScore:
    """Share of prior draws that decode to a training row, all four forms right.

    Every draw counts once, however often its row stands in ``rows``.

    Args:
        draws: for each z ~ N(0, I) its greedy decoding under the four tenses.
        rows: the training paradigms; duplicates do no harm.

    Raises:
        MetricError: if there is no draw.

    Source: the report's Gaussian score; interval: ``wilson_interval``.
    """
    if not draws:
        raise MetricError("Gaussian score of no draws")
    known = set(rows)
    hits = [draw for draw in draws if draw in known]
    counts = Counter(hits)
    low, high = wilson_interval(len(hits), len(draws))
    return GaussianScore(
        score=len(hits) / len(draws),
        low=low,
        high=high,
        distinct=len(counts),
        draws=len(draws),
        variety=gaussian_variety(list(counts.values()), rows=len(known), draws=len(draws)),
    )


def gaussian_variety(counts: Sequence[int], *, rows: int, draws: int) -> float:
    """Gaussian score times the variety of the rows hit, as against uniform hits.

    With H hits among D draws from N rows, and m = min(H, N)::

        H / D * (different rows among m of the hits) / (N * (1 - (1 - 1/N)^m))

    The numerator is the mean over all ways to take m of the hits; the denominator is what m uniform
    draws from all rows hit in the mean. So the expectation is 1 for uniform draws from all rows,
    the Gaussian score itself for a generator whose hits are uniform, and never above that for any
    other. One row repeated D times has at most 1.59 / min(N, D).

    Range 0 to 1, up to sampling noise above it: a bank may hit more rows than uniform draws do in
    the mean. Larger is better. A draw that becomes a training row never lowers it; a repeated row
    that becomes one never hit raises it. docs/derivation.md, section 9.

    Args:
        counts: how often each row that was hit was hit, in any order; each at least 1.
        rows: number of different training rows.
        draws: number of draws, hits or not.

    Raises:
        MetricError: if these counts cannot come from so many rows and draws.

    Source: rarefaction, Hurlbert 1971.
    """
    hits = sum(counts)
    if not hits <= draws or len(counts) > rows or draws < 1 or min(counts, default=1) < 1:
        raise MetricError(f"{len(counts)} rows with {hits} hits; there are {rows} and {draws}")
    if hits == 0:
        return 0.0
    size = min(hits, rows)
    # missed[c]: the chance that a row with c hits is not among ``size`` hits, none taken twice.
    left = (1.0 - size / (hits - i) for i in range(max(counts)))
    missed = list(accumulate(left, mul, initial=1.0))
    distinct = math.fsum(1.0 - missed[count] for count in counts)
    uniform = rows * (1.0 - (1.0 - 1.0 / rows) ** size)
    return hits / draws * distinct / uniform


def distinct_paradigms(draws: Sequence[Paradigm]) -> int:
    """Number of different paradigms among the prior draws, training rows or not.

    Range 1 to the number of draws; larger is better. At 1 the decoder says the same whatever z is,
    which the Gaussian score's distinct rows cannot tell from never hitting a row.

    Raises:
        MetricError: if there is no draw.
    """
    if not draws:
        raise MetricError("distinct paradigms of no draws")
    return len(set(draws))


def novel_share(
    draws: Iterable[Paradigm],
    training_rows: Iterable[Paradigm],
    holds: Callable[[Paradigm], bool],
) -> float | None:
    """Share of the generated paradigms outside the training rows of which something holds.

    Duplicates among the draws count once. Range [0, 1], larger is better; ``None`` when every draw
    is a training row, so that nothing novel was said.

    Args:
        draws: generated paradigms.
        training_rows: the training paradigms.
        holds: such as being a verb of the whole table, dev and test included.
    """
    novel = set(draws).difference(training_rows)
    if not novel:
        return None
    return sum(map(holds, novel)) / len(novel)


# Confidence: a probability against whether the answer was right


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of about the same probability.

    Attributes:
        probability: their mean.
        accuracy: the share of them that is right.
        count: their number, at least 1.
    """

    probability: float
    accuracy: float
    count: int


def reliability(
    probabilities: Sequence[float],
    correct: Sequence[bool],
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> list[ReliabilityBin]:
    """Answers in bins by their probability, the lowest first; empty bins are left out.

    Args:
        probabilities: in [0, 1].
        correct: whether each answer is right.
        bins: how many.
        equal_mass: bins of equal numbers of answers, instead of equal widths of probability.

    Raises:
        MetricError: if there is no answer, or the two do not belong together.
    """
    if not probabilities or len(probabilities) != len(correct):
        raise MetricError(f"{len(probabilities)} probabilities of {len(correct)} answers")
    if not all(0.0 <= value <= 1.0 for value in probabilities):
        raise MetricError("a probability outside [0, 1]")
    pairs = sorted(zip(probabilities, correct, strict=True))
    groups: dict[int, list[tuple[float, bool]]] = {}
    for rank, pair in enumerate(pairs):
        place = rank * bins // len(pairs) if equal_mass else min(int(pair[0] * bins), bins - 1)
        groups.setdefault(place, []).append(pair)
    return [
        ReliabilityBin(
            probability=math.fsum(value for value, _ in group) / len(group),
            accuracy=sum(right for _, right in group) / len(group),
            count=len(group),
        )
        for group in groups.values()
    ]


def calibration_error(
    probabilities: Sequence[float],
    correct: Sequence[bool],
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> float:
    """Expected calibration error: how far probability and accuracy are apart, over the bins.

    The mean of |accuracy - probability| over ``reliability``'s bins, each by its number of answers.
    Range [0, 1], smaller is better; 0 also for one that always says the overall accuracy. Few
    answers in a bin make it larger: it is not 0 even for true probabilities.

    Source: Guo et al. 2017, with bins of equal width; of equal mass: Nixon et al. 2019.
    """
    found = reliability(probabilities, correct, bins=bins, equal_mass=equal_mass)
    total = math.fsum(part.count * abs(part.accuracy - part.probability) for part in found)
    return total / len(probabilities)


# The latent: what the encoder says about a word

_LOG_TWO_PI: Final = math.log(2.0 * math.pi)


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """Number of latent units u whose posterior mean moves: Var_x(E_q[z_u | x]) > ``threshold``.

    Range 0 to the latent size; 0 under posterior collapse. The variance is the one of the rows
    themselves (divided by their number), so a single row has none.

    Args:
        means: (rows, latent), floating; over the whole training set.
        threshold: least variance of an active unit; the source finds its measure insensitive.

    Source: Burda et al. 2015 (arXiv 1509.00519).
    """
    return int((means.double().var(dim=0, correction=0) > threshold).sum())


def mutual_information(
    means: Tensor, logvars: Tensor, samples: Tensor, *, chunk: int = 64
) -> float:
    """Mutual information of row and latent under q, in nats.

    MI = E_x KL(q(z|x) || p(z)) - KL(q(z) || p(z)) with q(z) = 1/N sum_m q(z|x_m). The log p(z) of
    the two terms cancel on the same samples, which leaves what is computed, for z ~ q(z|x_n)::

        mean over n of  log q(z|x_n) - logsumexp_m log q(z|x_m) + log N

    Range [0, log N] up to sampling noise below 0; the upper bound holds exactly. Near 0 the latent
    says nothing about the word, at log N it names the row. Give it the whole training set: over
    a batch the bound is log(batch size).

    Args:
        means: (rows, latent), floating.
        logvars: (rows, latent), floating.
        samples: (rows, latent) or (rows, draws, latent); row n drawn from q(z|x_n).
        chunk: samples compared with all rows at once; bounds memory at chunk * rows doubles.

    Raises:
        MetricError: if the shapes do not belong together, there is no row or no chunk.

    Source: Hoffman and Johnson 2016.
    """
    if means.dim() != 2 or means.shape != logvars.shape or means.shape[0] == 0 or chunk < 1:
        raise MetricError(
            f"means {tuple(means.shape)}, logvars {tuple(logvars.shape)}, chunk {chunk}; "
            "allowed: twice (rows, latent) with at least one row, and chunk >= 1"
        )
    row_count, latent_size = means.shape
    if samples.dim() == 2:
        samples = samples.unsqueeze(1)
    fits = samples.dim() == 3 and (samples.shape[0], samples.shape[2]) == (row_count, latent_size)
    if not fits or samples.shape[1] == 0:
        raise MetricError(
            f"samples {tuple(samples.shape)} for means {tuple(means.shape)}; "
            "allowed: (rows, latent) or (rows, draws, latent), with draws"
        )

    # Doubles: the square below is expanded, so that it is a product instead of a tensor
    # (samples, rows, latent), and its terms cancel where variances are small.
    mean, logvar = means.double(), logvars.double()  # (rows, latent)
    precision = torch.exp(-logvar)  # (rows, latent)
    constant = -0.5 * (logvar + _LOG_TWO_PI + mean.square() * precision).sum(dim=1)  # (rows,)
    draw_count = samples.shape[1]
    flat = samples.double().reshape(-1, latent_size)  # (rows * draws, latent)
    owners = torch.arange(row_count, device=means.device).repeat_interleave(draw_count)

    factors = torch.cat([-0.5 * precision, mean * precision], dim=1).T  # (2 * latent, rows)

    total = 0.0
    for z, owner in zip(torch.split(flat, chunk), torch.split(owners, chunk), strict=True):
        log_q = torch.addmm(constant, torch.cat([z.square(), z], dim=1), factors)
        deviation = (z - mean[owner]).square() * precision[owner]  # (chunk, latent)
        own = -0.5 * (logvar[owner] + _LOG_TWO_PI + deviation).sum(dim=1)  # (chunk,)
        # The exact value in both places keeps the bound log N exact.
        log_q[torch.arange(len(owner), device=log_q.device), owner] = own
        total += float((own - torch.logsumexp(log_q, dim=1)).sum())
    return total / len(flat) + math.log(row_count)


def importance_weighted_nll(log_weights: Tensor) -> float:
    """Importance-weighted negative log-likelihood, in nats per word.

    -log p(x) ~ -log 1/L sum_l p(x|z_l) p(z_l) / q(z_l|x) with z_l ~ q(z|x), averaged over words;
    the report's Monte Carlo estimate. Smaller is better; the true value, which is >= 0 for words,
    lies below it in expectation and is approached as L grows; with L = 1 it is the negative
    evidence lower bound.

    Args:
        log_weights: (rows, samples), floating: log p(x|z) + log p(z) - log q(z|x).

    Raises:
        MetricError: if there is no row or no sample.

    Source: Burda et al. 2015 (arXiv 1509.00519), its L_k.
    """
    if log_weights.dim() != 2 or log_weights.numel() == 0:
        raise MetricError(
            f"log weights {tuple(log_weights.shape)}; allowed: (rows, samples), neither empty"
        )
    weights = log_weights.double()
    log_evidence = torch.logsumexp(weights, dim=1) - math.log(weights.shape[1])  # (rows,)
    return -float(log_evidence.mean())


# Posterior collapse

COLLAPSE_NATS: Final = math.log(2.0)
"""Below this many nats of KL or mutual information a latent cannot tell even two words apart."""

COLLAPSE_UNITS: Final = 0
"""Active units at which the posterior mean is the same for all words; one unit can name many."""


def collapse_warning(
    kl: float,
    active_units: int,
    mutual_information: float | None = None,
    *,
    latent_size: int,
    distinct_paradigms: int | None = None,
) -> str | None:
    """Return a warning that names posterior collapse, with its numbers, or ``None``.

    The mutual information decides where it is known: a KL can be large while all words share one
    posterior, and means that hardly move can still tell words apart if variances are smaller.
    Without it the KL or the active units decide. The mutual information is never above the KL.

    Args:
        kl: nats per word.
        active_units: see ``active_units``.
        mutual_information: nats; ``None`` when it was not measured.
        latent_size: number of latent units.
        distinct_paradigms: number of different paradigms among several prior draws; one means
            that the decoder ignores z, whatever the encoder does.
    """
    if mutual_information is None:
        collapsed = kl < COLLAPSE_NATS or active_units <= COLLAPSE_UNITS
        measured = ""
    else:
        collapsed = mutual_information < COLLAPSE_NATS
        measured = f", mutual information {mutual_information:.3f} nats"
    if not collapsed and distinct_paradigms != 1:
        return None
    if distinct_paradigms == 1:
        measured += ", every prior draw decodes to the same paradigm"
    return (
        f"posterior collapse: KL {kl:.3f} nats per word, {active_units} of {latent_size} latent "
        f"units active{measured}; telling two words apart takes {COLLAPSE_NATS:.2f} nats. The "
        "decoder does not use z: try a smaller KL weight, a longer ramp, or anneal=free_bits"
    )
