"""What a sweep tells of its study: where it stands, each trial as it ends, the best at the end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from ._book import Book, count_finished, counted
from ._confirm import confirmed
from ._display import CUT, Display, Standing, best_line
from ._failures import RETRY
from ._files import visible
from ._plan import Plan
from ._progress import best_of, trial_line
from ._start import is_start
from ._storage import STORAGE_TROUBLE
from ._summary import Winner, counts, winner_lines

log = logging.getLogger(__package__)


class Report:
    """Logs what happens in a study, and shows where it stands.

    Args:
        book: the study.
        plan: what the sweep does.
        display: shows the standing.
        commands: hydra.sweeper.next_commands.
    """

    def __init__(
        self, book: Book, plan: Plan, display: Display, commands: Mapping[str, str]
    ) -> None:
        self._book = book
        self._plan = plan
        self._display = display
        self._commands = commands
        self._done_before = 0

    def opening(
        self, trials: Sequence[FrozenTrial], *, goes_on: bool, at_once: int, place: str
    ) -> None:
        """Log where the study stands before the first trial of this process.

        Args:
            trials: all of the study.
            goes_on: whether something is left to do.
            at_once: how many trials this process runs at the same time.
            place: the storage, without its password.
        """
        done, total = count_finished(trials), self._book.total
        begun = f"{done} of {total} trials done, {at_once} at once"
        if not goes_on and done == total:
            begun = f"{done} of {total} trials done: nothing to do"
        elif not goes_on:
            begun = f"{done} trials done, {total} asked for: nothing to do"
        log.info("study %s in %s: %s", self._book.study.study_name, place, begun)
        self._done_before = done
        if done < total:
            self.best_so_far(trials)
        failed = sum(trial.state == TrialState.FAIL for trial in counted(trials))
        if failed and done >= total:
            log.info("%d of them failed; %s", failed, RETRY)

    def ended(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> None:
        """Log a trial that has ended."""
        line = trial_line(trial, trials, self._book.study, self._book.total)
        log.info("%s", line, extra=CUT)
        self._display.see(lambda: self.standing(trials), now=self._display.is_live)

    def show(self, *, now: bool = False) -> None:
        """Show where the study stands, if it is time for that."""
        with contextlib.suppress(*STORAGE_TROUBLE):  # reported by whoever needs the database
            self._display.see(self.standing, now=now)

    def standing(self, trials: Sequence[FrozenTrial] | None = None) -> Standing:
        trials = self._book.trials() if trials is None else trials
        return Standing.of(self._book.total, trials, self._best(trials))

    def best_so_far(self, trials: Sequence[FrozenTrial]) -> None:
        """Log the best trial, if there is one."""
        best = self._best(trials)
        if best is not None:
            log.info("%s", best_line(best))

    def stopped(self, trials: Sequence[FrozenTrial], signal: str, interrupted: int) -> None:
        """Log that a signal ended the sweep."""
        self.best_so_far(trials)
        log.info(
            "stopped by %s: %d of %d trials done, %d interrupted; the same command continues",
            signal,
            count_finished(trials),
            self._book.total,
            interrupted,
        )

    def closing(self, trials: Sequence[FrozenTrial], *, repeats: int, is_exhausted: bool) -> None:
        """Log how many trials ended how.

        Args:
            trials: all of the study.
            repeats: proposals that were not run, since they repeated a trial.
            is_exhausted: whether the space has no point left.
        """
        self._display.settle()
        if repeats:
            log.info("%d proposals repeated a trial and were not run again", repeats)
        done = len(counted(trials))
        if is_exhausted and done < self._book.total:
            log.info(
                "no further point was found: the search ends with %d of %d trials",
                done,
                self._book.total,
            )
        log.info("%s", counts(trials, self._display.passed, self._done_before))

    def best(self, trials: Sequence[FrozenTrial]) -> None:
        """Log the winner and how to use it, or the Pareto front of several objectives."""
        study = self._book.study
        if len(study.directions) > 1:
            front = study.best_trials
            log.info("%d Pareto-optimal trials", len(front))
            for trial in front:
                values = " ".join(f"{value:.4g}" for value in trial.values or [])
                where = visible(self._directory(trial))
                log.info("  %s  %s%s", values, where, " (as composed)" * is_start(trial))
            return
        best = best_of(trials, study)
        assert best is not None
        overrides = best.user_attrs.get("overrides") or self._plan.space.overrides(best.params)
        winner = Winner(best, self._directory(best), overrides)
        repeated = confirmed(trials, self._plan.sign)
        for line in winner_lines(winner, trials, repeated, self._commands, self._plan.directory):
            log.info("%s", line)

    def _best(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The best so far, if there is one; several objectives have a front instead."""
        study = self._book.study
        return best_of(trials, study) if len(study.directions) == 1 else None

    def _directory(self, trial: FrozenTrial) -> str:
        return self._book.locate(str(trial.user_attrs.get("directory", "")))
