"""``python -m cvae.run``: train one model, or with ``-m`` search many.

A mistake in the config is found before a directory is made and before torch is imported.
"""

from __future__ import annotations

import sys

from cvae import terminal

if __name__ == "__main__":
    # The imports below take most of a second.
    terminal.interrupt_ends_at_once("Interrupted before anything was begun.\n")

import contextlib
import errno
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
    """The configs: beside the package in a source checkout, inside it once installed."""
    package = Path(__file__).resolve().parent
    inside = package / "_configs"
    return inside if inside.is_dir() else package.parent / "configs"


def set_waiting_of_threads() -> None:
    """How torch's threads wait for the next piece of work; before torch is imported.

    Threads that spin take a step to ten times its length beside any other busy process, threads
    that sleep at once to 1.6 times its length on a quiet machine (docs/performance.md). GNU's
    runtime, which torch brings on Linux, can do a little of the first; others sleep. A policy that
    the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit code."""
    if arguments is not None:
        sys.argv[1:] = arguments
    # Hydra would otherwise print and exit by itself, with code 1 and several lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    set_waiting_of_threads()
    terminal.libraries_may_warn()
    terminal.any_text_may_be_printed()
    # The store is one for the process and only read from here on; Hydra copies it, deeply, for
    # every group that --help lists and for every config that it composes.
    ConfigStore.__deepcopy__ = lambda store, _: store  # type: ignore[attr-defined]
    # What cannot be logged, on a full disk, shall not bury the line that says so in tracebacks.
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
        print(f"Interrupted. The same command goes on{where}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if _is_input_error(error):
            return _complain(str(error))
        # A run.log that cannot be opened is a ValueError to Python's logging.
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
            failures.append(error)  # past Hydra, which would print a line of its own
            return None

    decorate = hydra.main(
        version_base="1.3", config_path=str(config_directory()), config_name="config"
    )
    decorate(single_or_trial)()
    for failure in failures:
        raise failure


def job(config: DictConfig) -> float | tuple[float, ...]:
    """One run inside Hydra: check the config, then import torch and go."""
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
    """Check what can be checked before Hydra makes a directory; the arguments in Hydra's order."""
    known = command_line.parsed(arguments)
    if known.multirun and sys.flags.optimize:
        raise config_rules.ConfigError(
            ["python -O leaves out assertions that Hydra needs to read a search; start without -O"]
        )
    if "${" in os.getcwd():
        raise config_rules.ConfigError(
            [f"{os.getcwd()}: Hydra would read ${{...}} in the working directory's name; rename it"]
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
    from cvae import experiment

    experiment.check_input(settings)
    directory = Path(composed.hydra.run.dir)
    if directory.is_dir():  # an interrupted run's, as a rule
        experiment.check_directory(settings, directory)
    unused = command_line.only_for_a_search(composed, overrides)
    if unused:
        print(f"note: this is one run; with -m, {unused} begins a search", file=sys.stderr)


def _check_search(overrides: Sequence[str]) -> None:
    """Check what is the same in all trials."""
    with _every_error_named():
        fixed = command_line.check_overrides(overrides)
        try:
            composed = _compose(fixed, with_hydra=False)
        except (HydraException, OmegaConfBaseException):
            return  # it may hang on what is searched; Hydra will say
    try:
        config_rules.check(_resolved(composed))
    except config_rules.ConfigError as error:
        # What else is missing or does not fit may come with what is searched.
        given = {text.partition("=")[0].lstrip("+") for text in fixed}
        faults = [fault for fault in error.faults if fault.split()[0] in given]
        if faults:
            raise config_rules.ConfigError(faults) from None


def _compose(overrides: Sequence[str], *, with_hydra: bool) -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        return hydra.compose("config", list(overrides), return_hydra_config=with_hydra)


@contextlib.contextmanager
def _every_error_named() -> Iterator[None]:
    """Hydra has no words of its own for some: model=null, a number of 5,000 digits."""
    try:
        yield
    except (config_rules.ConfigError, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        raise config_rules.ConfigError([f"no override can be read so: {error}"]) from error


def _is_input_error(error: Exception) -> bool:
    """Whether one of our modules refused its input, in words meant for the user."""
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
