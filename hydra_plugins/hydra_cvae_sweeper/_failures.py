"""When failed trials end a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from optuna.trial import FrozenTrial, TrialState

from ._book import counted
from ._errors import SweepFailed

RETRY: Final = "hydra.sweeper.retry_failed=true runs failed trials again"


class Failures:
    """The limits of hydra.sweeper.max_failure_rate and max_consecutive_failures.

    A rate of 0 ends the sweep at the first failure. A rate of 1 allows any number, in a row, too.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._rate: float | None = settings["max_failure_rate"]
        self._allowed = 0 if self._rate == 1.0 else int(settings["max_consecutive_failures"])
        self._in_a_row = 0

    def count(self, trial: FrozenTrial, directory: str) -> None:
        """Count a trial that has ended.

        Raises:
            SweepFailed: if no further trial shall be run.
        """
        if trial.state != TrialState.FAIL:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        reason = trial.user_attrs.get("reason", "no reason")
        if self._rate == 0.0:
            raise SweepFailed(
                f"trial {trial.number} failed, and hydra.sweeper.max_failure_rate is 0: {reason} "
                f"({directory}); {RETRY}"
            )
        if self._allowed and self._in_a_row >= self._allowed:
            raise SweepFailed(
                f"{self._allowed} trials failed one after the other, the last one with: {reason} "
                f"({directory}); see hydra.sweeper.max_consecutive_failures; {RETRY}"
            )

    def check_all(self, trials: Sequence[FrozenTrial]) -> None:
        """Check the trials of a study that is complete.

        Raises:
            SweepFailed: if none was completed, or too large a share failed.
        """
        counting = counted(trials)
        failed = [trial for trial in counting if trial.state == TrialState.FAIL]
        if not any(trial.state == TrialState.COMPLETE for trial in trials):
            reason = failed[-1].user_attrs.get("reason", "") if failed else "none was run"
            raise SweepFailed(
                f"no trial of {len(counting)} was completed; the last one: {reason}; {RETRY}"
            )
        if self._rate is not None and len(failed) > self._rate * len(counting):
            raise SweepFailed(
                f"{len(failed)} of {len(counting)} trials failed, more than "
                f"hydra.sweeper.max_failure_rate={self._rate}; {RETRY}"
            )
