"""The class that Hydra finds; the work is in `_sweep`, imported late with Optuna."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from . import _config
from ._deferred import OF_OPTUNA, deferred
from ._errors import SweepError
from ._files import visible

# Hydra runs this module again after its singletons, and the store with them, were restored.
_config.register()

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
        with deferred(OF_OPTUNA):
            from ._sweep import StudySweeper

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
        _end(str(error), error.code, error)
    except (HydraException, OmegaConfBaseException) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise  # the application, or the user, wants the error itself
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        _end(f"{error}{notes}", SweepError.code, error)
    except OSError as error:
        if error.filename is None:
            raise
        _end(f"{error.filename}: {error.strerror}", SweepError.code, error)


def _end(message: str, code: int, error: Exception) -> NoReturn:
    sys.stderr.write(f"error: {visible(' '.join(message.split()))}\n")
    raise SystemExit(code) from error
