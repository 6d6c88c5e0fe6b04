"""What a run returns to a search, and its parts; larger is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Value = float | list[float]
Parts = Mapping[str, float]


def _weighted(parts: Parts, *, bleu_weight: float, gaussian_weight: float) -> Value:
    return bleu_weight * parts["bleu4"] + gaussian_weight * parts["generation"]


OBJECTIVES: Final[Mapping[str, Callable[..., Value]]] = {
    "weighted": _weighted,
    "bleu": lambda parts: parts["bleu4"],
    "gaussian": lambda parts: parts["generation"],
    "pareto": lambda parts: [parts["bleu4"], parts["generation"]],
}
"""What a run returns, by ``objective.name``: of ``bleu4`` and ``generation``; larger is better."""

PARTS: Final = ("bleu4", "gaussian_score", "gaussian_variety")
"""What ``result.json`` tells of the objective's parts, whichever of them count."""

COUNTED_CONVERSIONS: Final[Mapping[str, str]] = {"unseen": "dev_bleu4", "seen": "seen_bleu4"}
"""The metric that is the parts' ``bleu4``, by ``objective.conversions``."""

COUNTED_GENERATION: Final[Mapping[str, str]] = {
    "variety": "gaussian_variety",
    "share": "gaussian_score",
}
"""The part that is ``generation``, by ``objective.generation``."""


def parts_of(table: Mapping[str, float | None], conversions: str) -> dict[str, float]:
    """Return the parts of an evaluation, by the names of ``PARTS``.

    They never come from the report's pairs, the test verbs or the reported bank of draws.

    Args:
        table: the evaluation's metrics.
        conversions: ``objective.conversions``.
    """
    names = (COUNTED_CONVERSIONS[conversions], "dev_gaussian_score", "dev_gaussian_variety")
    return {part: table[name] or 0.0 for part, name in zip(PARTS, names, strict=True)}


def objective_of(node: Mapping[str, Any], parts: Parts) -> Value:
    """Return the objective of these parts.

    Args:
        node: ``objective`` of the config.
        parts: as ``parts_of`` returns them.
    """
    counted = {"bleu4": parts["bleu4"]}
    if "generation" in node:
        counted["generation"] = parts[COUNTED_GENERATION[node["generation"]]]
    own = ("name", "conversions", "generation")
    knobs = {key: value for key, value in node.items() if key not in own}
    return OBJECTIVES[node["name"]](counted, **knobs)


def worst(node: Mapping[str, Any]) -> Value:
    """Return the objective of a run that diverged."""
    return objective_of(node, dict.fromkeys(PARTS, 0.0))


def scalar(value: Value) -> float:
    """Return the number that selection and pruning compare: the sum of several."""
    return sum(value) if isinstance(value, list) else value


def as_returned(value: Value) -> float | tuple[float, ...]:
    """Return the objective as Optuna takes it."""
    return tuple(value) if isinstance(value, list) else value
