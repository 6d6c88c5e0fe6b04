"""`hydra/launcher=cvae_local`: every job in a process of its own, several at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from . import _config as _config
from ._nursery import Ended, Nursery, Outcome, redirect_output
from ._settings import LAUNCHER, check_ranges


def usable_cores() -> int:
    """Cores this process may use, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalLauncher(Launcher):
    """Runs jobs in forked processes.

    `launch` is Hydra's batch call, for any sweeper. `start`, `wait` and `stop` are for a sweeper
    that does not want to wait for the slowest job of a batch.
    """

    def __init__(
        self,
        n_jobs: int | None = None,
        threads: int = 1,
        preload: Sequence[str] = (),
        console: str | None = "console.log",
        grace: float = 5.0,
    ) -> None:
        self.n_jobs = usable_cores() if n_jobs is None else n_jobs
        self.threads = threads
        self.preload = list(preload)
        self.console = console
        self.grace = grace
        self.nursery: Nursery

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Fork the nursery, now: later there are threads and database connections."""
        check_ranges("hydra.launcher", vars(self), LAUNCHER)
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        # Resolve `${now:}` here, so that every job agrees on it.
        self.sweep_dir = str(config.hydra.sweep.dir)
        # Here, for the stock sweeper too: SQLite makes a file, but no directory for it.
        Path(self.sweep_dir).mkdir(parents=True, exist_ok=True)
        self.nursery = Nursery(self._run, self.preload, self.threads)

    def start(self, key: int, overrides: Sequence[str], number: int) -> None:
        """Start one job."""
        self.nursery.start(key, overrides, number)

    def wait(self, timeout: float) -> list[Ended]:
        """Jobs that have ended, waiting for the first at most `timeout` seconds."""
        return self.nursery.wait(timeout)

    def stop(self) -> None:
        """End the nursery and all jobs."""
        self.nursery.close()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch, `n_jobs` at a time, and return when all have ended."""
        todo = list(range(len(job_overrides)))
        outcomes: dict[int, Outcome] = {}
        running = 0
        while len(outcomes) < len(job_overrides):
            while todo and running < self.n_jobs:
                key = todo.pop(0)
                self.start(key, job_overrides[key], initial_job_idx + key)
                running += 1
            for ended in self.wait(1.0):
                outcomes[ended.key] = ended.outcome
                running -= 1
        return [_job_return(job_overrides[key], outcomes[key]) for key in sorted(outcomes)]

    def _run(self, overrides: Sequence[str], number: int) -> Any:
        """In the job's process: compose its config and run the task."""
        setup_globals()
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        if self.console is not None:
            directory = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))
            directory.mkdir(parents=True, exist_ok=True)
            redirect_output(str(directory / self.console))
        result = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if result.status is JobStatus.COMPLETED:
            return result.return_value
        error = result._return_value  # the property would print and hide the traceback
        raise error


def _job_return(overrides: Sequence[str], outcome: Outcome) -> JobReturn:
    result = JobReturn(overrides=list(overrides))
    if outcome.kind == "value":
        result.status = JobStatus.COMPLETED
        result.return_value = outcome.value
        return result
    result.status = JobStatus.FAILED
    result.return_value = RuntimeError(outcome.reason or outcome.kind)
    return result
