"""``python -m cvae.run``: train one model, or search with ``-m``.

Mistakes in the config are found before a directory is created and before torch is imported.
"""

from __future__ import annotations

import sys

from cvae import terminal

if __name__ == "__main__":
    # The imports below take most of a second.
    terminal.interrupt_ends_at_once("Interrupted before anything was started.\n")

import contextlib
import errno
import gc
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cvae import command_line
from cvae import config as config_rules

_LONGEST_LINE = 1000


def config_directory() -> Path:
    """The directory of the configs: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parent
    inside = package / "_configs"
    return inside if inside.is_dir() else package.parent / "configs"


def set_up_torch() -> None:
    """Set what torch reads from the environment when it is imported; keep what is already set.

    How threads wait for work: with threads that spin, a step takes up to ten times as long beside
    another busy process; with threads that sleep at once, it takes 1.6 times as long on a quiet
    machine. GNU's OpenMP runtime, which torch uses on Linux, can spin briefly before it sleeps;
    others sleep at once.

    How many compiled kernels oneDNN keeps: it compiles one for every shape. Words that end leave
    their batch, so decoding has hundreds of shapes, and training needs some sixty.
    docs/performance.md has the measurements.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    if arguments is not None:
        sys.argv[1:] = arguments
    # Otherwise Hydra prints several lines and exits by itself with code 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    set_up_torch()
    terminal.libraries_may_warn()
    terminal.any_text_may_be_printed()
    # Hydra deep-copies the store for every group that --help lists and every config that it
    # composes. The store is only read from here on, so no copy is needed.
    ConfigStore.__deepcopy__ = lambda store, _: store  # type: ignore[attr-defined]
    # On a full disk, tracebacks about log lines would hide the line that says what is wrong.
    logging.raiseExceptions = False
    try:
        sys.argv[1:] = _check_before_start(sys.argv[1:])
        terminal.interrupt_raises()
        _hydra_main()
    except config_rules.ConfigError as error:
        return _complain("\n".join(error.faults))
    except (HydraException, OmegaConfBaseException) as error:
        return _complain(command_line.explained(error, config_directory()))
    except KeyboardInterrupt as error:
        where = f" with hydra.run.dir={error}" if str(error) else ""
        print(f"Interrupted. To resume, repeat the same command{where}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if _is_input_error(error):
            return _complain(str(error))
        # Python's logging raises ValueError if run.log cannot be opened.
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        return _complain(_about_place(cause))
    return 0


def _hydra_main() -> None:
    failures: list[Exception] = []

    def single_or_trial(config: DictConfig) -> Any:
        try:
            return job(config)
        except Exception as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise
            failures.append(error)  # Hydra would print another line if it saw the error
            return None

    decorate = hydra.main(
        config_path=str(config_directory()), config_name="config", **command_line.VERSION_BASE
    )
    decorate(single_or_trial)()
    for failure in failures:
        raise failure


def job(config: DictConfig) -> float | tuple[float, ...]:
    """One run inside Hydra: check the config, import torch, train."""
    settings = _resolved(config)
    config_rules.check(settings)
    terminal.interrupt_ends_at_once("Interrupted before the training began.\n")
    from cvae import experiment

    terminal.interrupt_raises()
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    try:
        return experiment.run(settings, directory, list(hydra_config.overrides.task))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(directory) from None


def _resolved(config: DictConfig) -> dict[str, Any]:
    settings = OmegaConf.to_container(config, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _check_before_start(arguments: Sequence[str]) -> list[str]:
    """Check the command line before Hydra creates a directory; return it in Hydra's order."""
    known = command_line.parsed(arguments)
    if known.multirun and sys.flags.optimize:
        raise config_rules.ConfigError(
            ["python -O removes assertions that Hydra needs to read a search; start without -O"]
        )
    if "${" in os.getcwd():
        raise config_rules.ConfigError(
            [f"{os.getcwd()}: Hydra interprets ${{...}} in the working directory's name; rename it"]
        )
    special = (known.help, known.hydra_help, known.cfg, known.info)
    own_configs = (known.config_name, known.config_dir, known.config_path)
    if not any((*own_configs, *special)):
        check = _check_search if known.multirun else _check_run
        check(known.overrides)
    return command_line.in_hydras_order(arguments, known.overrides)


def _check_run(overrides: Sequence[str]) -> None:
    with _every_error_named():
        command_line.check_overrides(overrides)
        composed = _compose(overrides, with_hydra=True)
    ours = [str(key) for key in composed if key != "hydra"]
    settings = _resolved(OmegaConf.masked_copy(composed, ours))
    config_rules.check(settings)
    # What is imported stays; the collector need not walk through it, neither meanwhile nor later.
    gc.disable()
    from cvae import experiment

    gc.freeze()
    gc.enable()
    experiment.check_input(settings)
    directory = Path(composed.hydra.run.dir)
    if directory.is_dir():  # usually that of an interrupted run
        experiment.check_directory(settings, directory)
    unused = command_line.only_for_a_search(composed, overrides)
    if unused:
        print(f"note: this is one run; with -m, {unused} starts a search", file=sys.stderr)


def _check_search(overrides: Sequence[str]) -> None:
    """Check the values that are the same in all trials."""
    with _every_error_named():
        fixed = command_line.check_overrides(overrides)
        try:
            composed = _compose(fixed, with_hydra=False)
        except (HydraException, OmegaConfBaseException):
            return  # it may depend on a searched value; Hydra reports it later
    try:
        config_rules.check(_resolved(composed))
    except config_rules.ConfigError as error:
        # Other faults may be repaired by the searched values.
        given = {text.partition("=")[0].lstrip("+") for text in fixed}
        faults = [fault for fault in error.faults if fault.split()[0] in given]
        if faults:
            raise config_rules.ConfigError(faults) from None


def _compose(overrides: Sequence[str], *, with_hydra: bool) -> DictConfig:
    configs = str(config_directory())
    with hydra.initialize_config_dir(config_dir=configs, **command_line.VERSION_BASE):
        return hydra.compose("config", list(overrides), return_hydra_config=with_hydra)


@contextlib.contextmanager
def _every_error_named() -> Iterator[None]:
    """Turn errors that Hydra does not handle (model=null, a number of 5,000 digits) into ours."""
    try:
        yield
    except (config_rules.ConfigError, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        raise config_rules.ConfigError([f"an override cannot be read: {error}"]) from error


def _is_input_error(error: Exception) -> bool:
    """Whether one of our modules refused its input; its message is meant for the user."""
    return type(error).__module__.startswith("cvae.")


def _about_place(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"{error.filename or 'a file of the run'}: {error.strerror}"
    place = f"{error.filename}: " if error.filename else ""
    return (
        f"{place}{error.strerror or error}; choose a directory that can be written to with "
        "hydra.run.dir=DIRECTORY (hydra.sweep.dir with -m)"
    )


def _complain(message: str) -> int:
    for line in message.splitlines():
        shown = terminal.visible(line)
        shown = shown if len(shown) <= _LONGEST_LINE else shown[:_LONGEST_LINE] + "..."
        print(f"error: {shown}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        terminal.interrupt_is_late()
