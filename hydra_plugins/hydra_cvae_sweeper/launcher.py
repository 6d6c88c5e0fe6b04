"""`hydra/launcher=cvae_local`: every job in a process of its own, several at once."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from . import _config
from ._nursery import Ended, Nursery, Outcome, is_pruned, redirect_output
from ._settings import LAUNCHER, check_ranges

# Hydra runs this module again after its singletons, and the store with them, were restored.
_config.register()


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
        if not str(config.hydra.sweeper._target_).startswith(__package__ + "."):
            # For the stock sweeper: SQLite makes a file, but no directory for it.
            Path(self.sweep_dir).mkdir(parents=True, exist_ok=True)
        self.nursery = Nursery(self._run, self.preload, self.threads)
        # For sweepers that do not know of `stop`: no process outlives its launcher.
        weakref.finalize(self, self.nursery.close)

    def start(self, key: int, overrides: Sequence[str], number: int) -> None:
        """Start one job."""
        self.nursery.start(key, list(overrides), number, False)

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
                self.nursery.start(key, list(job_overrides[key]), initial_job_idx + key, True)
                running += 1
            for ended in self.wait(1.0):
                outcomes[ended.key] = ended.outcome
                running -= 1
        return [_job_return(job_overrides[key], outcomes[key]) for key in sorted(outcomes)]

    def _run(self, overrides: Sequence[str], number: int, whole: bool) -> Any:
        """In the job's process: compose its config and run the task.

        Returns what the task returned; with `whole` the JobReturn, pickled, which only a launcher's
        batch needs and which is a hundred times as large.
        """
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
        if whole:
            return self._packed(result)
        if result.status is JobStatus.COMPLETED:
            return result.return_value
        error = result._return_value  # the property would print and hide the traceback
        raise error

    def _packed(self, result: JobReturn) -> tuple[bytes, str]:
        """A JobReturn as bytes, and its traceback, which a pickled exception has not."""
        text = ""
        if result.status is JobStatus.FAILED:
            text = "".join(traceback.format_exception(result._return_value))
            if self.console is not None and not is_pruned(result._return_value):
                sys.stderr.write(text)
        try:
            packed = pickle.dumps(result)
            pickle.loads(packed)  # an exception may be written and yet not be read
        except Exception as error:
            what = "result" if result.status is JobStatus.COMPLETED else "exception"
            said = "" if result.status is JobStatus.COMPLETED else f": {result._return_value!r}"
            result.status = JobStatus.FAILED
            result.return_value = RuntimeError(f"{what} not picklable ({error}){said}")
            packed = pickle.dumps(result)
        return packed, text


class JobTraceback(Exception):
    """Where in a job's process an exception was raised, as the cause of that exception."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _job_return(overrides: Sequence[str], outcome: Outcome) -> JobReturn:
    """What a job sent; for one that was killed, what is known of it."""
    if outcome.kind == "value":
        packed, text = outcome.value
        result: JobReturn = pickle.loads(packed)  # written by our own child
        # From 1.4 on, Hydra pickles tracebacks itself.
        if text and "__setstate__" not in vars(JobReturn):
            result._return_value.__cause__ = JobTraceback(text)
        return result
    result = JobReturn(overrides=list(overrides), task_name=JobRuntime.instance().get("name"))
    result.status = JobStatus.FAILED
    result.return_value = RuntimeError(outcome.reason or outcome.kind)
    return result
