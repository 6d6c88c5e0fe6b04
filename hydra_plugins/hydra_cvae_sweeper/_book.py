"""One worker's access to a study that is shared by all workers: take a trial, finish it, return it.

Whatever must happen once among several workers happens while the worker holds the storage's lock. A
trial is given the attribute `owner` before it starts to run. A running trial without an owner
therefore belongs to another program.

A trial that was interrupted stays in the study as failed, with `interrupted` set, and does not
count towards the total. Its parameters are queued as a new trial, whose `retry_of` links the two.

Before a new point is taken, a trial that was paused at a rung and is now among the best there is
continued (`_halving`). After the last point, the best trials are repeated (`_confirm`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from . import _confirm, _halving, _start
from ._files import located, write_unfinished
from ._nursery import Outcome
from ._owner import Owner, is_dead
from ._space import Grid
from ._start import START, Start
from ._storage import StudyStorage

_HEARTBEAT = "heartbeat "


@dataclass
class Claim:
    """A trial that this process runs, with what was read of it when it was taken.

    Whatever is read from ``trial`` itself is a query, for which the database may be away.
    """

    trial: optuna.trial.Trial
    number: int
    trial_id: int
    user_attrs: dict[str, Any]
    resume_from: list[str]  # directories below the sweep's, the latest first
    began: float
    directory: str = ""  # below the sweep's
    overrides: Sequence[str] = ()
    params: dict[str, Any] = field(default_factory=dict)  # once it is sampled


@dataclass(frozen=True)
class Limits:
    """Limits of trials in a study, retries of a trial, and seconds without a heartbeat."""

    total: int
    retries: int
    silence: float


class Book:
    """One worker's access to the study."""

    def __init__(
        self,
        study: optuna.study.Study,
        storage: StudyStorage,
        me: Owner,
        limits: Limits,
        grid: Grid | None,
        sweep_dir: str,
        halving: _halving.Halving | None = None,
        confirmation: _confirm.Confirmation | None = None,
    ) -> None:
        self.study = study
        self._storage = storage
        self._sweep_dir = sweep_dir
        self._me = me._replace(database=storage.file)
        self._limits = limits
        self.grid = grid
        self.halving = halving
        self._confirmation = confirmation
        self._live: set[int] = set()
        self._pulse = _Pulse(limits.silence)
        self._hides_start = False

    @property
    def total(self) -> int:
        """The number of trials after which the study is complete."""
        return self._limits.total

    def trials(self) -> list[FrozenTrial]:
        """All trials in their present state."""
        return self.study.get_trials(deepcopy=False)

    def locate(self, directory: str) -> str:
        """The present path of a trial's directory, which the study stores as a relative one."""
        return located(self._sweep_dir, directory)

    def claim(self, *, new: bool = True) -> Claim | None:
        """Take the next trial; None if all missing trials are running.

        With `new` False, only queued trials are taken.
        """
        with self._storage.lock(self.study.study_name):
            trials = self._recovered()
            if self._queue_followup(trials, new=new):
                trials = self.trials()
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if not new and not waiting:
                return None
            if not any(_is_followup(trial) for trial in waiting) and self._is_full(trials):
                return None
            signed = self._sign_next(trials)
            if signed is None:
                return None
            try:
                with self.snapshot():  # under the lock, nothing can have changed
                    trial = self.study.ask()
            finally:
                self._share(signed)
            if trial._trial_id != signed:  # another program, which takes no lock, took the trial
                self.study._storage.set_trial_user_attr(signed, "owner", None)
                trial.set_user_attr("owner", self._me._asdict())
        self._live.add(trial.number)
        return self._new_claim(trial)

    def has_followups(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a study with all its trials has some to continue or to repeat."""
        if any(_confirm.is_repeat(trial) and not trial.state.is_finished() for trial in trials):
            return True
        if self.halving and any(self.halving.promotable(trials, is_last=True)):
            return True
        return self._confirmation is not None and self._confirmation.missing(trials) is not None

    def queue(self, params: dict[str, Any]) -> None:
        """Queue a point."""
        self._queue(params, {})

    def begin_with(self, start: Start) -> None:
        """Queue the first trial of a new study; if it lacks keys, samplers will not see it."""
        self._hides_start = bool(start.outside)
        with self._storage.lock(self.study.study_name):
            if not self.trials():
                self._queue(start.params, {START: start.outside})

    def set_aside(self, claim: Claim, other: int) -> None:
        """End a trial that would repeat another one; it does not count and has no directory."""
        claim.trial.set_user_attr("repeat_of", other)
        claim.trial.set_user_attr("reason", f"not run: repeats trial {other}")
        _tell(self.study, claim.number, TrialState.FAIL, None)
        self._live.discard(claim.number)

    def retry_failed(self) -> int:
        """Queue the failed trials again, and return how many; the old ones do not count."""
        with self._storage.lock(self.study.study_name):
            failed = [t for t in latest(self._recovered()) if t.state == TrialState.FAIL]
            for trial in failed:
                self._queue_once(trial, retries=0)
                self._leave_repeated(trial, trial.user_attrs.get("reason", "failed"))
        return len(failed)

    def forget(self, claim: Claim) -> None:
        """Drop a claim that was not completed; the next claim finds it and queues it again."""
        self._live.discard(claim.number)
        self._share(claim.trial_id)

    def snapshot(self) -> AbstractContextManager[None]:
        """Context for sampling a trial against one view of the study; only for that."""
        hidden: set[int] = set()
        if self._hides_start or self.halving is not None or self._confirmation is not None:
            trials = self.trials()
            for module in (_start, _halving, _confirm):
                hidden |= module.hidden_from_samplers(trials)
        return self._storage.snapshot(self.study._storage, hidden)

    def describe(self, claim: Claim, directory: str, overrides: Sequence[str]) -> None:
        """Store the trial's directory and overrides in the study."""
        claim.directory, claim.overrides = directory, overrides
        claim.trial.set_user_attr("directory", directory)
        claim.trial.set_user_attr("overrides", list(overrides))
        self._share(claim.trial_id)
        former = claim.user_attrs.get("retry_of")
        if former is not None:
            trial = self.trials()[former]
            self._leave_repeated(trial, trial.user_attrs.get("reason", "interrupted"), directory)

    def finish(self, claim: Claim, outcome: Outcome) -> list[FrozenTrial]:
        """Record how a trial ended, unless this is recorded already, and return all trials."""
        state, values, reason = judge(outcome, len(self.study.directions))
        if not self._is_finished(claim):
            if reason:
                claim.trial.set_user_attr("reason", reason)
            claim.trial.set_user_attr("seconds", round(time.monotonic() - claim.began, 3))
            _tell(self.study, claim.number, state, values)
            if state == TrialState.FAIL:
                self._leave_word(claim.number, claim.directory, "failed", reason)
        self._live.discard(claim.number)
        return self.trials()

    def interrupt(self, claims: Iterable[Claim], reason: str) -> None:
        """Mark trials as interrupted, and queue them under new numbers."""
        with self._storage.lock(self.study.study_name):
            for claim in claims:
                self._live.discard(claim.number)
                if not self._is_finished(claim):
                    self._give_back(self.trials()[claim.number], reason)

    def beat(self) -> None:
        """Count up this worker's heartbeat, which workers on other machines watch."""
        self._pulse.own += 1
        self.study.set_user_attr(_HEARTBEAT + self._me.worker, self._pulse.own)

    def _new_claim(self, trial: optuna.trial.Trial) -> Claim:
        attributes = trial.user_attrs
        return Claim(
            trial,
            trial.number,
            trial._trial_id,
            attributes,
            list(attributes.get("resume_from", [])),
            time.monotonic(),
            attributes.get("directory", ""),
            attributes.get("overrides", ()),
        )

    def _is_full(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the study needs no further point."""
        return count_finished(trials) + len(_running(trials)) >= self.total

    def _queue_followup(self, trials: Sequence[FrozenTrial], *, new: bool) -> bool:
        """Queue a continuation or a repeat if one is due; whether one was queued."""
        if any(trial.state == TrialState.WAITING for trial in trials):
            return False
        is_over = not _running(trials) and (not new or self._is_full(trials))
        if self.halving is not None:
            promotable = list(self.halving.promotable(trials, is_last=is_over))
            for trial in promotable:
                if self._may_continue(trial):
                    self._queue(known_params(trial), _halving.continuation(trial))
                    return True
            is_over = is_over and not promotable
        missing = self._confirmation.missing(trials) if self._confirmation and is_over else None
        if missing is not None:
            self._queue(known_params(missing[0]), missing[1])
        return missing is not None

    def _may_continue(self, trial: FrozenTrial) -> bool:
        """Whether this worker has the trial's checkpoint, or the worker that has it is gone."""
        owner = trial.user_attrs["owner"]
        return (
            os.path.isdir(self.locate(trial.user_attrs["directory"]))
            or owner["worker"] == self._me.worker
            or self._is_gone(owner)
        )

    def _recovered(self) -> list[FrozenTrial]:
        """All trials, after those of dead workers have been queued again."""
        trials = self.trials()
        running = (trial for trial in trials if trial.state == TrialState.RUNNING)
        orphans = [trial for trial in running if self._is_orphan(trial)]
        for trial in orphans:
            self._give_back(trial, "interrupted: its worker died")
        return self.trials() if orphans else trials

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        if trial.number in self._live:
            return False
        owner = trial.user_attrs.get("owner")
        if owner is None:
            seen = [trial.params, trial.intermediate_values, trial.user_attrs, trial.system_attrs]
            return self._pulse.is_silent(f"trial {trial.number}", repr(seen))
        if owner["worker"] == self._me.worker:
            return True  # a claim that was not completed
        return self._is_gone(owner)

    def _is_gone(self, owner: dict[str, Any]) -> bool:
        """Whether another worker, on this machine or on another one, is dead."""
        dead = is_dead(owner, self._me)
        if dead is None:
            beats = self.study.user_attrs.get(_HEARTBEAT + owner["worker"])
            return self._pulse.is_silent(owner["worker"], beats)
        return dead

    def _give_back(self, trial: FrozenTrial, reason: str) -> None:
        """Queue a retry, then mark the trial as failed: a kill in between loses nothing.

        `retry_of` prevents the next worker from queueing it a second time.
        """
        retries = int(trial.user_attrs.get("retries", 0))
        if retries >= self._limits.retries:
            status, reason = "failed", f"{reason}; given up after {retries} retries"
        else:
            status = "interrupted"
            self._queue_once(trial, retries + 1)
            self._set_attribute(trial, "interrupted", True)
        self._set_attribute(trial, "reason", reason)
        _tell(self.study, trial.number, TrialState.FAIL, None)
        if status == "failed":
            self._leave_word(trial.number, trial.user_attrs.get("directory"), status, reason)
        else:
            self._leave_repeated(trial, reason)

    def _queue_once(self, trial: FrozenTrial, retries: int) -> None:
        if not any(other.user_attrs.get("retry_of") == trial.number for other in self.trials()):
            self._queue_retry(trial, retries)

    def _leave_repeated(
        self, trial: FrozenTrial, reason: str, continued_in: str | None = None
    ) -> None:
        told = f"{reason}; repeated under another number"
        directory = trial.user_attrs.get("directory")
        self._leave_word(trial.number, directory, "interrupted", told, continued_in)

    def _leave_word(
        self,
        number: int,
        directory: str | None,
        status: str,
        reason: str | None,
        continued_in: str | None = None,
    ) -> None:
        if directory:
            write_unfinished(
                Path(self.locate(directory)),
                status=status,
                reason=reason or status,
                study=self.study.study_name,
                number=number,
                continued_in=Path(self.locate(continued_in)) if continued_in else None,
            )

    def _queue_retry(self, trial: FrozenTrial, retries: int) -> None:
        directory = trial.user_attrs.get("directory")
        former = list(trial.user_attrs.get("resume_from", []))
        kept = {key: trial.user_attrs[key] for key in (START,) if key in trial.user_attrs}
        self._queue(
            known_params(trial),
            {
                **kept,
                **_halving.carried(trial),
                **_confirm.carried(trial),
                "retry_of": trial.number,
                "retries": retries,
                "resume_from": ([directory] if directory else []) + former,
            },
        )

    def _sign_next(self, trials: Sequence[FrozenTrial]) -> int | None:
        """Set the owner of the trial that `ask` will take; None if the grid has no point left.

        `ask` takes the first queued trial. If this worker is killed before it asks, that trial
        stays queued, and the next worker becomes its owner.
        """
        owner = self._me._asdict()
        waiting = next((trial for trial in trials if trial.state == TrialState.WAITING), None)
        if waiting is not None:
            self._set_attribute(waiting, "owner", owner)
            return waiting._trial_id
        params: dict[str, Any] = {}
        if self.grid is not None:
            point = self.grid.next([known_params(trial) for trial in counted(trials)])
            if point is None:
                return None
            params = point
        return self._queue(params, {"owner": owner})

    def _queue(self, params: dict[str, Any], attributes: dict[str, Any]) -> int:
        """Queue a trial, and return its id in the storage."""
        return self.study._storage.create_new_trial(
            self.study._study_id,
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                system_attrs={"fixed_params": params} if params else {},
                user_attrs=attributes,
            ),
        )

    def _set_attribute(self, trial: FrozenTrial, key: str, value: Any) -> None:
        self.study._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _is_finished(self, claim: Claim) -> bool:
        return self.study._storage.get_trial(claim.trial_id).state.is_finished()

    def _share(self, trial_id: int) -> None:
        """Make Optuna read the trial from the database from now on: the job writes to it, too.

        Optuna 2 assumes that a trial is written only by the process that created it, and would not
        see what the job reports. Later versions have no such cache.
        """
        for info in getattr(self.study._storage, "_studies", {}).values():
            getattr(info, "owned_or_finished_trial_ids", set()).discard(trial_id)


class _Pulse:
    """Watches the heartbeats of workers on other machines, by this machine's monotonic clock.

    Only changes of a heartbeat matter, not its value, because the clocks of machines differ.
    """

    def __init__(self, silence: float) -> None:
        self.own = 0
        self._silence = silence
        self._seen: dict[str, tuple[Any, float]] = {}

    def is_silent(self, worker: str, beats: Any) -> bool:
        now = time.monotonic()
        last, since = self._seen.get(worker, (None, now))
        if worker not in self._seen or beats != last:
            self._seen[worker] = (beats, now)
            return False
        return now - since > self._silence


def known_params(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters: those sampled, and those it was queued with."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def latest(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials without those that were continued or repeated under another number."""
    gone = {trial.user_attrs.get("retry_of") for trial in trials}
    gone |= {trial.user_attrs.get(_halving.CONTINUES) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.number not in gone
        and not trial.user_attrs.get("interrupted")
        and "repeat_of" not in trial.user_attrs
    ]


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count towards the total, which repeats of the best do not."""
    return [trial for trial in latest(trials) if not _confirm.is_repeat(trial)]


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    """The number of finished trials that count."""
    return sum(trial.state.is_finished() for trial in counted(trials))


def _running(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state == TrialState.RUNNING and not _confirm.is_repeat(t)]


def _is_followup(trial: FrozenTrial) -> bool:
    return _confirm.is_repeat(trial) or _halving.CONTINUES in trial.user_attrs


def judge(outcome: Outcome, objectives: int) -> tuple[TrialState, list[float] | None, str]:
    """Translate the outcome of a job into a state, values and a reason."""
    if outcome.kind == "pruned":
        return TrialState.PRUNED, None, outcome.reason
    if outcome.kind == "failed":
        return TrialState.FAIL, None, outcome.reason or "failed"
    try:
        values = _floats(outcome.value, objectives)
    except (TypeError, ValueError) as error:
        return TrialState.FAIL, None, str(error)
    return TrialState.COMPLETE, values, ""


def _floats(value: Any, objectives: int) -> list[float]:
    many = [value] if objectives == 1 else value
    shown = " ".join(repr(value).split())[:80]
    try:
        values = [float(number) for number in many]
    except (TypeError, ValueError) as error:
        raise ValueError(f"the objective is not {_wanted(objectives)}: {shown}") from error
    if len(values) != objectives:
        raise ValueError(f"the objective is not {_wanted(objectives)}: {shown}")
    if not all(math.isfinite(number) for number in values):
        raise ValueError(f"the objective is not finite: {shown}")
    return values


def _wanted(objectives: int) -> str:
    return "a number" if objectives == 1 else f"{objectives} numbers"


def _tell(
    study: optuna.study.Study, number: int, state: TrialState, values: list[float] | None
) -> None:
    try:
        study.tell(number, values, state)
    except (RuntimeError, ValueError):
        # A sampler's own records may fail after the state is written, and another worker may have
        # queued this trial again; in both cases the trial is finished.
        if not study.get_trials(deepcopy=False)[number].state.is_finished():
            raise


def unused_directory(sweep_dir: str, wanted: str) -> str:
    """Create a directory for a trial and return its name; an existing one is not used."""
    name, attempt = wanted, 1
    os.makedirs(os.path.dirname(os.path.join(sweep_dir, name)), exist_ok=True)
    while True:
        try:
            os.mkdir(os.path.join(sweep_dir, name))
            return name
        except FileExistsError:
            attempt += 1
            name = f"{wanted}_{attempt}"
