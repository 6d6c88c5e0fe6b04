"""Calibrated probabilities for reranked conversions.

A model that was trained to exact spellings is overconfident about words that it has never seen. The
log-probabilities of ``reranking`` say more together than any of them alone, so four numbers are
fitted on the dev verbs and turn them into probabilities: a softmax over the candidates and one more
outcome, "none of them"::

    p(candidate) = exp(forward_weight * forward + back_weight * back) / Z
    p(none)      = exp(bias + reading_weight * sqrt(-reading)) / Z

The first term of a candidate is small where the decoder hesitates, the second one where the answer
does not lead back, and the reading is bad for a word unlike all training words. Temperature
scaling (Guo et al. 2017) is the special case of one weight and no "none of them".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from cvae.alphabet import TENSES
from cvae.data import Pair, Paradigm, pairs_of
from cvae.model import ConditionalVAE
from cvae.reranking import Answer, rerank
from cvae.run_directory import RunDirectoryError, write_atomically

FILE: Final = "calibration.json"
"""Where a run keeps its calibration."""

FOLDS: Final = 5
"""Parts of the dev verbs in the cross-validation."""

_LARGEST: Final = 100.0  # of a weight; those that are fitted are near 1
_PAIRS_OF_A_VERB: Final = len(TENSES) * (len(TENSES) - 1)

Converted = Sequence[tuple[Pair, Answer]]


class CalibrationError(ValueError):
    """Conversions from which no calibration can be fitted."""


@dataclass(frozen=True)
class Calibration:
    """The numbers of the module's formula; the first two weights are not negative."""

    forward_weight: float
    back_weight: float
    reading_weight: float
    bias: float

    def probabilities(self, answer: Answer) -> list[float]:
        """The probability of each candidate to be right; they sum to less than 1."""
        logits = [
            self.forward_weight * found.forward + self.back_weight * found.back
            for found in answer.candidates
        ]
        logits.append(self.bias + self.reading_weight * math.sqrt(max(0.0, -answer.reading)))
        highest = max(logits)
        terms = [math.exp(logit - highest) for logit in logits]
        return [term / sum(terms) for term in terms[:-1]]


def converted(model: ConditionalVAE, verbs: Sequence[Paradigm]) -> list[tuple[Pair, Answer]]:
    """The twelve conversions of each verb, reranked; ``model`` on the CPU, in evaluation mode."""
    pairs = pairs_of(verbs, include_same=False)
    wanted = [(pair.source, pair.source_tense, pair.target_tense) for pair in pairs]
    return list(zip(pairs, rerank(model, wanted, torch.device("cpu")), strict=True))


def correct(conversions: Converted) -> list[bool]:
    """Whether each answer is accepted."""
    return [answer.word in pair.accepted for pair, answer in conversions]


def fit(conversions: Converted) -> Calibration:
    """The calibration under which the conversions' outcomes are likeliest.

    Args:
        conversions: reranked, with their accepted answers, not of training verbs.

    Raises:
        CalibrationError: if there are none, or all are right, or all are wrong.
    """
    from scipy import optimize

    right = correct(conversions)
    if len(set(right)) < 2:
        what = "right" if any(right) else "wrong"
        raise CalibrationError(
            f"all of the {len(right)} conversions are {what}: there is nothing to calibrate"
        )
    forward, back, reading, hits = _arrays(conversions)
    # Where no candidate is right, the right outcome is "none of them".
    hits = np.column_stack([hits, ~hits.any(axis=1)])

    def loss(weights: np.ndarray[Any, Any]) -> float:
        none = weights[3] + weights[2] * reading
        logits = np.column_stack([weights[0] * forward + weights[1] * back, none])
        logits -= logits.max(axis=1, keepdims=True)
        terms = np.exp(logits)
        shares = (terms * hits).sum(axis=1) / terms.sum(axis=1)
        return float(-np.log(shares + 1e-12).mean())

    found = optimize.minimize(
        loss,
        np.array([0.5, 0.5, -0.5, -3.0]),
        method="L-BFGS-B",
        bounds=[(0.0, _LARGEST), (0.0, _LARGEST), (-_LARGEST, _LARGEST), (-_LARGEST, _LARGEST)],
    )
    return Calibration(*(float(weight) for weight in found.x))


def cross_validated(conversions: Converted) -> list[float]:
    """The probability of each answer, by a calibration that never saw its verb.

    Args:
        conversions: in the order of ``data.pairs_of``, twelve pairs a verb.

    Raises:
        CalibrationError: if a part cannot be calibrated.
    """
    fold = [index // _PAIRS_OF_A_VERB % FOLDS for index in range(len(conversions))]
    found = [0.0] * len(conversions)
    for left_out in set(fold):
        others = [item for item, part in zip(conversions, fold, strict=True) if part != left_out]
        calibration = fit(others)
        for index, (_, answer) in enumerate(conversions):
            if fold[index] == left_out:
                found[index] = calibration.probabilities(answer)[0]
    return found


def _arrays(conversions: Converted) -> tuple[np.ndarray[Any, Any], ...]:
    """Forward, back (pairs, candidates), sqrt(-reading) (pairs,), which candidates are right."""
    width = max(len(answer.candidates) for _, answer in conversions)
    shape = (len(conversions), width)
    # What is not there has no probability, whatever the weights.
    forward, back = np.full(shape, -1e6), np.full(shape, -1e6)
    hits = np.zeros(shape, dtype=bool)
    for row, (pair, answer) in enumerate(conversions):
        for column, found in enumerate(answer.candidates):
            forward[row, column], back[row, column] = found.forward, found.back
            hits[row, column] = found.word in pair.accepted
    reading = np.sqrt([max(0.0, -answer.reading) for _, answer in conversions])
    return forward, back, reading, hits


# --- The file ----------------------------------------------------------------------------------


def write(directory: Path, calibration: Calibration) -> None:
    """Write a run's calibration.

    Raises:
        RunDirectoryError: if it cannot be written.
    """
    text = json.dumps(asdict(calibration), indent=2, allow_nan=False)
    write_atomically(directory / FILE, f"{text}\n".encode())


def read(directory: Path) -> Calibration:
    """Read a run's calibration.

    Raises:
        RunDirectoryError: if it is missing or damaged.
    """
    path = directory / FILE
    advice = f"make it with: python -m cvae.calibrate {directory}"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunDirectoryError(f"{path}: no such file; {advice}") from None
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return _calibration(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: is damaged ({error!s:.100}); {advice}") from error


def _calibration(found: object) -> Calibration:
    names = list(Calibration.__dataclass_fields__)
    if not isinstance(found, Mapping) or set(found) != set(names):
        raise ValueError(f"it must hold {', '.join(names)}, and nothing else")
    for name, value in found.items():
        if type(value) not in (int, float) or not abs(value) <= _LARGEST:
            raise ValueError(f"{name} must be a number of at most {_LARGEST:g}")
    return Calibration(**{name: float(value) for name, value in found.items()})
