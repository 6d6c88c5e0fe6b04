"""The loop of a sweep: take a trial, have a launcher run it, record how it ended."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn, TypeGuard

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from optuna.trial import TrialState

from ._book import Book, Claim, count_finished
from ._claims import Claims
from ._display import Display
from ._errors import SweepFailed
from ._failures import Failures
from ._files import visible
from ._nursery import NurseryDied, Outcome, one_line, outcome_of_error
from ._patience import Patience
from ._progress import ResultsFile
from ._report import Report
from ._stop import Stopped, StopRequest
from ._storage import STORAGE_TROUBLE
from .launcher import LocalLauncher

log = logging.getLogger(__package__)

_TICK: Final = 0.25  # how long a signal may go unnoticed, in seconds
_ASK_AGAIN: Final = 1.0  # seconds between two looks for trials that other workers gave back


class Loop:
    """Runs trials until the study is complete or a signal comes.

    Args:
        launcher: runs the jobs.
        at_once: how many.
        book: the study.
        claims: the trials of this process.
        failures: when failed trials end the sweep.
        report: what is logged.
        results: the file of the best so far.
        display: what is shown.
        stop: whether a signal has come.
        patience: for the database.
    """

    def __init__(
        self,
        launcher: Launcher,
        at_once: int,
        *,
        book: Book,
        claims: Claims,
        failures: Failures,
        report: Report,
        results: ResultsFile,
        display: Display,
        stop: StopRequest,
        patience: Patience,
    ) -> None:
        self._launcher = launcher
        self._at_once = at_once
        self._book = book
        self._claims = claims
        self._failures = failures
        self._report = report
        self._results = results
        self._display = display
        self._stop = stop
        self._patience = patience

    def run(self) -> None:
        """Run the study to its end.

        Raises:
            SystemExit: after a signal, with the study in order.
            SweepFailed: if too many trials fail.
        """
        try:
            if is_local(self._launcher):
                self._run_pool(self._launcher)
            else:
                self._run_batches()
        except Stopped:
            pass
        except NurseryDied as error:
            self._give_back("interrupted: the process that starts the trials was killed")
            raise SweepFailed(f"{error}; the same command continues the sweep") from error
        except BaseException:
            self._give_back("interrupted: the sweep ended")
            raise
        if self._stop:
            self._leave()

    # --- running trials ---------------------------------------------------------------------

    def _run_pool(self, launcher: LocalLauncher) -> None:
        """Keep every core busy: the next trial starts as soon as one has ended."""
        ask_at = 0.0
        self._display.stage("importing the application")
        self._report.show(now=True)
        while not (launcher.nursery.ready or self._stop):
            launcher.wait(_TICK)  # a trial's time does not include the application's imports
        self._display.stage("")
        while not self._stop:
            while len(self._claims.running) < self._at_once and time.monotonic() >= ask_at:
                claim = self._claims.take()
                if claim is None:
                    ask_at = time.monotonic() + _ASK_AGAIN
                    break
                launcher.start(claim.number, self._claims.job_overrides(claim), claim.number)
            if not self._claims.running and self._is_done():
                return
            self._report.show()
            for ended in launcher.wait(_TICK):
                if ended.outcome.signal and self._stop_is_near():
                    break  # killed along with the sweep, not by a fault of its own
                self._finish(self._claims.running[ended.key], ended.outcome)
                ask_at = 0.0
            for text in launcher.nursery.warnings:
                log.warning("%s", text)
            launcher.nursery.warnings.clear()
        self._end_jobs(launcher)

    def _run_batches(self) -> None:
        """For launchers that take a batch and return when its slowest job has ended."""
        while not self._stop:
            batch: list[Claim] = []
            while len(batch) < self._at_once:
                claim = self._claims.take()
                if claim is None:
                    break
                batch.append(claim)
            if not batch:
                if self._is_done():
                    return
                time.sleep(_ASK_AGAIN)
                continue
            for claim, outcome in zip(batch, self._launch(batch), strict=True):
                self._finish(claim, outcome)

    def _launch(self, batch: Sequence[Claim]) -> list[Outcome]:
        overrides = [self._claims.job_overrides(claim) for claim in batch]
        try:
            with self._stop.raising(), self._display.following(self._report.standing):
                returns = self._launcher.launch(overrides, initial_job_idx=batch[0].number)
        except Exception as error:
            # A launcher gives up a whole batch when one of its workers is killed.
            return [Outcome("failed", reason=f"launcher: {one_line(error)}")] * len(batch)
        return [_outcome(job) for job in returns]

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        trials = self._patience(lambda: self._book.finish(claim, outcome))
        trial = trials[claim.number]
        del self._claims.running[claim.number]
        self._report.ended(trial, trials)
        self._patience(lambda: self._results.update(trials))
        self._failures.count(trial, visible(self._book.locate(claim.directory)))

    def _is_done(self) -> bool:
        """Whether the study is complete; other workers' trials may still run."""
        trials = self._patience(self._book.trials)
        is_done = count_finished(trials) >= self._book.total
        if (self._book.grid is not None or self._claims.is_exhausted) and not any(
            trial.state in (TrialState.RUNNING, TrialState.WAITING) for trial in trials
        ):
            is_done = True  # every point is done, although there are fewer than the total
        return is_done and not self._book.has_followups(trials)

    # --- after a signal ---------------------------------------------------------------------

    def _stop_is_near(self) -> bool:
        """Whether a signal has come, or comes in a moment; it may reach the jobs first."""
        time.sleep(_TICK)
        return bool(self._stop)

    def _end_jobs(self, launcher: LocalLauncher) -> None:
        """Ask running jobs to end; a result that comes within the grace period counts."""
        deadline = time.monotonic() + launcher.grace
        running = set(self._claims.running)
        launcher.nursery.signal(signal.SIGTERM)
        while running and time.monotonic() < deadline:
            for ended in launcher.wait(_TICK):
                running.discard(ended.key)
                if ended.outcome.kind == "value" and ended.key in self._claims.running:
                    self._finish(self._claims.running[ended.key], ended.outcome)

    def _give_back(self, reason: str) -> None:
        """Return the running trials to the study; if that fails, the next worker finds them."""
        try:
            self._claims.give_back(reason)
        except STORAGE_TROUBLE as error:
            log.warning("running trials could not be marked: %s", type(error).__name__)

    def _leave(self) -> NoReturn:
        interrupted = len(self._claims.running)
        self._give_back(f"interrupted by {self._stop.name}")
        trials = self._patience(self._book.trials)
        self._patience(lambda: self._results.update(trials, final=True))
        self._report.stopped(trials, self._stop.name, interrupted)
        raise SystemExit(128 + self._stop.number)


def is_local(launcher: Any) -> TypeGuard[LocalLauncher]:
    """Whether it is this plugin's launcher; Hydra may have created its class anew since."""
    return type(launcher).__module__ == LocalLauncher.__module__


def _outcome(job: JobReturn) -> Outcome:
    """A stock launcher's return, without the property that prints and raises."""
    if job.status is JobStatus.COMPLETED:
        return Outcome("value", value=job.return_value)
    error = job._return_value
    if isinstance(error, BaseException):
        return outcome_of_error(error)
    return Outcome("failed", reason="the launcher returned no result")
