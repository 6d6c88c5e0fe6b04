"""The book of a study: take a trial, finish it, give it back; shared by all workers.

Everything that must happen once among several workers happens under the storage's lock. A trial is
signed with its owner before it starts to run. A running trial without an owner therefore belongs to
another program.

A trial that was interrupted stays in the study as failed, with `interrupted` set, and does not
count towards the total. Its parameters wait in the queue under a new number, linked by `retry_of`.

Before a new point is taken, a trial that stopped at a rung and is now among its best is continued
(`_halving`); after the last point, the best trials are repeated (`_confirm`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
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
    """A trial that this process runs."""

    trial: optuna.trial.Trial
    number: int
    trial_id: int
    resume_from: list[str]  # directories below the sweep's, the latest first
    began: float
    directory: str = ""  # below the sweep's
    overrides: Sequence[str] = ()


@dataclass(frozen=True)
class Limits:
    """When a study is complete, and when a trial or a worker is given up."""

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
        """Trials that make the study complete."""
        return self._limits.total

    def trials(self) -> list[FrozenTrial]:
        """All trials, as the storage has them now."""
        return self.study.get_trials(deepcopy=False)

    def locate(self, directory: str) -> str:
        """Where a trial's directory, as the study has it, is now."""
        return located(self._sweep_dir, directory)

    def claim(self, *, new: bool = True) -> Claim | None:
        """Take the next trial, or None while all that are missing are being run.

        With `new` False only trials that wait are taken.
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
                with self.snapshot():  # nobody else can have changed it since
                    trial = self.study.ask()
            finally:
                self._share(signed)
            if trial._trial_id != signed:  # another program, which takes no lock, was quicker
                self.study._storage.set_trial_user_attr(signed, "owner", None)
                trial.set_user_attr("owner", self._me._asdict())
        self._live.add(trial.number)
        return self._new_claim(trial)

    def has_followups(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a study with all its trials goes on: some are to be continued or repeated."""
        if any(_confirm.is_repeat(trial) and not trial.state.is_finished() for trial in trials):
            return True
        if self.halving and any(self.halving.promotable(trials, is_last=True)):
            return True
        return self._confirmation is not None and self._confirmation.missing(trials) is not None

    def queue(self, params: dict[str, Any]) -> None:
        """Have a point run next."""
        self._queue(params, {})

    def begin_with(self, start: Start) -> None:
        """Have a new study begin with this one; what samplers shall not see is hidden from them."""
        self._hides_start = bool(start.outside)
        with self._storage.lock(self.study.study_name):
            if not self.trials():
                self._queue(start.params, {START: start.outside})

    def set_aside(self, claim: Claim, other: int) -> None:
        """End a trial that repeats another one; it does not count and leaves no directory."""
        claim.trial.set_user_attr("repeat_of", other)
        claim.trial.set_user_attr("reason", f"not run: repeats trial {other}")
        _tell(self.study, claim.number, TrialState.FAIL, None)
        self._live.discard(claim.number)

    def retry_failed(self) -> int:
        """Queue the failed trials again; they stay, and no longer count. Returns how many."""
        with self._storage.lock(self.study.study_name):
            failed = [t for t in latest(self._recovered()) if t.state == TrialState.FAIL]
            for trial in failed:
                self._queue_once(trial, retries=0)
                self._leave_repeated(trial, trial.user_attrs.get("reason", "failed"))
        return len(failed)

    def forget(self, claim: Claim) -> None:
        """Drop a claim that broke off; whoever claims next finds it and gives it back."""
        self._live.discard(claim.number)
        self._share(claim.trial_id)

    def snapshot(self) -> AbstractContextManager[None]:
        """Within: sample a trial's keys against one view of the study; only for that."""
        hidden: set[int] = set()
        if self._hides_start or self.halving is not None or self._confirmation is not None:
            trials = self.trials()
            for module in (_start, _halving, _confirm):
                hidden |= module.hidden_from_samplers(trials)
        return self._storage.snapshot(self.study._storage, hidden)

    def describe(self, claim: Claim, directory: str, overrides: Sequence[str]) -> None:
        """Store where the trial runs and with which overrides, for whoever reads the study."""
        claim.directory, claim.overrides = directory, overrides
        claim.trial.set_user_attr("directory", directory)
        claim.trial.set_user_attr("overrides", list(overrides))
        self._share(claim.trial_id)
        former = claim.trial.user_attrs.get("retry_of")
        if former is not None:
            trial = self.trials()[former]
            self._leave_repeated(trial, trial.user_attrs.get("reason", "interrupted"), directory)

    def finish(self, claim: Claim, outcome: Outcome) -> list[FrozenTrial]:
        """Write how a trial ended; harmless if it is written already. Returns all trials."""
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
        """Give trials back: failed under their number, queued under a new one."""
        with self._storage.lock(self.study.study_name):
            for claim in claims:
                self._live.discard(claim.number)
                if not self._is_finished(claim):
                    self._give_back(self.trials()[claim.number], reason)

    def beat(self) -> None:
        """Show workers on other machines that this one lives."""
        self._pulse.own += 1
        self.study.set_user_attr(_HEARTBEAT + self._me.worker, self._pulse.own)

    def _new_claim(self, trial: optuna.trial.Trial) -> Claim:
        attributes = trial.user_attrs
        return Claim(
            trial,
            trial.number,
            trial._trial_id,
            list(attributes.get("resume_from", [])),
            time.monotonic(),
            attributes.get("directory", ""),
            attributes.get("overrides", ()),
        )

    def _is_full(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether no further point may be taken."""
        return count_finished(trials) + len(_running(trials)) >= self.total

    def _queue_followup(self, trials: Sequence[FrozenTrial], *, new: bool) -> bool:
        """Queue what goes before the next point, or after the last one; whether there was any."""
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
        """Whether its checkpoint can be here, or nobody is left who has it."""
        owner = trial.user_attrs["owner"]
        return (
            os.path.isdir(self.locate(trial.user_attrs["directory"]))
            or owner["worker"] == self._me.worker
            or self._is_gone(owner)
        )

    def _recovered(self) -> list[FrozenTrial]:
        """All trials, once those of dead workers have been given back."""
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
            return True  # a claim that broke off half-way
        return self._is_gone(owner)

    def _is_gone(self, owner: dict[str, Any]) -> bool:
        """Whether another worker, of this machine or not, is dead."""
        dead = is_dead(owner, self._me)
        if dead is None:
            beats = self.study.user_attrs.get(_HEARTBEAT + owner["worker"])
            return self._pulse.is_silent(owner["worker"], beats)
        return dead

    def _give_back(self, trial: FrozenTrial, reason: str) -> None:
        """Queue the retry before failing the trial: dying in between then loses nothing.

        The link keeps the next worker from queueing it a second time.
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
        """Sign the trial that `ask` will take, the first that waits; None when the grid is done.

        A worker that is killed before `ask` leaves a waiting trial, which the next one signs anew.
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
        """Add a trial that waits; its id in the storage."""
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
        """Read the trial from the database from now on: the job writes to it, too.

        Optuna 2 believes that a trial is written only by the process that created it, and would
        never see what the job reports; later versions have no such cache.
        """
        for info in getattr(self.study._storage, "_studies", {}).values():
            getattr(info, "owned_or_finished_trial_ids", set()).discard(trial_id)


class _Pulse:
    """Watches the heartbeats of other machines' workers by this machine's own clock.

    Only changes count, never the values: clocks differ between machines, and may be set back.
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
    """A trial's parameters: those set, and those it was queued with."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def latest(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """One trial for each that was begun: the last, where it goes on under another number."""
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
    """The trials that count towards the total: not those that repeat one."""
    return [trial for trial in latest(trials) if not _confirm.is_repeat(trial)]


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    """The number of finished trials that count."""
    return sum(trial.state.is_finished() for trial in counted(trials))


def _running(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state == TrialState.RUNNING and not _confirm.is_repeat(t)]


def _is_followup(trial: FrozenTrial) -> bool:
    return _confirm.is_repeat(trial) or _halving.CONTINUES in trial.user_attrs


def judge(outcome: Outcome, objectives: int) -> tuple[TrialState, list[float] | None, str]:
    """A job's outcome as a state, values and a reason for the study."""
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
        # A sampler's own bookkeeping may fail after the state is written, and another worker
        # may have given this trial back; both leave a finished trial.
        if not study.get_trials(deepcopy=False)[number].state.is_finished():
            raise


def unused_directory(sweep_dir: str, wanted: str) -> str:
    """Create a trial's directory and return its name; never one that is there already."""
    name, attempt = wanted, 1
    os.makedirs(os.path.dirname(os.path.join(sweep_dir, name)), exist_ok=True)
    while True:
        try:
            os.mkdir(os.path.join(sweep_dir, name))
            return name
        except FileExistsError:
            attempt += 1
            name = f"{wanted}_{attempt}"
