"""The loop of a sweep: ask for a trial, have a launcher run it, tell how it ended."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import itertools
import json
import logging
import math
import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeGuard, TypeVar

import hydra.utils
import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper import (  # type: ignore[import-untyped, unused-ignore]
    _impl as stock,
)
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from ._book import (
    Book,
    Claim,
    Limits,
    count_finished,
    counted,
    known_params,
    patiently,
    unused_directory,
)
from ._check import Check
from ._confirm import Confirmation, check_confirm, confirmed, confirms, is_repeat
from ._display import CUT, Display, Standing, best_line
from ._errors import SweepError, SweepFailed
from ._files import visible, write_whole
from ._halving import VARIABLE as HALVING_VARIABLE
from ._halving import is_paused, read_halving, root_of
from ._identity import check_identity, identity_of
from ._nursery import NurseryDied, Outcome, one_line, outcome_of_error
from ._own_study import change_hydra, has_own_study, is_grid, name_of
from ._owner import this_process
from ._progress import ResultsFile, best_of, trial_line
from ._search import all_values, read_overrides
from ._settings import check_sweeper
from ._space import Grid, Space, literal, make_space, spaced
from ._start import START, Absent, Start, is_start, starting_point
from ._stop import Stopped, StopRequest
from ._storage import STORAGE_TROUBLE, StudyStorage, url_of
from ._summary import Winner, check_commands, counts, winner_lines
from .launcher import LocalLauncher

log = logging.getLogger(__name__)

_STORAGE_VARIABLE = "CVAE_STORAGE"
_ALL = 2**53  # trials: more than any grid has
_TICK = 0.25  # how long a signal may go unnoticed
_START_PATIENCE = 10.0  # seconds for the first answer of the database
_ASK_AGAIN = 1.0  # between two looks for trials that other workers have given back
_MOST_CHECKS = 16  # combinations of groups' members that are composed before the first trial
_REPEATS = 10  # that a sampler may propose in a row before the points that are left are listed
_HYDRAS_SUBDIR = "${hydra.job.num}"  # what stands for hydra.sweep.subdir if nobody sets it

# Keys that a sweep does not look at, and what to write instead.
_WITHOUT_EFFECT: Final = {
    "hydra.run.": "hydra.sweep.dir and hydra.sweep.subdir say where trials lie",
    "hydra.job.num": "trials are numbered by their study",
    "hydra.job.id": "trials are numbered by their study",
}

_NEVER: Final = {"_target_": "optuna.pruners.NopPruner"}
_ABSENT: Final = object()
_RETRY: Final = "hydra.sweeper.retry_failed=true runs failed trials again"

T = TypeVar("T")


class StudySweeper(stock.OptunaSweeperImpl):  # type: ignore[misc, unused-ignore]
    """The stock plugin's reading of the config, with a loop of its own."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        check_sweeper(settings)
        check_commands(settings["next_commands"] or {})
        parameters = inspect.signature(stock.OptunaSweeperImpl.__init__).parameters
        known = {key: settings[key] for key in parameters if key in settings}
        rate = settings["max_failure_rate"]
        super().__init__(**{**known, "max_failure_rate": 1.0 if rate is None else rate})
        self.settings = settings
        self.stop = StopRequest()
        self.failures_in_a_row = 0
        self.repeats = 0
        self.is_exhausted = False
        self.claims: dict[int, Claim] = {}
        # Of the checks, by level, for when there is a log to write them to.
        self.notes: list[tuple[int, str]] = []

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra. Secrets leave the config before any launcher sees it."""
        self.cfg = config
        self.context = hydra_context
        self._take_own_study(config)
        self.study_storage = StudyStorage(
            url_of(config.hydra.sweeper.storage), lambda: bool(self.stop)
        )
        self.storage_overrides = _hide_secrets(config, self.study_storage)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def _take_own_study(self, config: DictConfig) -> None:
        """Let values on the command line be a study of their own, where they are meant to be."""
        self.is_own_grid = False
        overrides = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        assert isinstance(overrides, list)
        default = self.settings["default_study"]
        if not has_own_study(overrides, config.hydra.runtime.choices, default):
            return
        given = {text.lstrip("+").partition("=")[0] for text in _given(config)}
        if "hydra.sweeper.study_name" not in given:
            self.study_name = name_of(overrides, self.settings["identity_ignore"] or [])
            change_hydra(config, "hydra.sweeper.study_name", self.study_name)
        # Not in the config: Hydra 1.4 refuses a sweep whose own keys differ from its jobs'.
        params: Any = {
            str(key): value
            for key, value in (self.params or {}).items()
            if f"hydra.sweeper.params.{key!s}" in given
        }
        self.params = params
        self.search_space = None  # of Hydra 1.3
        self.settings = {**self.settings, "conditional": {}}
        self.is_own_grid = "hydra/sweeper/sampler" not in given and is_grid(overrides)
        if self.is_own_grid and "hydra.sweeper.n_trials" not in given:
            self.n_trials = _ALL

    def sweep(self, arguments: list[str]) -> None:
        """Called by Hydra: run the study to its end, or to a reason to stop."""
        _quiet_libraries()
        own_terminal = _is_local(self.launcher) and self.launcher.console is not None
        self.display = Display(own_terminal=own_terminal)
        try:
            with self.display.attached(log):
                self.display.stage("checking the configuration")
                self._plan(arguments)
                self._carry_out()
        finally:
            if _is_local(self.launcher):
                self.launcher.stop()

    def _carry_out(self) -> None:
        try:
            os.makedirs(self.directory, exist_ok=True)
            handler = _log_to(Path(self.directory, "sweep.log"))
        except OSError as error:
            raise SweepError(
                f"{error.filename or self.directory}: {error.strerror}; choose a directory that "
                "can be written to with hydra.sweep.dir=DIRECTORY"
            ) from error
        try:
            for level, note in self.notes:
                log.log(level, "%s", note)
            with self.stop:
                self._prepare()
                if self._announce():
                    self._run()
            self._conclude()
        except SweepError as error:
            handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, str(error), (), None))
            raise
        finally:
            log.removeHandler(handler)
            handler.close()

    # --- before the first trial -----------------------------------------------------------

    def _plan(self, arguments: list[str]) -> None:
        """Read and check everything that needs neither a file nor the database."""
        self.directory = os.path.abspath(str(self.cfg.hydra.sweep.dir))
        if self.study_name and not self.study_name.isprintable():
            raise SweepError(f"hydra.sweeper.study_name is {self.study_name!r}, not printable")
        self.directions = self._read_directions()
        self.space = self._read_space(arguments)
        self.grid = self._read_grid()
        self.pruner_config = _pruner_config(self.cfg.hydra.sweeper.pruner, self.grid is not None)
        self.has_own_names = self._has_own_names()
        self._check_composition()
        self.confirmation = self._read_confirmation()
        least = 1 if self.confirmation is None else self.confirmation.best
        halving = read_halving(self.settings["halving"], least, self._sign())
        ranked = self._is_ranked() and self.study_storage.persistent
        self.halving = halving if ranked else None
        self.start = self._read_start()
        self.notes += [(logging.WARNING, text) for text in self._ignored()]

    def _prepare(self) -> None:
        write_whole(Path(self.directory, "multirun.yaml"), OmegaConf.to_yaml(self.cfg))
        # A wrong address shall be told soon; a server that is just starting is waited for.
        study = self._patiently(self._open_study, at_most=_START_PATIENCE)
        total = self.n_trials if self.grid is None else self.grid.count(self.n_trials)
        limits = Limits(
            total, int(self.settings["max_retries"]), float(self.settings["heartbeat_timeout"])
        )
        self.book = Book(
            study,
            self.study_storage,
            this_process(),
            limits,
            self.grid,
            self.directory,
            self.halving,
            self.confirmation,
        )
        path = Path(self.directory, "optimization_results.yaml")
        self.results = ResultsFile(path, study)
        if self.settings["retry_failed"]:
            count = self._patiently(self.book.retry_failed)
            log.info("hydra.sweeper.retry_failed: %d failed trials are run again", count)
        if self.start is not None:
            start = self.start
            self._patiently(lambda: self.book.begin_with(start))

    def _has_own_names(self) -> bool:
        """Whether trials are named by hydra.sweep.subdir, and not by the study's numbers."""
        given = [text.lstrip("+") for text in _given(self.cfg)]
        written = OmegaConf.to_container(self.cfg.hydra.sweep, resolve=False)
        assert isinstance(written, dict)
        return written["subdir"] != _HYDRAS_SUBDIR or any(
            text.startswith("hydra.sweep.subdir=") for text in given
        )

    def _ignored(self) -> list[str]:
        """A line for each setting that has no effect here."""
        given = [text.lstrip("+") for text in _given(self.cfg)]
        lines = [
            f"{text.partition('=')[0]} has no effect on a sweep: {instead}"
            for text in given
            for key, instead in _WITHOUT_EFFECT.items()
            if text.startswith(key)
        ]
        of_ranks = (
            *("hydra/sweeper/pruner=", "hydra.sweeper.pruner."),
            *("hydra.sweeper.halving", "hydra.sweeper.confirm"),
        )
        without = {
            "a grid": (*of_ranks, "hydra.sweeper.seed=") if self.grid is not None else (),
            "several directions": of_ranks if len(self.directions) > 1 else (),
        }
        lines += [
            f"{text.partition('=')[0]} has no effect on a sweep with {what}"
            for text in given
            for what, keys in without.items()
            if text.startswith(keys)
        ]
        prunes = bool(self.settings["halving"] and self.settings["halving"]["rungs"])
        prunes |= not self._is_pruning_off()
        if prunes and not self.study_storage.persistent:
            lines.append("no trial is pruned: that needs hydra.sweeper.storage")
        confirm = self.settings["confirm"]
        if self._is_ranked() and confirm and confirm["best"] and self.confirmation is None:
            lines.append(f"the best are not repeated: the search varies {confirm['key']}")
        return lines

    def _is_ranked(self) -> bool:
        """Whether trials are compared, to give some up and to repeat others."""
        return self.grid is None and len(self.directions) == 1

    def _sign(self) -> int:
        return -1 if self.directions[0] == "maximize" else 1

    def _read_confirmation(self) -> Confirmation | None:
        settings = self.settings["confirm"]
        if not (self._is_ranked() and settings):
            return None
        key = str(settings["key"])
        varied = {*self.space.distributions, *self.space.conditional_keys()}
        if key in varied or not check_confirm(settings, OmegaConf.select(self.cfg, key)):
            return None
        return Confirmation(settings["best"], settings["seeds"], self._reseeded, self._sign())

    def _reseeded(self, overrides: Sequence[str], more: int) -> list[str]:
        """The overrides of a trial under another seed."""
        key = self.settings["confirm"]["key"]
        seed = OmegaConf.select(self._compose(overrides, 0), key)
        others = [text for text in overrides if text.partition("=")[0].lstrip("+") != key]
        return [*others, f"{key}={seed + more}"]

    def _is_pruning_off(self) -> bool:
        return str(self.pruner_config["_target_"]).endswith(".NopPruner")

    def _read_directions(self) -> list[str]:
        directions = [str(direction) for direction in self._get_directions()]
        for direction in directions:
            if direction not in ("minimize", "maximize"):
                raise SweepError(
                    f"hydra.sweeper.direction is {direction}; allowed: minimize, maximize, or a "
                    "list of them"
                )
        return directions

    def _read_space(self, arguments: list[str]) -> Space:
        loader = self.context.config_loader
        try:
            self._process_searchspace_config()
        except Exception as error:  # assertions of the stock plugin
            raise SweepError(f"hydra.sweeper.search_space: {one_line(error)}") from error
        texts = [*self._parse_sweeper_params_config(), *arguments]
        more: Mapping[str, BaseDistribution] = (
            getattr(self, "search_space_distributions", None) or {}
        )
        space = make_space(read_overrides(texts, loader), more)
        for condition, keys in (self.settings["conditional"] or {}).items():
            parsed = read_overrides([f"{key}={value}" for key, value in keys.items()], loader)
            space.conditional[condition] = make_space(parsed, {}).distributions
            space.exact |= parsed.exact
        if space.conditional:
            space.replace_conditional(read_overrides(arguments, loader).distributions)
        return space

    def _read_grid(self) -> Grid | None:
        target = str(self.cfg.hydra.sweeper.sampler.get("_target_"))
        if not self.is_own_grid and target.rpartition(".")[2] != "GridSampler":
            return None
        for keys in self.space.conditional.values():
            for key, kind in keys.items():
                self._grid_values(key, kind)  # refused now, and not at the first such point
        return self._grid_of(self._grid_values)

    def _grid_of(self, values_of: Callable[[str, BaseDistribution], Sequence[Any]]) -> Grid:
        def values(kinds: Iterable[tuple[str, BaseDistribution]]) -> dict[str, Sequence[Any]]:
            return {key: values_of(key, kind) for key, kind in kinds}

        if not self.space.conditional:
            return Grid(values(self.space.distributions.items()))
        return Grid(
            values(self.space.distributions.items()),
            lambda point: values(self.space.following(point)),
            self.space.conditional_keys(),
        )

    def _grid_values(self, key: str, distribution: BaseDistribution) -> Sequence[Any]:
        points = self.settings["grid_points"]
        values = all_values(distribution)
        if values or points is not None:
            return values or spaced(distribution, int(points))
        low, high = (getattr(distribution, end) for end in ("low", "high"))
        ends = f"{low:g},{high:g}"
        cure = f"int(interval({ends})), " if float(low) % 1 == float(high) % 1 == 0 else ""
        raise SweepError(
            f"{key}: a grid has no values for an interval of real numbers; write {cure}"
            f"range({ends},STEP) or choice(...), or set hydra.sweeper.grid_points"
        )

    def _check_composition(self) -> None:
        """Let a mistake end the sweep now and not as a row of failed trials."""
        loader = self.context.config_loader
        groups = [
            key
            for key, kind in self.space.distributions.items()
            if len(all_values(kind)) > 1 and loader.get_group_options(_group_of(key))
        ]
        check = self.trial_check = Check(_function_of(self.settings["check"]), self.notes)
        points = self.space.checks(groups, _MOST_CHECKS)
        for point in points:
            overrides = self.space.overrides(point)
            sampled = " ".join(overrides[: len(point)])
            where = f"in a trial with {sampled}" if sampled else "in every trial"
            try:
                composed = self._compose(overrides, 0)
                if self.has_own_names:
                    self._name_of(composed)
                check(_of_the_application(composed))
            except SweepError:
                raise
            except (HydraException, OmegaConfBaseException) as error:
                error.add_note(where)
                raise
            except ValueError as error:
                faults = "; ".join(str(error).splitlines())
                raise SweepError(f"{faults} ({where})") from error
        if groups:
            size = math.prod(len(all_values(self.space.distributions[key])) for key in groups)
            checked = f"{min(len(points), size)} of {size} combinations of the members of"
            self.notes.append(
                (logging.INFO, f"checked before the start: {checked} {', '.join(groups)}")
            )

    def _read_start(self) -> Start | None:
        """The configuration as composed as the first trial, where the search has one."""
        if (
            not self.settings["start_as_composed"]
            or self.grid is not None
            or self.custom_search_space_extender is not None
        ):
            return None
        try:
            composed = self._compose(self.space.overrides({}), 0)
            start = starting_point(self.space, functools.partial(self._value_in, composed))
            if start is not None:
                self.trial_check(_of_the_application(composed))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            why = one_line(error)
            self.notes.append((logging.WARNING, f"not begun with the config as composed: {why}"))
            return None
        return start

    def _value_in(self, composed: DictConfig, key: str) -> Any:
        """The value of a searched key in a job's config, for a group its member."""
        name = key.lstrip("+")
        if self.context.config_loader.get_group_options(_group_of(key)):
            return composed.hydra.runtime.choices.get(name)
        value = OmegaConf.select(composed, name, default=_ABSENT)
        if value is _ABSENT:
            raise Absent
        return value

    def _compose(self, overrides: Sequence[str], number: int) -> DictConfig:
        """The config of a job."""
        composed = self.context.config_loader.load_sweep_config(
            self.cfg, [*overrides, *self.storage_overrides]
        )
        with open_dict(composed):
            composed.hydra.job.id = str(number)
            composed.hydra.job.num = number
        return composed

    def _name_of(self, composed: DictConfig) -> str:
        """What hydra.sweep.subdir says in a job's config."""
        former = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(composed)  # for ${hydra:...}
        try:
            name = str(composed.hydra.sweep.subdir)
        finally:
            HydraConfig.instance().cfg = former
        normal = os.path.normpath(name)
        if os.path.isabs(normal) or normal.split(os.sep)[0] in (os.pardir, os.curdir):
            raise SweepError(
                f"hydra.sweep.subdir is {name!r}; allowed: a directory below the sweep's"
            )
        return normal

    def _open_study(self) -> optuna.study.Study:
        name = self.study_name or str(self.cfg.hydra.job.name)
        identity = identity_of(
            self.cfg,
            self.space,
            self.directions,
            self.cfg.hydra.sweeper.custom_search_space,
            list(self.settings["identity_ignore"] or []),
            self.trial_check.inputs,
        )
        # Two workers that start at once would otherwise both create the tables.
        with self.study_storage.lock("open"):
            storage = self.study_storage.open()
            study = _load_or_create(name, storage, self.directions)
            check_identity(study, identity)
            self._tell_of_others(study)
            worker = self._number_worker(study)
        study.sampler = self._build_sampler(len(study.get_trials(deepcopy=False)), worker)
        study.pruner = _instantiate(self.pruner_config, "optuna.pruners.*")
        return study

    def _tell_of_others(self, study: optuna.study.Study) -> None:
        """A study's file that was renamed along with its directory holds it under its old name."""
        if study.trials or not self.study_storage.is_below(self.directory):
            return
        summaries = optuna.study.get_all_study_summaries(storage=study._storage)
        others = [one.study_name for one in summaries if one.study_name != study.study_name]
        if others:
            log.warning(
                "study %s is begun in a file that holds study %s; "
                "hydra.sweeper.study_name=%s continues that one",
                study.study_name,
                others[0],
                others[0],
            )

    def _number_worker(self, study: optuna.study.Study) -> int:
        if self.settings["worker"] is not None:
            return int(self.settings["worker"])
        number = int(study.user_attrs.get("workers", 0))
        study.set_user_attr("workers", number + 1)
        return number

    def _build_sampler(self, trials: int, worker: int) -> optuna.samplers.BaseSampler:
        """The configured sampler, with a seed that no other worker and no earlier start had."""
        if self.grid is not None:
            return optuna.samplers.RandomSampler()  # only for keys that are not in the grid
        config = OmegaConf.to_container(self.cfg.hydra.sweeper.sampler, resolve=True)
        assert isinstance(config, dict)
        if "seed" in config and config["seed"] is None:
            config["seed"] = self.settings["seed"]
        if config.get("seed") is not None:
            config["seed"] = (int(config["seed"]) + trials + 7919 * worker) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = _instantiate(
                config,
                "optuna.samplers.*",
                "hydra_plugins.hydra_optuna_sweeper.*",
                "hydra_plugins.hydra_cvae_sweeper.*",
            )
        assert isinstance(sampler, optuna.samplers.BaseSampler)
        return sampler

    def _announce(self) -> bool:
        """Say where the study stands; whether something is left to do."""
        trials = self.book.trials()
        done, total = count_finished(trials), self.book.total
        begun = f"{done} of {total} trials done, {self._jobs_at_once()} at once"
        goes_on = done < total or self.book.has_followups(trials)
        if not goes_on and done == total:
            begun = f"{done} of {total} trials done: nothing to do"
        elif not goes_on:
            begun = f"{done} trials done, {total} asked for: nothing to do"
        log.info("study %s in %s: %s", self.book.study.study_name, self.study_storage.shown, begun)
        self.done_before = done
        if done < total:
            self._log_best_so_far(trials)
        failed = sum(trial.state == TrialState.FAIL for trial in counted(trials))
        if failed and done >= total:
            log.info("%d of them failed; %s", failed, _RETRY)
        return goes_on

    # --- the loop ---------------------------------------------------------------------------

    def _run(self) -> None:
        heartbeat = _Heartbeat(self.book, float(self.settings["heartbeat"]))
        try:
            if self.study_storage.persistent:
                heartbeat.start()
            if _is_local(self.launcher):
                self._run_pool(self.launcher)
            else:
                self._run_batches()
        except Stopped:
            pass
        except NurseryDied as error:
            self._interrupt("interrupted: the process that starts the trials was killed")
            raise SweepFailed(f"{error}; the same command continues the sweep") from error
        except BaseException:
            self._interrupt("interrupted: the sweep ended")
            raise
        finally:
            heartbeat.stop()
        if self.stop:
            self._leave()

    def _run_pool(self, launcher: LocalLauncher) -> None:
        """Keep every core busy: the next trial starts as soon as one has ended."""
        ask_at = 0.0
        self.display.stage("importing the application")
        self._show(now=True)
        while not (launcher.nursery.ready or self.stop):
            launcher.wait(_TICK)  # a trial's time shall not include the application's imports
        self.display.stage("")
        while not self.stop:
            while len(self.claims) < self._jobs_at_once() and time.monotonic() >= ask_at:
                claim = self._claim()
                if claim is None:
                    ask_at = time.monotonic() + _ASK_AGAIN
                    break
                launcher.start(claim.number, self._job_overrides(claim), claim.number)
            if not self.claims and self._is_done():
                return
            self._show()
            for ended in launcher.wait(_TICK):
                if ended.outcome.signal and self._stop_is_near():
                    break  # killed along with the sweep, not by a fault of its own
                self._finish(self.claims[ended.key], ended.outcome)
                ask_at = 0.0
            for text in launcher.nursery.warnings:
                log.warning("%s", text)
            launcher.nursery.warnings.clear()
        self._end_jobs(launcher)

    def _run_batches(self) -> None:
        """For launchers that take a batch and return when its slowest job has ended."""
        while not self.stop:
            batch: list[Claim] = []
            while len(batch) < self._jobs_at_once():
                claim = self._claim()
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
        overrides = [self._job_overrides(claim) for claim in batch]
        assert self.launcher is not None
        try:
            with self.stop.raising(), self.display.following(self._standing):
                returns = self.launcher.launch(overrides, initial_job_idx=batch[0].number)
        except Exception as error:
            # A launcher gives up a whole batch when one of its workers is killed.
            return [Outcome("failed", reason=f"launcher: {one_line(error)}")] * len(batch)
        return [_outcome(job) for job in returns]

    def _claim(self) -> Claim | None:
        try:
            claim: Claim | None = self._patiently(self._claim_and_sample)
        except (ValueError, NotImplementedError) as error:
            if isinstance(error, SweepError):
                raise
            name = type(self.book.study.sampler).__name__
            raise SweepError(f"no trial could be sampled with {name}: {one_line(error)}") from error
        if claim is None:
            return None
        if claim.directory:  # it continues another trial, in its place
            named = claim
            self._patiently(lambda: self.book.describe(named, named.directory, named.overrides))
            return claim
        overrides = claim.overrides or self.space.overrides(claim.trial.params)
        wanted = f"trial_{claim.number:05d}"
        if self.has_own_names:
            wanted = self._name_of(self._compose(overrides, claim.number))
        name = unused_directory(self.directory, wanted)
        described = claim
        self._patiently(lambda: self.book.describe(described, name, overrides))
        return claim

    def _claim_and_sample(self) -> Claim | None:
        """The next trial with its parameters; one that repeats another is not run."""
        for attempt in itertools.count():
            claim = self._claim_one()
            if claim is None or self.grid is not None or self.settings["repeats"]:
                return claim
            if claim.overrides:  # it continues or repeats another trial
                return claim
            try:
                other = self._repeated_by(claim)
                if other is None:
                    return claim
                self.book.set_aside(claim, other)
            except STORAGE_TROUBLE:
                self._forget(claim)
                raise
            del self.claims[claim.number]
            self.repeats += 1
            if attempt >= _REPEATS and not self._queue_what_is_left():
                self.is_exhausted = True
        raise AssertionError

    def _repeated_by(self, claim: Claim) -> int | None:
        """An earlier trial with the same parameters that is complete, paused or being run."""
        mine, trials = self.space.same(claim.trial.params), self.book.trials()
        for trial in trials[: claim.number]:
            ran = trial.state in (TrialState.COMPLETE, TrialState.RUNNING) or is_paused(trial)
            if not ran or root_of(trial) == root_of(trials[claim.number]):
                continue
            theirs = self.space.same(trial.params)
            if theirs == mine and all(repr(theirs[key]) == repr(mine[key]) for key in mine):
                return trial.number
        return None

    def _queue_what_is_left(self) -> bool:
        """Have a point run that no trial had, where the space has an end; False without one."""
        kinds = itertools.chain(
            self.space.distributions.values(),
            *(keys.values() for keys in self.space.conditional.values()),
        )
        if self.custom_search_space_extender or not all(len(all_values(kind)) for kind in kinds):
            return False
        tried = counted(self.book.trials())
        point = self._grid_of(lambda _, kind: all_values(kind)).next(
            [self.space.same(known_params(trial)) for trial in tried]
        )
        if point is not None:
            self.book.queue(point)
        return point is not None

    def _claim_one(self) -> Claim | None:
        claim = self.book.claim(new=not self.is_exhausted)
        if claim is None:
            return None
        self.claims[claim.number] = claim
        left_out = claim.trial.user_attrs.get(START, [])
        try:
            with self.book.snapshot():
                for key, distribution in self.space.distributions.items():
                    if key not in left_out:
                        claim.trial._suggest(key, distribution)
                unions = self.space.unions() if self.book.grid is not None else {}
                for key, distribution in self.space.following(claim.trial.params):
                    if key not in left_out:
                        claim.trial._suggest(key, unions.get(key, distribution))
                self._extend(claim)
        except STORAGE_TROUBLE:
            self._forget(claim)
            raise
        return claim

    def _forget(self, claim: Claim) -> None:
        """Drop a trial that the database was lost over; the next claim finds it."""
        del self.claims[claim.number]
        self.book.forget(claim)

    def _extend(self, claim: Claim) -> None:
        """Let the user's function add what depends on what was sampled."""
        if self.custom_search_space_extender is None:
            return
        for key, value in self.space.fixed.items():
            claim.trial.set_user_attr(key, value)  # where the stock plugin lets it look
        self.custom_search_space_extender(self.cfg, claim.trial)
        both = sorted(claim.trial.params.keys() & self.space.fixed.keys())
        if both:
            raise SweepError(
                f"{both[0]} is fixed on the command line and searched by "
                "hydra.sweeper.custom_search_space"
            )

    def _job_overrides(self, claim: Claim) -> list[str]:
        variables = {"CVAE_STUDY": self.book.study.study_name, "CVAE_TRIAL": str(claim.number)}
        if self.study_storage.persistent:
            variables["CVAE_TRIAL_ID"] = str(claim.trial_id)
            # What the others are compared with, and what a mean is made of.
            is_reference = START in claim.trial.user_attrs or is_repeat(claim.trial)
            pruner = _NEVER if is_reference else self.pruner_config
            variables["CVAE_PRUNER"] = json.dumps(pruner)
            if not self.study_storage.secrets:
                variables[_STORAGE_VARIABLE] = self.study_storage.url
        if self.halving is not None and not is_repeat(claim.trial):
            attributes = claim.trial.user_attrs
            variables[HALVING_VARIABLE] = self.halving.variable(
                attributes, claim.number, is_reference=START in attributes
            )
        if is_repeat(claim.trial):
            variables["CVAE_CONFIRMS"] = str(confirms(claim.trial))
        if claim.resume_from:
            variables["CVAE_RESUME_FROM"] = json.dumps(
                [self.book.locate(directory) for directory in claim.resume_from]
            )
        settings = [f"++hydra.job.env_set.{key}={literal(text)}" for key, text in variables.items()]
        subdir = f"hydra.sweep.subdir={literal(claim.directory)}"
        return [*claim.overrides, *self.storage_overrides, subdir, *settings]

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        trials = self._patiently(lambda: self.book.finish(claim, outcome))
        trial = trials[claim.number]
        del self.claims[claim.number]
        log.info("%s", trial_line(trial, trials, self.book.study, self.book.total), extra=CUT)
        self.display.see(lambda: self._standing(trials), now=self.display.is_live)
        self._patiently(lambda: self.results.update(trials))
        failed = trial.state == TrialState.FAIL
        self.failures_in_a_row = self.failures_in_a_row + 1 if failed else 0
        reason = trial.user_attrs.get("reason", "no reason")
        where = visible(self.book.locate(claim.directory))
        rate = self.settings["max_failure_rate"]
        if failed and rate == 0.0:
            raise SweepFailed(
                f"trial {claim.number} failed, and hydra.sweeper.max_failure_rate is 0: {reason} "
                f"({where}); {_RETRY}"
            )
        allowed = 0 if rate == 1.0 else int(self.settings["max_consecutive_failures"])
        if allowed and self.failures_in_a_row >= allowed:
            raise SweepFailed(
                f"{allowed} trials failed one after the other, the last one with: {reason} "
                f"({where}); see hydra.sweeper.max_consecutive_failures; {_RETRY}"
            )

    def _is_done(self) -> bool:
        """Whether the study is complete; other workers' trials may still run."""
        trials = self._patiently(self.book.trials)
        is_done = count_finished(trials) >= self.book.total
        if (self.book.grid is not None or self.is_exhausted) and not any(
            trial.state in (TrialState.RUNNING, TrialState.WAITING) for trial in trials
        ):
            is_done = True  # every point is done, for less than the total
        return is_done and not self.book.has_followups(trials)

    def _standing(self, trials: Sequence[FrozenTrial] | None = None) -> Standing:
        trials = self.book.trials() if trials is None else trials
        return Standing.of(self.book.total, trials, self._best(trials))

    def _best(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The best so far, where there is one: of several objectives there is a front."""
        study = self.book.study
        return best_of(trials, study) if len(study.directions) == 1 else None

    def _show(self, *, now: bool = False) -> None:
        with contextlib.suppress(*STORAGE_TROUBLE):  # whoever needs the database will tell
            self.display.see(self._standing, now=now)

    def _log_best_so_far(self, trials: Sequence[FrozenTrial]) -> None:
        best = self._best(trials)
        if best is not None:
            log.info("%s", best_line(best))

    # --- the end ----------------------------------------------------------------------------

    def _stop_is_near(self) -> bool:
        """Whether a signal has come, or comes in a moment; it may reach the jobs first."""
        time.sleep(_TICK)
        return bool(self.stop)

    def _end_jobs(self, launcher: LocalLauncher) -> None:
        """Ask running jobs to end; what ends with a result in this time counts."""
        deadline = time.monotonic() + launcher.grace
        running = set(self.claims)
        launcher.nursery.signal(signal.SIGTERM)
        while running and time.monotonic() < deadline:
            for ended in launcher.wait(_TICK):
                running.discard(ended.key)
                if ended.outcome.kind == "value" and ended.key in self.claims:
                    self._finish(self.claims[ended.key], ended.outcome)

    def _interrupt(self, reason: str) -> None:
        """Give back what runs; if that fails, the next worker will find it."""
        claims = list(self.claims.values())
        self.claims = {}
        try:
            self.book.interrupt(claims, reason)
        except STORAGE_TROUBLE as error:
            log.warning("running trials could not be marked: %s", type(error).__name__)

    def _leave(self) -> NoReturn:
        interrupted = len(self.claims)
        self._interrupt(f"interrupted by {self.stop.name}")
        trials = self._patiently(self.book.trials)
        self._patiently(lambda: self.results.update(trials, final=True))
        self._log_best_so_far(trials)
        log.info(
            "stopped by %s: %d of %d trials done, %d interrupted; the same command continues",
            self.stop.name,
            count_finished(trials),
            self.book.total,
            interrupted,
        )
        raise SystemExit(128 + self.stop.number)

    def _conclude(self) -> None:
        self.display.settle()
        trials = self._patiently(self.book.trials)
        self._patiently(lambda: self.results.update(trials, final=True))
        counting = counted(trials)
        failed = [trial for trial in counting if trial.state == TrialState.FAIL]
        if self.repeats:
            log.info("%d proposals repeated a trial and were not run again", self.repeats)
        if self.is_exhausted and len(counting) < self.book.total:
            log.info(
                "no further point was found: the search ends with %d of %d trials",
                len(counting),
                self.book.total,
            )
        log.info("%s", counts(trials, self.display.passed, self.done_before))
        if not any(trial.state == TrialState.COMPLETE for trial in trials):
            reason = failed[-1].user_attrs.get("reason", "") if failed else "none was run"
            raise SweepFailed(
                f"no trial of {len(counting)} was completed; the last one: {reason}; {_RETRY}"
            )
        rate = self.settings["max_failure_rate"]
        if rate is not None and len(failed) > rate * len(counting):
            raise SweepFailed(
                f"{len(failed)} of {len(counting)} trials failed, more than "
                f"hydra.sweeper.max_failure_rate={rate}; {_RETRY}"
            )
        self._log_best(trials)

    def _log_best(self, trials: Sequence[FrozenTrial]) -> None:
        study = self.book.study

        def where(trial: FrozenTrial) -> str:
            return visible(self.book.locate(str(trial.user_attrs.get("directory", ""))))

        if len(study.directions) > 1:
            front = study.best_trials
            log.info("%d Pareto-optimal trials", len(front))
            for trial in front:
                values = " ".join(f"{value:.4g}" for value in trial.values or [])
                log.info("  %s  %s%s", values, where(trial), " (as composed)" * is_start(trial))
            return
        best = best_of(trials, study)
        assert best is not None
        directory = self.book.locate(str(best.user_attrs.get("directory", "")))
        overrides = best.user_attrs.get("overrides") or self.space.overrides(best.params)
        commands = self.settings["next_commands"] or {}
        winner = Winner(best, directory, overrides)
        repeated = confirmed(trials, self._sign())
        for line in winner_lines(winner, trials, repeated, commands, self.directory):
            log.info("%s", line)

    # --- helpers ----------------------------------------------------------------------------

    def _jobs_at_once(self) -> int:
        if self.n_jobs is not None:
            return max(1, int(self.n_jobs))
        return int(self.launcher.n_jobs) if _is_local(self.launcher) else 1

    def _patiently(self, action: Callable[[], T], at_most: float = math.inf) -> T:
        result: T = patiently(
            action,
            seconds=min(at_most, float(self.settings["storage_patience"])),
            trouble=STORAGE_TROUBLE,
            give_up=lambda: bool(self.stop),
            describe=self.study_storage.explain,
            complain=lambda why: log.warning("the study's database does not answer (%s)", why),
        )
        return result


def _is_local(launcher: Any) -> TypeGuard[LocalLauncher]:
    """Whether it is our launcher; Hydra may have made its class anew since."""
    return type(launcher).__module__ == LocalLauncher.__module__


def _group_of(key: str) -> str:
    """The group's name in a key such as `+group@package`, if it is one."""
    return key.lstrip("+").partition("@")[0]


def _function_of(path: str | None) -> Callable[[dict[str, Any]], Any] | None:
    """The function that hydra.sweeper.check names."""
    if path is None:
        return None
    module, _, name = str(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SweepError(f"hydra.sweeper.check={path}: {one_line(error)}") from error
    if not callable(found):
        raise SweepError(f"hydra.sweeper.check={path}: it is no function")
    function: Callable[[dict[str, Any]], Any] = found
    return function


def _of_the_application(composed: DictConfig) -> dict[str, Any]:
    ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    container = OmegaConf.to_container(ours, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


class _Heartbeat:
    """Beats from a thread, for a stock launcher keeps the main one busy."""

    def __init__(self, book: Book, seconds: float) -> None:
        self._book = book
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _beat(self) -> None:
        while True:
            try:
                self._book.beat()
            except Exception as error:
                log.debug("no heartbeat: %s", type(error).__name__)  # the main thread will tell
            if self._ended.wait(self._seconds):
                return


def _hide_secrets(config: DictConfig, storage: StudyStorage) -> list[str]:
    """Move a password out of the config; the overrides that do the same for a job's config.

    Hydra saves the config in every job's directory, and composes it anew from the overrides. The
    URL travels in the environment, which child processes inherit.
    """
    if not storage.secrets:
        return []
    os.environ[_STORAGE_VARIABLE] = storage.url
    settings: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    written = settings["storage"]
    if not isinstance(written, str):  # an object of this URL
        written = written["url"]
    betraying = list(storage.traces)
    if re.search(r"\$\{(?!oc\.env:)", written):
        betraying += storage.secrets  # another key may hold it alone

    def betrays(text: str) -> bool:
        return any(piece in text for piece in betraying)

    if not betrays(OmegaConf.to_yaml(config, resolve=False)):
        return []  # it came by ${oc.env:...}, which is saved as such
    reference = "${oc.env:" + _STORAGE_VARIABLE + "}"
    given = _given(config)
    sweeper, overrides = config.hydra.sweeper, config.hydra.overrides
    # Hydra 1.4 marks the nodes themselves read-only, 1.3 the root.
    with read_write(sweeper), read_write(overrides), open_dict(sweeper), open_dict(overrides):
        sweeper.storage = reference
        overrides.hydra = [
            f"hydra.sweeper.storage={reference}" if betrays(text) else text for text in given
        ]
    if betrays(OmegaConf.to_yaml(config, resolve=False)):
        raise SweepError(
            "the password of hydra.sweeper.storage stands in the application's config, which is "
            "saved with every trial; write ${oc.env:NAME} there and set the variable NAME"
        )
    return [f"hydra.sweeper.storage={reference}"]


def _given(config: DictConfig) -> list[str]:
    """The overrides of Hydra's own keys, as they were given: reading them one by one resolves."""
    given = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    assert isinstance(given, dict)
    return [str(text) for text in given["hydra"]]


def _load_or_create(
    name: str, storage: optuna.storages.BaseStorage, directions: Sequence[str]
) -> optuna.study.Study:
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return optuna.create_study(study_name=name, storage=storage, directions=list(directions))
    begun = [direction.name.lower() for direction in study.directions]
    if begun != list(directions) and begun != ["not_set"]:
        raise SweepError(
            f"study {name!r} was begun with another direction: was {' '.join(begun)}, is "
            f"{' '.join(directions)}; begin a new study with hydra.sweeper.study_name=NAME"
        )
    return study


def _pruner_config(config: DictConfig, is_grid: bool) -> dict[str, Any]:
    if is_grid:  # a grid is run to see all of it
        return _NEVER
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    if not str(container.get("_target_")).startswith("optuna.pruners."):
        raise SweepError("hydra.sweeper.pruner._target_ must name a class of optuna.pruners")
    return {str(key): value for key, value in container.items()}


def _instantiate(config: Mapping[Any, Any], *allowed: str) -> Any:
    """Hydra's instantiate; from 1.4 on it wants to be told what may be instantiated."""
    parameters = inspect.signature(hydra.utils.instantiate).parameters
    if "_execution_whitelist_" in parameters:
        return hydra.utils.instantiate(dict(config), _execution_whitelist_=allowed)
    return hydra.utils.instantiate(dict(config))


def _outcome(job: JobReturn) -> Outcome:
    """A stock launcher's return, without the property that prints and raises."""
    if job.status is JobStatus.COMPLETED:
        return Outcome("value", value=job.return_value)
    error = job._return_value
    if isinstance(error, BaseException):
        return outcome_of_error(error)
    return Outcome("failed", reason="the launcher returned no result")


def _quiet_libraries() -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # A connection lost in a transaction is a traceback there, and one line of ours.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def _log_to(path: Path) -> logging.Handler:
    handler = logging.FileHandler(path, mode="a", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    return handler
