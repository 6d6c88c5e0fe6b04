"""The trials of this process: taking the next one, sampling it, and what its job is told."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, Final

from optuna.trial import Trial, TrialState

from ._book import Book, Claim, counted, known_params, unused_directory
from ._confirm import confirms, is_repeat
from ._errors import SweepError
from ._halving import VARIABLE as HALVING_VARIABLE
from ._halving import is_paused, root_of
from ._jobs import JobConfigs
from ._nursery import one_line
from ._patience import Patience
from ._plan import NO_PRUNER, Plan
from ._search import all_values
from ._secrets import STORAGE_VARIABLE
from ._space import literal
from ._start import START
from ._storage import STORAGE_TROUBLE, StudyStorage

_REPEATS: Final = 10  # proposals in a row, after which the points that are left are listed


class Claims:
    """Takes trials from the study, and knows those that are being run.

    Args:
        book: the study.
        plan: what the sweep does.
        configs: composes the config of a job.
        storage: where the study is.
        patience: for the database.
        allow_repeats: whether a point that was run already is run again.
        extend: hydra.sweeper.custom_search_space, which samples more keys.

    Attributes:
        running: by number.
        repeats: how many proposals repeated a trial.
        is_exhausted: whether the space has no point left.
    """

    def __init__(
        self,
        book: Book,
        plan: Plan,
        configs: JobConfigs,
        storage: StudyStorage,
        patience: Patience,
        *,
        allow_repeats: bool,
        extend: Callable[[Trial], None] | None,
    ) -> None:
        self._book = book
        self._plan = plan
        self._configs = configs
        self._storage = storage
        self._patience = patience
        self._allow_repeats = allow_repeats
        self._extend = extend
        self.running: dict[int, Claim] = {}
        self.repeats = 0
        self.is_exhausted = False

    def take(self) -> Claim | None:
        """Take the next trial, with its directory and overrides; None if there is none now."""
        try:
            claim = self._patience(self._claim_and_sample)
        except (ValueError, NotImplementedError) as error:
            if isinstance(error, SweepError):
                raise
            name = type(self._book.study.sampler).__name__
            raise SweepError(f"no trial could be sampled with {name}: {one_line(error)}") from error
        if claim is None:
            return None
        overrides = claim.overrides or self._plan.space.overrides(claim.params)
        directory = claim.directory  # set if the trial continues another one, in its directory
        if not directory:
            wanted = f"trial_{claim.number:05d}"
            if self._plan.has_own_names:
                composed = self._configs.compose(overrides, claim.number)
                wanted = self._configs.directory_name(composed)
            directory = unused_directory(self._plan.directory, wanted)
        taken = claim
        self._patience(lambda: self._book.describe(taken, directory, overrides))
        return claim

    def job_overrides(self, claim: Claim) -> list[str]:
        """Return the overrides of the trial's job, which set the environment that it reports by."""
        # Others are compared with the configuration as composed, and a mean needs every repeat.
        is_reference = START in claim.user_attrs or is_repeat(claim)
        variables = {"CVAE_STUDY": self._book.study.study_name, "CVAE_TRIAL": str(claim.number)}
        if self._storage.persistent:
            variables["CVAE_TRIAL_ID"] = str(claim.trial_id)
            variables["CVAE_PRUNER"] = json.dumps(NO_PRUNER if is_reference else self._plan.pruner)
            if not self._storage.secrets:
                variables[STORAGE_VARIABLE] = self._storage.url
        if self._plan.halving is not None and not is_repeat(claim):
            variables[HALVING_VARIABLE] = self._plan.halving.variable(
                claim.user_attrs, claim.number, is_reference=is_reference
            )
        if is_repeat(claim):
            variables["CVAE_CONFIRMS"] = str(confirms(claim))
        if claim.resume_from:
            variables["CVAE_RESUME_FROM"] = json.dumps(
                [self._book.locate(directory) for directory in claim.resume_from]
            )
        settings = [f"++hydra.job.env_set.{key}={literal(text)}" for key, text in variables.items()]
        subdir = f"hydra.sweep.subdir={literal(claim.directory)}"
        return [*claim.overrides, *self._configs.extra, subdir, *settings]

    def give_back(self, reason: str) -> None:
        """Return all running trials to the study, which repeats them under new numbers."""
        claims = list(self.running.values())
        self.running = {}
        self._book.interrupt(claims, reason)

    def _claim_and_sample(self) -> Claim | None:
        """Take a trial that repeats no other one, unless it is meant to."""
        for attempt in itertools.count():
            claim = self._claim_one()
            if claim is None or self._plan.grid is not None or self._allow_repeats:
                return claim
            if claim.overrides:  # it continues or repeats another trial on purpose
                return claim
            try:
                other = self._repeated_by(claim)
                if other is None:
                    return claim
                self._book.set_aside(claim, other)
            except STORAGE_TROUBLE:
                self._forget(claim)
                raise
            del self.running[claim.number]
            self.repeats += 1
            if attempt >= _REPEATS and not self._queue_untried_point():
                self.is_exhausted = True
        raise AssertionError

    def _claim_one(self) -> Claim | None:
        claim = self._book.claim(new=not self.is_exhausted)
        if claim is None:
            return None
        self.running[claim.number] = claim
        try:
            with self._book.snapshot():
                self._sample(claim.trial)
                claim.params = claim.trial.params
        except STORAGE_TROUBLE:
            self._forget(claim)
            raise
        return claim

    def _sample(self, trial: Trial) -> None:
        space = self._plan.space
        left_out = trial.user_attrs.get(START, [])
        for key, distribution in space.distributions.items():
            if key not in left_out:
                trial._suggest(key, distribution)
        unions = space.unions() if self._plan.grid is not None else {}
        for key, distribution in space.following(trial.params):
            if key not in left_out:
                trial._suggest(key, unions.get(key, distribution))
        if self._extend is None:
            return
        for key, value in space.fixed.items():
            trial.set_user_attr(key, value)  # where the stock plugin shows it to the function
        self._extend(trial)
        both = sorted(trial.params.keys() & space.fixed.keys())
        if both:
            raise SweepError(
                f"{both[0]} is fixed on the command line and searched by "
                "hydra.sweeper.custom_search_space"
            )

    def _forget(self, claim: Claim) -> None:
        """Drop a trial during which the database was lost; the next claim finds it."""
        del self.running[claim.number]
        self._book.forget(claim)

    def _repeated_by(self, claim: Claim) -> int | None:
        """Return an earlier trial at the same point that is complete, paused or running."""
        space = self._plan.space
        mine, trials = space.same(claim.params), self._book.trials()
        for trial in trials[: claim.number]:
            ran = trial.state in (TrialState.COMPLETE, TrialState.RUNNING) or is_paused(trial)
            if not ran or root_of(trial) == root_of(trials[claim.number]):
                continue
            theirs = space.same(trial.params)
            if theirs == mine and all(repr(theirs[key]) == repr(mine[key]) for key in mine):
                return trial.number
        return None

    def _queue_untried_point(self) -> bool:
        """Queue a point that no trial had; return False if there is none, or no end of points."""
        space = self._plan.space
        kinds: list[Any] = [*space.distributions.values()]
        for keys in space.conditional.values():
            kinds += keys.values()
        if self._extend is not None or not all(len(all_values(kind)) for kind in kinds):
            return False
        tried = counted(self._book.trials())
        point = space.grid(lambda _, kind: all_values(kind)).next(
            [space.same(known_params(trial)) for trial in tried]
        )
        if point is not None:
            self._book.queue(point)
        return point is not None
