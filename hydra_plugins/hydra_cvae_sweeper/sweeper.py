"""The class that Hydra finds; the work is in `_loop`, imported late with Optuna."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from . import _config as _config
from ._errors import SweepError

# Hydra imports Optuna, to make a sampler, before it makes a sweeper; on the way these two would
# tell of their own set-up in many lines.
for _name in ("alembic", "matplotlib"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class CvaeOptunaSweeper(Sweeper):
    """Drives one Optuna study to its number of trials, whatever happens to the trials."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.sweeper: Any = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra with everything a sweep needs."""
        from ._loop import StudySweeper

        with _errors_as_one_line():
            self.sweeper = StudySweeper(self.settings)
            self.sweeper.setup(
                hydra_context=hydra_context, task_function=task_function, config=config
            )

    def sweep(self, arguments: list[str]) -> None:
        """Called by Hydra with the overrides of the command line."""
        with _errors_as_one_line():
            self.sweeper.sweep(arguments)


@contextlib.contextmanager
def _errors_as_one_line() -> Iterator[None]:
    """Say why the sweep ends; Hydra would add an advice about stack traces, which do not help."""
    try:
        yield
    except SweepError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.code) from error
