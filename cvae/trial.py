"""The tie between a job and its Optuna trial: report progress, ask whether to stop.

    trial = current()
    ...
    if trial is not None:
        trial.report(value, step)
        if trial.should_prune():
            raise pruned("worse than the median at step 4")

At the end of the share `rung` of its training, for each of `trial.rungs`, and with a checkpoint in
its directory:

    if trial.stops_at(rung, value, step):
        raise pruned("not among the best at 0.4 of the training")

A trial that stopped at a rung may be started again in the same directory, with the later rungs, and
goes on from its checkpoint.

`current` returns None outside a sweep. Only the application raises: `report`, `show`,
`should_prune` and `stops_at` never do, whatever the database does, for a trial must not be lost
because it could not report.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

_WAITS = (0.2, 1.0, 3.0)  # seconds before the second attempt and those after it
_PAUSE = 60.0  # seconds without an attempt, once all attempts have failed

T = TypeVar("T")


def current(environment: Mapping[str, str] | None = None) -> TrialHandle | None:
    """The trial this process runs, as the sweeper's environment variables tell."""
    variables = os.environ if environment is None else environment
    study, number = variables.get("CVAE_STUDY"), variables.get("CVAE_TRIAL")
    if not study or number is None or not number.isdigit():
        return None
    storage, trial_id = variables.get("CVAE_STORAGE"), variables.get("CVAE_TRIAL_ID", "")
    former = json.loads(variables.get("CVAE_RESUME_FROM") or "[]")
    confirms = variables.get("CVAE_CONFIRMS", "")
    halving = json.loads(variables.get("CVAE_HALVING") or "{}")
    return TrialHandle(
        study=study,
        number=int(number),
        resume_from=tuple(Path(directory) for directory in former),
        _storage=storage if trial_id.isdigit() else None,
        _trial_id=int(trial_id) if trial_id.isdigit() else 0,
        _pruner=variables.get("CVAE_PRUNER", ""),
        rungs=tuple(halving.get("rungs", ())),
        _reduction_factor=float(halving.get("reduction_factor", 1.0)),
        _root=int(halving.get("root", number)),
        confirms=int(confirms) if confirms.isdigit() else None,
    )


def pruned(reason: str) -> Exception:
    """The exception to raise when a trial stops early: `raise pruned("...")`."""
    import optuna

    return optuna.TrialPruned(reason)


@dataclass
class TrialHandle:
    """One trial of a study. It connects to the database at the first report."""

    study: str
    number: int
    # Directories of the interrupted runs that this one repeats, the latest first: a checkpoint
    # in one of them saves the work done.
    resume_from: tuple[Path, ...] = ()
    # Shares of training at which the search decides whether the trial goes on.
    rungs: tuple[float, ...] = ()
    # Of a repeat under another seed, the number of the trial that it repeats.
    confirms: int | None = None
    _reduction_factor: float = 1.0
    _root: int = 0
    _storage: str | None = field(default=None, repr=False)
    _trial_id: int = 0
    _pruner: str = field(default="", repr=False)
    _trial: optuna.trial.Trial | None = field(default=None, repr=False)
    _silent_until: float = field(default=0.0, repr=False)
    _complained: bool = field(default=False, repr=False)

    def report(self, value: float | Sequence[float], step: int) -> None:
        """Store the objective at a step, for the pruner and for the study's plots.

        Steps count from 0. Nothing happens for a value that is not finite, for several
        objectives, and in a study that lives in the sweep's memory.
        """
        if self._storage is None or isinstance(value, Sequence) or not math.isfinite(value):
            return
        self._attempt(lambda: self._report(value, step), None)

    def show(self, share: float, **told: float | str) -> None:
        """Tell whoever watches the search how far the trial is, and what it has reached.

        Args:
            share: of the training, in [0, 1].
            told: what is shown beside it, by name.
        """
        if self._storage is None:
            return
        self._attempt(
            lambda: self._connect().set_user_attr("progress", {"share": share, **told}), None
        )

    def should_prune(self) -> bool:
        """Whether the pruner gives this trial up, judging by what was reported."""
        if self._storage is None:
            return False
        return self._attempt(self._should_prune, False)

    def stops_at(self, rung: float, value: float, step: int) -> bool:
        """Whether the trial stops at one of its rungs: there are better ones there.

        Args:
            rung: one of ``rungs``.
            value: the objective there.
            step: as for ``report``.
        """
        if self._storage is None:
            return False
        return self._attempt(lambda: self._stops_at(rung, value, step), False)

    def _stops_at(self, rung: float, value: float, step: int) -> bool:
        trial, key = self._connect(), f"rung {rung:g}"
        trial.set_user_attr(key, [self._root, value if math.isfinite(value) else None])
        if self._is_among_best(trial, key):
            trial.set_user_attr("promoted", rung)
            return False
        if math.isfinite(value):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it may have been reported already
                trial.report(value, step)
        trial.set_user_attr("paused", rung)
        return True

    def _is_among_best(self, trial: optuna.trial.Trial, key: str) -> bool:
        """Asynchronous successive halving: whether few of those that were here were better."""
        larger_is_better = trial.study.directions[0].name == "MAXIMIZE"
        reached = _values_of(trial, key)
        known = [
            (-value if larger_is_better else value, root)
            for root, value in reached.items()
            if value is not None
        ]
        best = sorted(known)[: int(len(reached) / self._reduction_factor)]
        return self._root in [root for _, root in best]

    def _report(self, value: float, step: int) -> None:
        trial = self._connect()
        if len(trial.study.directions) == 1:
            trial.report(value, step)

    def _should_prune(self) -> bool:
        trial = self._connect()
        return len(trial.study.directions) == 1 and trial.should_prune()

    def _connect(self) -> optuna.trial.Trial:
        if self._trial is None:
            self._trial = _load(str(self._storage), self.study, self._trial_id, self._pruner)
        return self._trial

    def _attempt(self, action: Callable[[], T], otherwise: T) -> T:
        """Run a step that needs the database; after some tries, do without for a while."""
        if time.monotonic() < self._silent_until:
            return otherwise
        waits = () if self._complained else _WAITS
        for wait in (*waits, None):
            try:
                result = action()
                self._complained = False
                return result
            except Exception as error:
                if wait is None:
                    self._give_up(error)
                else:
                    time.sleep(wait)
        return otherwise

    def _give_up(self, error: Exception) -> None:
        self._silent_until = time.monotonic() + _PAUSE
        if not self._complained:
            # Without the error's text: it may quote the database's URL.
            log.warning(
                "the study does not answer (%s): going on without pruning", type(error).__name__
            )
        self._complained = True


def _load(storage: str, study: str, trial_id: int, pruner: str) -> optuna.trial.Trial:
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    is_file = storage.startswith("sqlite")
    backend = optuna.storages.RDBStorage(
        storage,
        engine_kwargs={"connect_args": {"timeout": 60}} if is_file else {"pool_pre_ping": True},
        skip_compatibility_check=True,  # the sweeper has checked it
    )
    loaded = optuna.load_study(
        study_name=study,
        storage=backend,
        sampler=_NoSampler(),  # type: ignore[arg-type]
        pruner=_pruner(pruner),
    )
    return optuna.trial.Trial(loaded, trial_id)


class _NoSampler:
    """What Optuna asks of a sampler when a Trial is made; nothing is sampled here.

    Optuna's own samplers would write to the study, or import SciPy.
    """

    def before_trial(self, study: Any, trial: Any) -> None:
        """Nothing to prepare."""

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """No keys."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """No values."""
        return {}


def _values_of(trial: optuna.trial.Trial, key: str) -> dict[int, float | None]:
    """An attribute of all trials of the study, by the configuration that each states in it.

    One query: reading a large study whole takes half a minute.
    """
    import sqlalchemy  # type: ignore[import-untyped, unused-ignore]

    storage: Any = trial.study._storage
    query = sqlalchemy.text(
        "SELECT value_json FROM trial_user_attributes JOIN trials USING (trial_id) "
        "WHERE study_id = :study AND key = :key ORDER BY trial_id"
    )
    with storage._backend.engine.connect() as connection:
        rows = connection.execute(query, {"study": trial.study._study_id, "key": key})
        return dict(json.loads(row[0]) for row in rows)


def _pruner(text: str) -> optuna.pruners.BasePruner:
    """The sweep's pruner: the database does not hold it, so that it comes as JSON."""
    import optuna

    if not text:
        return optuna.pruners.NopPruner()
    settings: dict[str, Any] = json.loads(text)
    module, _, name = str(settings.pop("_target_")).rpartition(".")
    if module != "optuna.pruners":
        raise ValueError(f"not a pruner of Optuna: {name}")
    made = getattr(importlib.import_module(module), name)(**settings)
    assert isinstance(made, optuna.pruners.BasePruner)
    return made
