"""One sweep from Hydra's call to its end: read the config, open the study, run it, conclude."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import optuna
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper import (  # type: ignore[import-untyped, unused-ignore]
    _impl as stock,
)
from omegaconf import DictConfig, OmegaConf

from ._book import Book, Limits, count_finished
from ._claims import Claims
from ._display import Display
from ._errors import SweepError
from ._failures import Failures
from ._files import write_whole
from ._heartbeat import Heartbeat
from ._jobs import JobConfigs, hydra_overrides
from ._loop import Loop, is_local
from ._nursery import one_line
from ._own_study import change_hydra, has_own_study, is_grid, name_of
from ._owner import this_process
from ._patience import Patience
from ._plan import Plan, Request, make_plan
from ._progress import ResultsFile
from ._report import Report
from ._secrets import hide_secrets
from ._settings import check_sweeper
from ._stop import StopRequest
from ._storage import StudyStorage, url_of
from ._study import open_study
from ._summary import check_commands

log = logging.getLogger(__package__)

_ALL: Final = 2**53  # trials: more than any grid has
_START_PATIENCE: Final = 10.0  # seconds for the first answer of the database


class StudySweeper(stock.OptunaSweeperImpl):  # type: ignore[misc, unused-ignore]
    """Reads the config as the stock plugin does, and runs the sweep in its own way."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        check_sweeper(settings)
        check_commands(settings["next_commands"] or {})
        parameters = inspect.signature(stock.OptunaSweeperImpl.__init__).parameters
        known = {key: settings[key] for key in parameters if key in settings}
        rate = settings["max_failure_rate"]
        super().__init__(**{**known, "max_failure_rate": 1.0 if rate is None else rate})
        self.settings = settings
        self.stop = StopRequest()

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra. Secrets leave the config before any launcher sees it."""
        self.cfg = config
        self._take_own_study(config)
        self.study_storage = StudyStorage(
            url_of(config.hydra.sweeper.storage), lambda: bool(self.stop)
        )
        hidden = hide_secrets(config, self.study_storage)
        self.configs = JobConfigs(hydra_context, config, hidden)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def _take_own_study(self, config: DictConfig) -> None:
        """Make the values on the command line a study of their own, if they are meant to be one."""
        self.is_own_grid = False
        overrides = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        assert isinstance(overrides, list)
        default = self.settings["default_study"]
        if not has_own_study(overrides, config.hydra.runtime.choices, default):
            return
        given = {text.lstrip("+").partition("=")[0] for text in hydra_overrides(config)}
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
        """Called by Hydra: run the study until it is complete or there is a reason to stop."""
        _quiet_libraries()
        own_terminal = is_local(self.launcher) and self.launcher.console is not None
        self.display = Display(own_terminal=own_terminal)
        try:
            with self.display.attached(log):
                self.display.stage("checking the configuration")
                plan = self._plan(arguments)
                self._carry_out(plan)
        finally:
            if is_local(self.launcher):
                self.launcher.stop()

    def _plan(self, arguments: list[str]) -> Plan:
        if self.study_name and not self.study_name.isprintable():
            raise SweepError(f"hydra.sweeper.study_name is {self.study_name!r}, not printable")
        try:
            self._process_searchspace_config()
        except Exception as error:  # assertions of the stock plugin
            raise SweepError(f"hydra.sweeper.search_space: {one_line(error)}") from error
        request = Request(
            config=self.cfg,
            settings=self.settings,
            arguments=arguments,
            params=self._parse_sweeper_params_config(),
            distributions=getattr(self, "search_space_distributions", None) or {},
            directions=self._get_directions(),
            is_grid=self.is_own_grid,
            is_persistent=self.study_storage.persistent,
        )
        return make_plan(request, self.configs)

    def _carry_out(self, plan: Plan) -> None:
        try:
            os.makedirs(plan.directory, exist_ok=True)
            handler = _log_to(Path(plan.directory, "sweep.log"))
        except OSError as error:
            raise SweepError(
                f"{error.filename or plan.directory}: {error.strerror}; choose a directory that "
                "can be written to with hydra.sweep.dir=DIRECTORY"
            ) from error
        try:
            for level, note in plan.notes:
                log.log(level, "%s", note)
            self._run(plan)
        except SweepError as error:
            handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, str(error), (), None))
            raise
        finally:
            log.removeHandler(handler)
            handler.close()

    def _run(self, plan: Plan) -> None:
        patience = Patience(self.study_storage, self.stop, float(self.settings["storage_patience"]))
        failures = Failures(self.settings)
        with self.stop:
            book = self._open(plan, patience)
            claims = Claims(
                book,
                plan,
                self.configs,
                self.study_storage,
                patience,
                allow_repeats=bool(self.settings["repeats"]),
                extend=self.custom_search_space_extender
                and functools.partial(self.custom_search_space_extender, self.cfg),
            )
            report = Report(book, plan, self.display, self.settings["next_commands"] or {})
            results = ResultsFile(Path(plan.directory, "optimization_results.yaml"), book.study)
            trials = book.trials()
            goes_on = count_finished(trials) < book.total or book.has_followups(trials)
            at_once, place = self._jobs_at_once(), self.study_storage.shown
            report.opening(trials, goes_on=goes_on, at_once=at_once, place=place)
            if goes_on:
                assert self.launcher is not None
                loop = Loop(
                    self.launcher,
                    at_once,
                    book=book,
                    claims=claims,
                    failures=failures,
                    report=report,
                    results=results,
                    display=self.display,
                    stop=self.stop,
                    patience=patience,
                )
                heartbeat = Heartbeat(book, float(self.settings["heartbeat"]))
                try:
                    if self.study_storage.persistent:
                        heartbeat.start()
                    loop.run()
                finally:
                    heartbeat.stop()
        trials = patience(book.trials)
        patience(lambda: results.update(trials, final=True))
        report.closing(trials, repeats=claims.repeats, is_exhausted=claims.is_exhausted)
        failures.check_all(trials)
        report.best(trials)

    def _open(self, plan: Plan, patience: Patience) -> Book:
        """Open the study, and queue what it begins with or repeats."""
        write_whole(Path(plan.directory, "multirun.yaml"), OmegaConf.to_yaml(self.cfg))
        name = self.study_name or str(self.cfg.hydra.job.name)
        # A server that is just starting is waited for, but a wrong address is soon reported.
        study = patience(
            lambda: open_study(name, self.study_storage, self.cfg, self.settings, plan),
            at_most=_START_PATIENCE,
        )
        total = self.n_trials if plan.grid is None else plan.grid.count(self.n_trials)
        limits = Limits(
            total, int(self.settings["max_retries"]), float(self.settings["heartbeat_timeout"])
        )
        book = Book(
            study,
            self.study_storage,
            this_process(),
            limits,
            plan.grid,
            plan.directory,
            plan.halving,
            plan.confirmation,
        )
        if self.settings["retry_failed"]:
            count = patience(book.retry_failed)
            log.info("hydra.sweeper.retry_failed: %d failed trials are run again", count)
        if plan.start is not None:
            start = plan.start
            patience(lambda: book.begin_with(start))
        return book

    def _jobs_at_once(self) -> int:
        if self.n_jobs is not None:
            return max(1, int(self.n_jobs))
        return int(self.launcher.n_jobs) if is_local(self.launcher) else 1


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
