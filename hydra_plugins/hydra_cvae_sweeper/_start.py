"""The configuration as composed as the first trial of a search, which can then only improve on it.

If the space contains its values of all searched keys, it is an ordinary trial. Otherwise the trial
runs without the keys whose values lie outside, which therefore keep their composed values, and
samplers do not see it: CMA-ES, NSGA-II and multivariate TPE would drop every key that is missing in
one trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ._search import all_values
from ._space import Space

START: Final = "start"
"""The user attribute of such a trial: the list of keys whose values lie outside the space."""


@dataclass(frozen=True)
class Start:
    """Values of the searched keys, and the keys whose values lie outside the space."""

    params: dict[str, Any] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)


class Absent(Exception):
    """The configuration as composed has no value for a key."""


def starting_point(space: Space, value_of: Callable[[str], Any]) -> Start | None:
    """The configuration as composed as a point; None if it lacks a searched key.

    Args:
        space: what is searched.
        value_of: returns the value of a key there, or the member of a group; raises ``Absent``.
    """
    start = Start()
    try:
        for key, kind in space.distributions.items():
            _add(start, key, kind, value_of(key))
        for key, kind in space.following(start.params):
            _add(start, key, kind, value_of(key))
    except Absent:
        return None
    return start


def _add(start: Start, key: str, kind: BaseDistribution, value: Any) -> None:
    held = _held(kind, value)
    if held:
        start.params[key] = held[0]
    else:
        start.outside.append(key)


def _held(kind: BaseDistribution, value: Any) -> list[Any]:
    """The value as one of the distribution's, in a list; empty if it lies outside."""
    if isinstance(kind, CategoricalDistribution):
        return [choice for choice in kind.choices if _is_same(choice, value)][:1]
    if not _is_number(value) or not math.isfinite(value):
        return []
    if "Int" in type(kind).__name__:
        values = all_values(kind)
        return [int(value)] if float(value).is_integer() and int(value) in values else []
    steps = all_values(kind)
    if steps:
        return [one for one in steps if math.isclose(one, value, rel_tol=1e-9, abs_tol=1e-12)][:1]
    low, high = getattr(kind, "low"), getattr(kind, "high")  # noqa: B009
    return [float(value)] if low <= value <= high else []


def _is_same(choice: Any, value: Any) -> bool:
    if _is_number(choice) and _is_number(value):
        return bool(choice == value)
    return type(choice) is type(value) and bool(choice == value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_start(trial: FrozenTrial) -> bool:
    """Whether a trial runs the configuration as composed."""
    return START in trial.user_attrs


def hidden_from_samplers(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of first trials that lack a key, except while they are queued."""
    return {
        trial.number
        for trial in trials
        if trial.user_attrs.get(START) and trial.state != TrialState.WAITING
    }
