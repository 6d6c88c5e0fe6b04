"""Asynchronous successive halving in which trials continue from their own checkpoints.

The rule is that of ASHA (Li et al. 2020, arXiv 1810.05934). Rungs are shares of training. A trial
that reaches a rung and is not among the best there is paused: it ends as pruned. Whenever a worker
asks for a trial, it first looks for a paused one that is now among the best at its rung. A new
trial with the same overrides and in the same directory continues it, and the application finds its
checkpoint there. Both count as one trial.

The state of a trial is in its user attributes:

    rung 0.4    at this rung: the number of the configuration's first trial, and the value
    promoted    the last rung at which it went on
    paused      the rung at which it stopped
    continues   the trial that it goes on with
    root        the first trial of its configuration, where it is not that trial itself
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ._errors import SweepError

VARIABLE = "CVAE_HALVING"
"""The environment variable that tells a job its rungs."""

PAUSED = "paused"
CONTINUES = "continues"
_ROOT = "root"
_PROMOTED = "promoted"
_RUNG = "rung "


@dataclass(frozen=True)
class Halving:
    """The rungs of a search, and the rule by which trials pass them.

    Attributes:
        rungs: shares of training, ascending.
        reduction_factor: at each rung, one in this many trials continues.
        least: the number of trials that reach the end in any case.
        sign: -1 where larger values are better.
    """

    rungs: Sequence[float]
    reduction_factor: float
    least: int
    sign: int

    def variable(self, attributes: Mapping[str, Any], number: int, *, is_reference: bool) -> str:
        """The value of the environment variable for a job: its remaining rungs.

        Args:
            attributes: the trial's.
            number: the trial's.
            is_reference: whether it always runs to its end.
        """
        passed = attributes.get(_PROMOTED, 0.0)
        settings = {
            "rungs": [rung for rung in self.rungs if rung > passed],
            "reduction_factor": 1.0 if is_reference else self.reduction_factor,
            "root": attributes.get(_ROOT, number),
        }
        return json.dumps(settings)

    def promotable(self, trials: Sequence[FrozenTrial], *, is_last: bool) -> Iterator[FrozenTrial]:
        """Paused trials that are to be continued: the highest rung first, then the best.

        Args:
            trials: all of the study.
            is_last: whether no other trial will reach a rung.
        """
        paused = _paused(trials)
        if not paused:
            return
        for rung in reversed(self.rungs):
            key = f"{_RUNG}{rung:g}"
            # A trial that was interrupted and repeated counts once at its rung.
            reached = dict(t.user_attrs[key] for t in trials if key in t.user_attrs)
            quota = int(len(reached) / self.reduction_factor)
            if is_last:
                quota = max(quota, self.least)
            ranked = sorted((self._rank(value), root) for root, value in reached.items())
            for rank, root in ranked[:quota]:
                found = paused.get(root)
                if found is not None and found.user_attrs[PAUSED] == rung and rank < math.inf:
                    yield found

    def _rank(self, value: float | None) -> float:
        return math.inf if value is None else self.sign * value


def read_halving(settings: Mapping[str, Any] | None, least: int, sign: int) -> Halving | None:
    """The rule that hydra.sweeper.halving states, or None without rungs."""
    if settings is None or not settings["rungs"]:
        return None
    rungs, factor = [float(rung) for rung in settings["rungs"]], float(settings["reduction_factor"])
    if rungs != sorted(set(rungs)) or not 0.0 < rungs[0] <= rungs[-1] < 1.0:
        raise SweepError(
            f"hydra.sweeper.halving.rungs is {rungs}; allowed: shares of training above 0 and "
            "below 1, in ascending order"
        )
    if not 1.0 < factor < math.inf:
        raise SweepError(
            f"hydra.sweeper.halving.reduction_factor is {factor:g}; allowed: numbers above 1"
        )
    return Halving(rungs, factor, least, sign)


def continuation(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes of the trial that continues this one."""
    attributes = trial.user_attrs
    return {
        **carried(trial),
        CONTINUES: trial.number,
        _PROMOTED: attributes[PAUSED],
        "directory": attributes["directory"],
        "overrides": attributes["overrides"],
        "resume_from": attributes.get("resume_from", []),
    }


def carried(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes that a retry of this trial starts with."""
    kept = {
        key: value
        for key, value in trial.user_attrs.items()
        if key in (CONTINUES, _PROMOTED) or key.startswith(_RUNG)
    }
    return {**kept, _ROOT: root_of(trial)}


def is_paused(trial: FrozenTrial) -> bool:
    """Whether the trial was paused at a rung; another one may have continued it."""
    return trial.state == TrialState.PRUNED and PAUSED in trial.user_attrs


def root_of(trial: FrozenTrial) -> int:
    """The number of the first trial of this one's configuration."""
    return int(trial.user_attrs.get(_ROOT, trial.number))


def hidden_from_samplers(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of the trials that samplers do not see, so that a configuration is one observation.

    While a trial is being continued, samplers see the paused trial; afterwards its continuation.
    """
    hidden: set[int] = set()
    for trial in trials:
        continued = trial.user_attrs.get(CONTINUES)
        if continued is not None and trial.state != TrialState.WAITING:
            ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            hidden.add(continued if ended else trial.number)
    return hidden


def _paused(trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The paused trials that were not continued, by the number of their first trial."""
    continued = {trial.user_attrs.get(CONTINUES) for trial in trials}
    return {
        root_of(trial): trial
        for trial in trials
        if is_paused(trial) and trial.number not in continued
    }
