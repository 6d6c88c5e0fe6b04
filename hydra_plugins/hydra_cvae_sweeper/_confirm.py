"""Repeat the best of a search under further seeds, and choose the winner by its mean.

The best of many noisy values is biased upwards. When the search is over, its best trials are
therefore run again with other seeds. A repeat is a trial of the study with the user attribute
`confirms`, the number of the trial that it repeats. It does not count towards the total, and
samplers do not see it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optuna.trial import FrozenTrial, TrialState

from ._errors import SweepError
from ._start import START

_CONFIRMS = "confirms"
_REPEAT = "repeat"


class HasAttributes(Protocol):
    """A trial, or the claim of one."""

    @property
    def user_attrs(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Confirmation:
    """How many of the best trials are repeated, and how often.

    Attributes:
        best: how many trials.
        seeds: how many further runs of each.
        reseeded: returns a repeat's overrides, from the trial's and the raise of the seed.
        sign: -1 where larger values are better.
    """

    best: int
    seeds: int
    reseeded: Callable[[Sequence[str], int], list[str]]
    sign: int

    def missing(self, trials: Sequence[FrozenTrial]) -> tuple[FrozenTrial, dict[str, Any]] | None:
        """The next trial to repeat, with the attributes of the repeat; None if all have begun.

        Call it only when the search is over, so that its trials do not change any more.
        """
        begun = {
            (trial.user_attrs[_CONFIRMS], trial.user_attrs[_REPEAT])
            for trial in trials
            if is_repeat(trial)
        }
        for trial in self._best(trials):
            for repeat in range(1, self.seeds + 1):
                if (trial.number, repeat) not in begun:
                    overrides = self.reseeded(trial.user_attrs["overrides"], repeat)
                    return trial, {
                        **_kept(trial),
                        _CONFIRMS: trial.number,
                        _REPEAT: repeat,
                        "overrides": overrides,
                    }
        return None

    def _best(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        complete = [
            trial
            for trial in trials
            if trial.state == TrialState.COMPLETE
            and not is_repeat(trial)
            and "overrides" in trial.user_attrs  # another program's have none
        ]
        complete.sort(key=lambda trial: (self.sign * (trial.values or [0.0])[0], trial.number))
        return complete[: self.best]


@dataclass(frozen=True)
class Confirmed:
    """A trial with the values of its repeats."""

    trial: FrozenTrial
    values: Sequence[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"{self.mean:.4g} ({low:.4g} to {high:.4g}, {len(self.values)} seeds)"


def _kept(trial: FrozenTrial) -> dict[str, Any]:
    """The attribute that names the keys that the configuration as composed lacks."""
    return {START: trial.user_attrs[START]} if START in trial.user_attrs else {}


def is_repeat(trial: HasAttributes) -> bool:
    """Whether the trial repeats one of the best trials of the search."""
    return _CONFIRMS in trial.user_attrs


def confirms(trial: HasAttributes) -> int:
    """The number of the trial that a repeat repeats."""
    return int(trial.user_attrs[_CONFIRMS])


def hidden_from_samplers(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of the repeats, except for queued ones, which the next claim must find."""
    return {t.number for t in trials if is_repeat(t) and t.state != TrialState.WAITING}


def confirmed(trials: Sequence[FrozenTrial], sign: int) -> list[Confirmed]:
    """The trials that were repeated, the best mean first; none before all repeats have ended."""
    values: dict[int, list[float]] = {}
    for trial in trials:
        if not is_repeat(trial):
            continue
        if not trial.state.is_finished():
            return []
        if trial.state == TrialState.COMPLETE:
            values.setdefault(trial.user_attrs[_CONFIRMS], []).extend(trial.values or [])
    found = [
        Confirmed(trials[number], [*(trials[number].values or []), *more])
        for number, more in values.items()
    ]
    return sorted(found, key=lambda one: (sign * one.mean, one.trial.number))


def carried(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes that a retry of an interrupted repeat starts with."""
    if not is_repeat(trial):
        return {}
    return {key: trial.user_attrs[key] for key in (_CONFIRMS, _REPEAT, "overrides")}


def check_confirm(settings: Mapping[str, Any] | None, value: Any) -> bool:
    """Whether the best trials are repeated at all.

    Args:
        settings: hydra.sweeper.confirm.
        value: of its key, in the application's config.
    """
    if settings is None or not settings["best"]:
        return False
    for name, least in (("best", 0), ("seeds", 1)):
        if settings[name] < least:
            raise SweepError(
                f"hydra.sweeper.confirm.{name} is {settings[name]}; allowed: at least {least}"
            )
    if type(value) is not int:
        raise SweepError(
            f"hydra.sweeper.confirm.key is {settings['key']}, whose value is {value!r:.40}; "
            "allowed: the key of a seed, a whole number"
        )
    return True
