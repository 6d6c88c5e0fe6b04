"""Finding run directories, and reading each of them into a ``Run``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from cvae.results.files import ResultsError, printable, read_text, read_yaml
from cvae.results.overrides import assignments

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None

STATUSES: Final = (
    *("complete", "pruned", "diverged", "failed", "interrupted", "running", "unreadable"),
)
"""The status of a run. The run itself writes the first three into ``result.json``; a search writes
``failed`` and ``interrupted`` into the ``unfinished.json`` of its trial. A run with neither file is
``running`` while a process holds its directory, and ``interrupted`` otherwise (killed, or just
started). ``unreadable``: the file exists but cannot be read."""

_WRITTEN: Final = STATUSES[:5]
_OF_A_RUN: Final = frozenset({"result.json", "unfinished.json", "checkpoint.safetensors"})
_OF_A_SEARCH: Final = "multirun.yaml"
_TRIAL: Final = re.compile(r"trial_(\d{5,18})(?:_\d+)?")


@dataclass
class Run:
    """What was read from one run directory: one row of the table."""

    path: Path
    status: str = "interrupted"
    reason: str | None = None
    objective: float | None = None
    objective_name: str | None = None
    parts: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    resolved: bool = False
    overrides: list[str] = field(default_factory=list)
    seed: int | None = None
    data_digest: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    steps: int | None = None
    started_at: str | None = None
    study: str | None = None
    number: int | None = None
    confirms: int | None = None
    continued_in: str | None = None
    assigned: dict[str, str] = field(default_factory=dict)
    choices: dict[str, str] | None = None


def find_runs(root: Path) -> list[Path]:
    """Return the run directories in ``root``, or ``root`` itself if it is one, in natural order.

    Raises:
        ResultsError: if there is none, or a directory cannot be listed.
    """
    runs = list(_walk(root))
    if not runs:
        raise ResultsError(f"{root}: holds no run (a directory with result.json or .hydra)")
    return runs


def _walk(root: Path) -> Iterator[Path]:
    waiting = [(root, False)]
    while waiting:
        directory, of_a_search = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                # Links are not followed: a link to a parent would make the walk endless.
                names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError as error:
            raise ResultsError(f"{directory}: cannot be listed: {error.strerror}") from error
        if not _OF_A_RUN.isdisjoint(names) or names.get(".hydra", False):
            yield directory
            continue
        below = [name for name, is_directory in names.items() if is_directory and name[0] != "."]
        # A search makes the directory of a trial before it starts it.
        made = of_a_search and all(name[0] == "." for name in names)
        if not below and (made or _TRIAL.fullmatch(directory.name)):
            yield directory
            continue
        of_a_search |= _OF_A_SEARCH in names
        below.sort(key=_natural, reverse=True)
        waiting += [(directory / name, of_a_search) for name in below]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which ``trial_2`` comes before ``trial_10``."""
    pieces = re.split(r"(\d+)", name)
    return [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces]


def read_run(directory: Path) -> Run:
    """Return what is known of the run in ``directory``; a damaged file gives its status."""
    name = "result.json"
    if not os.path.lexists(directory / name) and os.path.lexists(directory / "unfinished.json"):
        name = "unfinished.json"
    try:
        run = _run_from_result(directory, json.loads(read_text(directory / name)))
        run.resolved = bool(run.config)
    except FileNotFoundError:
        if _is_held(directory):
            run = Run(directory, "running")
        else:
            run = Run(directory, reason="no result.json: the run was killed, or has just begun")
    except _ShapeError as error:
        run = Run(directory, "unreadable", f"{name} {error}")
    except RecursionError:
        run = Run(directory, "unreadable", f"{name} is nested too deeply")
    except json.JSONDecodeError as error:
        run = Run(directory, "unreadable", f"{name} is no JSON: {error}")
    except (OSError, ValueError, OverflowError) as error:
        run = Run(directory, "unreadable", f"{name} cannot be read: {error}")
    if not run.config:
        _fill_from_hydra(run)
    run.assigned = assignments(run.overrides)
    if run.number is None:
        match = _TRIAL.fullmatch(directory.name)
        match = match or re.fullmatch(r"(?:trial_)?(\d{1,18})", directory.name)
        run.number = int(match[1]) if match else None
    return run


def continuation_of(run: Run) -> str | None:
    """Return the directory in which a search has continued this trial, if it has."""
    if run.continued_in is None:
        return None
    return os.path.normpath(os.path.join(os.path.realpath(run.path), run.continued_in))


def _is_held(directory: Path) -> bool:
    """Return whether a process holds the lock of the run in ``directory``.

    The test takes the lock itself for a moment, shared. A run that starts meanwhile waits for it.
    """
    if fcntl is None:
        return False
    try:
        with open(directory / ".lock", "rb", opener=_without_waiting) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, without blocking on a named pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class _ShapeError(ValueError):
    """The file is JSON, but not what a run or a search writes."""


def _run_from_result(directory: Path, result: object) -> Run:
    """Return the run that ``result.json`` or ``unfinished.json`` describes.

    Raises:
        _ShapeError: if a value does not have the type that a run writes.
    """
    top = _typed("the file", result, dict, {})
    status = top.get("status")
    if status not in _WRITTEN:
        raise _ShapeError(f"has status {status!r:.60}, none of {', '.join(_WRITTEN)}")
    run = Run(directory, str(status), _typed("reason", top.get("reason"), str, None))
    objective = _typed("objective", top.get("objective"), dict, {})
    value = objective.get("value")
    if not isinstance(value, list):
        run.objective = _number("objective.value", value)
    run.objective_name = _typed("objective.name", objective.get("name"), str, None)
    run.parts = _numbers("objective.parts", objective.get("parts"))
    metrics = _typed("metrics", top.get("metrics"), dict, {})
    run.metrics = {printable(k): _number(f"metrics.{k}", v) for k, v in metrics.items()}
    run.config = _typed("config", top.get("config"), dict, {})
    overrides = _typed("overrides", top.get("overrides"), list, [])
    run.overrides = [printable(_typed("overrides", override, str, "")) for override in overrides]
    run.seed = _whole("seed", top.get("seed"))
    run.data_digest = _typed("data_digest", top.get("data_digest"), str, None)
    run.seconds = _numbers("seconds", top.get("seconds"))
    run.steps = _whole("steps", top.get("steps"))
    run.started_at = _typed("started_at", top.get("started_at"), str, None)
    trial = _typed("trial", top.get("trial"), dict, {})
    run.continued_in = _typed("continued_in", top.get("continued_in"), str, None)
    run.study = _typed("trial.study", trial.get("study"), str, None)
    run.number = _whole("trial.number", trial.get("number"))
    run.confirms = _whole("trial.confirms", trial.get("confirms"))
    return run


def _typed(name: str, value: object, kind: type, default: Any) -> Any:
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _ShapeError(f"has {value!r:.60} as {name}, no {kind.__name__}")
    return value


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise _ShapeError(f"has {value!r:.60} as {name}, no number")
    return float(value)


def _numbers(name: str, value: object) -> dict[str, float]:
    pairs = {k: _number(f"{name}.{k}", v) for k, v in _typed(name, value, dict, {}).items()}
    return {k: v for k, v in pairs.items() if v is not None}


def _whole(name: str, value: object) -> int | None:
    number = _number(name, value)
    if number is None:
        return None
    if not number.is_integer() or abs(number) >= 2**63:
        raise _ShapeError(f"has {value!r:.60} as {name}, no whole number")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _fill_from_hydra(run: Run) -> None:
    """Read what Hydra wrote before the run started, as far as it can be read."""
    overrides = read_yaml(run.path / ".hydra" / "overrides.yaml")
    if isinstance(overrides, list):
        run.overrides = [printable(override) for override in overrides if isinstance(override, str)]
    config = read_yaml(run.path / ".hydra" / "config.yaml")
    if isinstance(config, dict):
        run.config = config
        seed = config.get("seed")
        if isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) < 2**63:
            run.seed = seed


def chosen_members(path: Path) -> dict[str, str]:
    """Return the chosen member of each config group, from the ``hydra.yaml`` that Hydra wrote.

    Only the block ``choices:`` is read, line by line: parsing the whole file as YAML would take
    longer than everything else together.
    """
    choices: dict[str, str] = {}
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError):
        return choices
    depth: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if depth is not None:
            if indent <= depth:
                break
            key, colon, value = line.strip().partition(": ")
            if colon:
                choices[key] = value.strip()
        elif line.strip() == "choices:":
            depth = indent
    return choices
