"""Any number of run directories as pandas DataFrames: trials, curves, best, means, comparisons.

Everything is read from the files that each run writes (``result.json``, ``metrics.csv``, and
``.hydra/`` for a run that left no result); nothing is scraped from logs, and the networks are
never loaded. A run that failed, was pruned, was killed or left a damaged file is a row with a
status and a reason: a hole in the table would make a search look better than it was.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shlex
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
import yaml

from cvae import atomic
from cvae.ranges import did_you_mean

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None

STATUSES: Final = (
    *("complete", "pruned", "diverged", "failed", "interrupted", "running", "unreadable"),
)
"""What became of a run. The first three are written by the run itself, ``failed`` by the search
whose trial it was, into ``unfinished.json``; ``interrupted`` too, or there is neither file (the run
was killed, or has just begun); ``running`` means that a run holds the directory; ``unreadable``
that there is a file but it cannot be read."""

LOWER_IS_BETTER: Final = frozenset(
    {"cross_entropy", "edit_distance", "nll", "reconstruction", "seconds"}
    | {"dev_edit_distance", "dev_nll", "dev_reconstruction", "seconds_train", "seconds_evaluate"}
)
"""Columns that are sorted smallest first; every other one is sorted largest first."""

COUNTS: Final = frozenset(
    {"active_units", "distinct_paradigms", "dev_distinct_paradigms"}
    | {"gaussian_distinct", "gaussian_draws"}
)
"""Metrics that are whole numbers."""

PARETO: Final = ("objective_bleu4", "objective_gaussian_score")
"""Two parts of the objective that every run has, both to be maximised."""

PARTS: Final = (*PARETO, "objective_gaussian_variety")
"""All parts of the objective. Runs from before ``objective.generation`` have no variety."""

_HEAD: Final = ("run", "sweep", "study", "trial", "status", "reason", "objective", *PARTS)
_TAIL: Final = ("seconds", "seconds_train", "seconds_evaluate", "steps", "started_at")
_LAST: Final = (
    *("confirms", "objective_name", "objective_generation", "overrides", "configuration"),
)
_FIXED: Final = frozenset((*_HEAD, "seed", *_TAIL, *_LAST))
_WRITTEN: Final = STATUSES[:5]
_MISSING: Final = object()
_INT: Final = re.compile(r"[+-]?\d+(_\d+)*")
_WORD: Final = re.compile(r"[+-]?(inf|nan)")
_LARGEST_TEXT: Final = 256 * 2**20
_OF_A_RUN: Final = frozenset({"result.json", "unfinished.json", "checkpoint.safetensors"})
_OF_A_SEARCH: Final = "multirun.yaml"
_TRIAL: Final = re.compile(r"trial_(\d{5,18})(?:_\d+)?")
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BYTE: Final = re.compile(rb"\\x([0-9a-f]{2})")
_FLOAT: Final = re.compile(r"[+-]?((\d+(_\d+)*)?\.\d+|\d+(_\d+)*\.?)([eE][+-]?\d+)?")

Paths = str | os.PathLike[str]
Value = bool | int | float | str


class ResultsError(ValueError):
    """The results cannot be read or compared; the message is one clear line."""


@dataclass
class _Run:
    """One run directory as read: everything that becomes a row of the table."""

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


# --------------------------------------------------------------------------------------------
# Reading


def load(*paths: Paths | Iterable[Paths]) -> pd.DataFrame:
    """Return one row for every run in ``paths``, whatever became of it.

    Each path is a run directory, a sweep directory, or any directory above them, or a list of
    such; the rows keep the order of the paths and, within one, the natural order of the directory
    names. A run reached by two paths is one row, and so is a trial that was interrupted and went on
    in another directory, which is among the paths. A trial that was killed before it wrote anything
    is a row too.

    Columns: ``run`` (its directory), ``sweep`` (the directory that holds it), ``study`` and
    ``trial`` (name and number), ``status`` (one of ``STATUSES``), ``reason``, ``objective``
    (missing when it is a pair, as with ``objective=pareto``), its parts (``PARTS``), counted or
    not; then a column for every key that any of the runs overrides,
    typed, filled from the resolved configuration where a run does not override it; ``seed``;
    then every metric; ``seconds`` (and ``seconds_train``, ``seconds_evaluate``), ``steps``,
    ``started_at`` (UTC), ``confirms`` (of a repeat of one of a search's best trials under another
    seed, the number of that trial), ``objective_name``, ``objective_generation`` (which counts,
    ``variety`` or ``share``, where one does), ``overrides`` (as one would type them) and
    ``configuration`` (a digest: equal where the whole resolved configuration is, the seed
    included). A key or metric whose name is taken already is prefixed: ``config.objective``,
    ``metric.steps``.

    In texts, control characters are escaped and so are the bytes of a path that is not UTF-8
    (``caf\\xe9``), for no table format can hold them; ``directory_of`` gives the path.

    Raises:
        ResultsError: if a path does not exist, is no directory, or holds no run.
    """
    flat: list[Paths] = []
    for path in paths:
        flat += [path] if isinstance(path, str | os.PathLike) else _paths_of(path)
    if not flat:
        raise ResultsError("no path given: name a run, a sweep, or a directory above them")
    found: dict[str, Path] = {}
    for path in flat:
        for directory in _find_runs(_directory(path)):
            found.setdefault(os.path.realpath(directory), directory)
    runs = [_read_run(directory) for directory in found.values()]
    return _frame([run for run in runs if _place_it_went_on(run) not in found])


def _place_it_went_on(run: _Run) -> str | None:
    """Return the directory in which a search has continued this trial, if it has."""
    if run.continued_in is None:
        return None
    return os.path.normpath(os.path.join(os.path.realpath(run.path), run.continued_in))


def _paths_of(several: object) -> list[Paths]:
    paths: list[Paths] = []
    is_list = isinstance(several, Iterable) and not isinstance(several, bytes)
    for path in several if is_list else [several]:  # type: ignore[attr-defined]
        if not isinstance(path, str | os.PathLike):
            raise ResultsError(f"{path!r:.60} is no path: name a directory, or a list of them")
        paths.append(path)
    return paths


def _directory(path: Paths) -> Path:
    if not os.fspath(path):
        raise ResultsError("an empty path; name a directory, the one you are in as '.'")
    directory = Path(path)
    try:
        exists = directory.exists()
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL character
        reason = getattr(error, "strerror", None) or error
        raise ResultsError(f"{directory}: cannot be read: {reason}") from error
    if not exists:
        raise ResultsError(f"{directory}: no such directory")
    if not directory.is_dir():
        raise ResultsError(f"{directory}: is a file; name a run, a sweep, or a directory above")
    # "." and ".." have no name to show, and no parent that could be told apart.
    return directory.resolve() if directory.name in ("", "..") else directory


def _find_runs(root: Path) -> list[Path]:
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


def _read_run(directory: Path) -> _Run:
    name = "result.json"
    if not os.path.lexists(directory / name) and os.path.lexists(directory / "unfinished.json"):
        name = "unfinished.json"
    try:
        run = _run_from_result(directory, json.loads(read_text(directory / name)))
        run.resolved = bool(run.config)
    except FileNotFoundError:
        if _is_held(directory):
            run = _Run(directory, "running")
        else:
            run = _Run(directory, reason="no result.json: the run was killed, or has just begun")
    except _ShapeError as error:
        run = _Run(directory, "unreadable", f"{name} {error}")
    except RecursionError:
        run = _Run(directory, "unreadable", f"{name} is nested too deeply")
    except json.JSONDecodeError as error:
        run = _Run(directory, "unreadable", f"{name} is no JSON: {error}")
    except (OSError, ValueError, OverflowError) as error:
        run = _Run(directory, "unreadable", f"{name} cannot be read: {error}")
    if not run.config:
        _fill_from_hydra(run)
    run.assigned = _assignments(run.overrides)
    if run.number is None:
        match = _TRIAL.fullmatch(directory.name)
        match = match or re.fullmatch(r"(?:trial_)?(\d{1,18})", directory.name)
        run.number = int(match[1]) if match else None
    return run


def _is_held(directory: Path) -> bool:
    """Whether a run is at work in ``directory``: it holds the lock there.

    This takes the lock for a moment, shared, which a run that begins just then waits for.
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
    """Open a file, without waiting for the other end of a named pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_text(path: Path) -> str:
    """Return the content of a regular file of at most ``_LARGEST_TEXT`` bytes.

    Raises:
        OSError: if there is none, or it is something else: a named pipe would be waited for, and
            a device may never end.
        UnicodeDecodeError: if it is no UTF-8.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    if about.st_size > _LARGEST_TEXT:
        raise OSError(errno.EFBIG, f"larger than {_LARGEST_TEXT:,} bytes", str(path))
    return path.read_text(encoding="utf-8")


def _clean(text: str) -> str:
    """Return ``text`` as any table format can hold it.

    Escaped are control characters but for tab and line feed, bytes that were no UTF-8, and lone
    surrogates, which JSON can name.
    """
    return _UNPRINTABLE.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code < 0xDD00:  # what Python makes of the byte of a path that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def directory_of(run: str) -> Path:
    """Return the directory that a value of the column ``run`` names."""
    path, name = Path(run), os.fsencode(run)
    if not _BYTE.search(name) or path.exists():
        return path
    return Path(os.fsdecode(_BYTE.sub(lambda found: bytes([int(found[1], 16)]), name)))


class _ShapeError(ValueError):
    """The file is JSON, but not what a run or a search writes."""


def _run_from_result(directory: Path, result: object) -> _Run:
    """Return the run that ``result.json`` or ``unfinished.json`` describes.

    Raises:
        _ShapeError: if a value has not the type that the run writes.
    """
    top = _typed("the file", result, dict, {})
    status = top.get("status")
    if status not in _WRITTEN:
        raise _ShapeError(f"has status {status!r:.60}, none of {', '.join(_WRITTEN)}")
    run = _Run(directory, str(status), _typed("reason", top.get("reason"), str, None))
    objective = _typed("objective", top.get("objective"), dict, {})
    value = objective.get("value")
    if not isinstance(value, list):
        run.objective = _number("objective.value", value)
    run.objective_name = _typed("objective.name", objective.get("name"), str, None)
    run.parts = _numbers("objective.parts", objective.get("parts"))
    metrics = _typed("metrics", top.get("metrics"), dict, {})
    run.metrics = {_clean(k): _number(f"metrics.{k}", v) for k, v in metrics.items()}
    run.config = _typed("config", top.get("config"), dict, {})
    overrides = _typed("overrides", top.get("overrides"), list, [])
    run.overrides = [_clean(_typed("overrides", override, str, "")) for override in overrides]
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


def _fill_from_hydra(run: _Run) -> None:
    """Read what Hydra wrote before the run began; what cannot be read is left out."""
    overrides = read_yaml(run.path / ".hydra" / "overrides.yaml")
    if isinstance(overrides, list):
        run.overrides = [_clean(override) for override in overrides if isinstance(override, str)]
    config = read_yaml(run.path / ".hydra" / "config.yaml")
    if isinstance(config, dict):
        run.config = config
        seed = config.get("seed")
        if isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) < 2**63:
            run.seed = seed


def read_yaml(path: Path) -> object:
    """Return what a file of Hydra's holds; None where there is none or it cannot be read."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, if it was built
    try:
        text = read_text(path)
        # Hydra writes no references, and a few lines of them stand for more than any memory holds.
        if "*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, loader)):
            return None
        return yaml.load(text, Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


# --------------------------------------------------------------------------------------------
# Overrides and configuration as typed columns


def _assignments(overrides: Iterable[str]) -> dict[str, str]:
    """Return the last value given to each key; deletions and Hydra's own keys are left out."""
    assigned: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        key = key.strip().lstrip("+")
        if equals and key and key[0] != "~" and not key.startswith(("hydra.", "hydra/")):
            assigned[key] = value.strip()
    return assigned


def _parse(text: str) -> Value | None:
    """Return the value that Hydra's grammar gives ``text``: ``1e-3`` is a number, "8" a text."""
    lowered = text.lower()
    if lowered in ("null", ""):
        return None
    if lowered in ("true", "false"):
        return lowered == "true"
    if _INT.fullmatch(text) and len(text) < 19:
        return int(text)
    if _FLOAT.fullmatch(text) or _WORD.fullmatch(lowered):
        return float(text)
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].replace("\\" + text[0], text[0])
    return text


def _lookup(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return _MISSING
        node = node[part]
    return node


def _value(run: _Run, key: str) -> Value | None:
    """Return what ``key`` was in ``run``: a typed value, or the chosen member of a group."""
    node = _lookup(run.config, key)
    if node is not _MISSING and not isinstance(node, dict):
        if isinstance(node, list):
            # Lists cannot be grouped or sorted in a table; their text can.
            return json.dumps(node, separators=(",", ":"))
        # The configuration of a killed run is not resolved: ${...} says nothing about the value.
        if not (isinstance(node, str) and "${" in node):
            if isinstance(node, bool | int | float | str):
                return node
            return None
    if key in run.assigned:
        return _parse(run.assigned[key])
    if run.choices is None:
        run.choices = _choices(run.path / ".hydra" / "hydra.yaml")
    if key in run.choices:
        return _parse(run.choices[key])
    if isinstance(node, dict) and isinstance(node.get("name"), str):
        return str(node["name"])
    return None


def _choices(path: Path) -> dict[str, str]:
    """Return the chosen member of each config group, from Hydra's own record.

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


def _frame(runs: Sequence[_Run]) -> pd.DataFrame:
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.assigned)]
    metric_columns = {name: f"metric.{name}" if name in _FIXED else name for name in metrics}
    taken = _FIXED | set(metric_columns.values())
    parameter_columns = {
        key: f"config.{key}" if key in taken else key for key in keys if key != "seed"
    }
    columns: dict[str, Any] = {
        "run": _texts(str(run.path) for run in runs),
        "sweep": _texts(str(run.path.parent) for run in runs),
        "study": _texts(run.study for run in runs),
        "trial": pd.array([run.number for run in runs], dtype="Int64"),
        "status": _texts(run.status for run in runs),
        "reason": _texts(run.reason for run in runs),
        "objective": _floats(run.objective for run in runs),
        "objective_bleu4": _floats(run.parts.get("bleu4") for run in runs),
        "objective_gaussian_score": _floats(run.parts.get("gaussian_score") for run in runs),
        "objective_gaussian_variety": _floats(run.parts.get("gaussian_variety") for run in runs),
    }
    for key, column in parameter_columns.items():
        columns[column] = _typed_column([_value(run, key) for run in runs])
    seeds = [_parse(run.assigned.get("seed", "")) if run.seed is None else run.seed for run in runs]
    columns["seed"] = pd.array(
        [seed if isinstance(seed, int) else None for seed in seeds], dtype="Int64"
    )
    for name, column in metric_columns.items():
        columns[column] = _measured(name, [run.metrics.get(name) for run in runs])
    columns["seconds"] = _floats(run.seconds.get("total") for run in runs)
    columns["seconds_train"] = _floats(run.seconds.get("train") for run in runs)
    columns["seconds_evaluate"] = _floats(run.seconds.get("evaluate") for run in runs)
    columns["steps"] = pd.array([run.steps for run in runs], dtype="Int64")
    started_at = pd.to_datetime(
        pd.Series([run.started_at for run in runs], dtype="str"),
        format="ISO8601",
        utc=True,
        errors="coerce",
    )
    # Excel knows no time zones: pandas would refuse to write the table.
    columns["started_at"] = started_at.dt.tz_localize(None)
    columns["confirms"] = pd.array([run.confirms for run in runs], dtype="Int64")
    columns["objective_name"] = _texts(run.objective_name for run in runs)
    columns["objective_generation"] = _texts(_generation(run) for run in runs)
    columns["overrides"] = _texts(shlex.join(run.overrides) for run in runs)
    columns["configuration"] = _texts(_digest(run) for run in runs)
    frame = pd.DataFrame(columns)
    frame.attrs["parameters"] = list(parameter_columns.values())
    frame.attrs["metrics"] = list(metric_columns.values())
    return frame


def _generation(run: _Run) -> str | None:
    """Return ``objective.generation``; before there was the key, the score itself counted."""
    objective = run.config.get("objective")
    if not isinstance(objective, dict) or objective.get("name") == "bleu":
        return None
    return str(objective.get("generation", "share"))


def _own_data(run: _Run) -> list[str]:
    """Return what the user's own files held: two may have one relative path."""
    data = run.config.get("data")
    is_own = isinstance(data, dict) and data.get("name") == "files"
    return [run.data_digest] if is_own and run.data_digest else []


def _digest(run: _Run) -> str | None:
    """Return a digest of the whole configuration, if it is known."""
    if not run.resolved:
        return None
    config = dict(run.config)
    if isinstance(config.get("evaluation"), dict):  # a picture changes nothing, and is a new key
        config["evaluation"] = {**config["evaluation"]}
        config["evaluation"].pop("latent_places", None)
    try:
        text = json.dumps([config, run.seed, *_own_data(run)], sort_keys=True)
    except RecursionError:  # nested by the hundred, and none of ours
        return None
    # The prefix keeps a reader of CSV from taking sixteen digits for a number.
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _texts(values: Iterable[str | None]) -> pd.Series[Any]:
    clean = [None if v is None else _clean(v) for v in values]
    return pd.Series(clean, dtype="str")


def _floats(values: Iterable[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)


def _measured(name: str, values: Sequence[float | None]) -> Any:
    if name in COUNTS and all(v is None or (v.is_integer() and abs(v) < 2**53) for v in values):
        return pd.array([None if v is None else int(v) for v in values], dtype="Int64")
    return _floats(values)


def _typed_column(values: Sequence[Value | None]) -> pd.Series[Any]:
    """Return the narrowest column that holds ``values``: bool, int, float, else text."""
    present = [value for value in values if value is not None]
    missing = len(present) < len(values)
    if present and all(isinstance(v, bool) for v in present):
        return pd.Series(values, dtype="boolean" if missing else "bool")
    if present and not any(isinstance(v, bool | str) for v in present):
        if all(isinstance(v, int) and abs(v) < 2**63 for v in present):
            return pd.Series(values, dtype="Int64" if missing else "int64")
        return pd.Series([math.nan if v is None else float(v) for v in values], dtype="float64")
    return _texts(None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values)


# --------------------------------------------------------------------------------------------
# What stands in a table


def parameters(frame: pd.DataFrame) -> list[str]:
    """Return the columns of ``frame`` that hold overridden keys."""
    known = frame.attrs.get("parameters")
    if known is not None:
        return [column for column in known if column in frame.columns]
    return _between(frame, PARETO[-1], "seed")


def metrics(frame: pd.DataFrame) -> list[str]:
    """Return the columns of ``frame`` that hold final metrics."""
    known = frame.attrs.get("metrics")
    if known is not None:
        return [column for column in known if column in frame.columns]
    return _between(frame, "seed", "seconds")


def _between(frame: pd.DataFrame, after: str, before: str) -> list[str]:
    # Tables read back from CSV, or concatenated, lose pandas' attrs but keep load()'s order.
    columns = list(frame.columns)
    if after not in columns or before not in columns:
        return []
    between = columns[columns.index(after) + 1 : columns.index(before)]
    return [column for column in between if column not in _FIXED]


def varied(frame: pd.DataFrame) -> list[str]:
    """Return the overridden keys that have more than one value in ``frame``."""
    return [key for key in parameters(frame) if frame[key].nunique(dropna=False) > 1]


def lower_is_better(column: str) -> bool:
    """Return whether smaller values of ``column`` are better ones."""
    return column in LOWER_IS_BETTER or "edit_distance" in column


def labels(frame: pd.DataFrame) -> pd.Series[str]:
    """Return a short name for each run, unique in ``frame``.

    It is the directory's name (``trial_00012`` as ``12``), with as many of its parents as tell
    the runs apart: ``latent_size/12``.
    """
    paths = [Path(run).parts for run in frame["run"]]
    ends = [re.sub(r"^trial_0*(?=\d)", "", path[-1]) for path in paths]
    depth, names = 0, ends
    while len(set(names)) < len(names) and depth < max(map(len, paths)):
        depth += 1
        names = [
            "/".join([*path[-1 - depth : -1], end]) for path, end in zip(paths, ends, strict=True)
        ]
    return pd.Series(names, index=frame.index, dtype="str")


def numeric_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns by which trials can be ranked."""
    return [
        str(column)
        for column in frame.columns
        if pd.api.types.is_numeric_dtype(frame[column]) and frame[column].dtype != bool
    ]


def require_columns(frame: pd.DataFrame, columns: Iterable[str], *, numeric: bool = False) -> None:
    """Raise ``ResultsError`` at the first of ``columns`` that ``frame`` has not."""
    allowed = numeric_columns(frame) if numeric else [str(column) for column in frame.columns]
    for column in columns:
        if column not in allowed:
            what = "numeric column" if numeric else "column"
            raise ResultsError(f"no {what} {column!r}: {_choices_for(column, allowed)}")


def _choices_for(wanted: object, allowed: Sequence[str]) -> str:
    hint = did_you_mean(str(wanted), allowed)
    return f"{hint}{'Choose' if hint else 'choose'} from {', '.join(allowed)}"


def compact(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a view of ``frame`` that fits a screen: few columns, short names of the runs.

    The index is ``labels``; the columns are the status, the objective and its parts, every varied
    key, the seed, ``dev_exact_match``, ``gaussian_distinct`` and the seconds, where there are any.
    """
    names = ["status", "objective", *PARETO, *varied(frame), "seed"]
    names += ["dev_exact_match", "gaussian_distinct", "seconds"]
    shown = [name for name in dict.fromkeys(names) if name in frame and frame[name].notna().any()]
    return frame[shown].set_axis(pd.Index(labels(frame), name="run"))


def configuration(run: str) -> dict[str, Any]:
    """Return the resolved configuration of the run in directory ``run``; {} if it is not known."""
    found = _read_run(directory_of(run))
    return found.config if found.resolved else {}


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    require_columns(frame, ["status"])
    complete = frame[frame["status"] == "complete"]
    if complete.empty:
        raise ResultsError(f"none of the {len(frame)} runs is complete: there is nothing to rank")
    return complete


def repeats(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.Series[bool]:
    """Return for each run whether it is complete and repeats one above it.

    A repeat has the same resolved configuration, the seed included: it says nothing that the
    other has not said, and counted as one more run it would make an interval too narrow. Only
    runs that also agree in the columns ``by`` are compared. A run whose configuration is not
    known is none, as in a table without the column ``configuration``.
    """
    again = np.zeros(len(frame), dtype=bool)
    if "configuration" in frame.columns:
        known = (frame["status"] == "complete") & frame["configuration"].notna()
        # By position: concatenated tables have each label several times.
        again[known.to_numpy(dtype=bool)] = frame[known].duplicated(["configuration", *by])
    return pd.Series(again, index=frame.index)


def _without_repeats(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    again = repeats(frame, by)
    if again.any():
        warnings.warn(f"{about_repeats(again)}, and not counted again", stacklevel=3)
    return frame[~again]


def about_repeats(again: pd.Series[bool]) -> str:
    """Return the words for what ``repeats`` found."""
    one = int(again.sum()) == 1
    return (
        f"{again.sum()} of {len(again)} runs {'is an exact repeat' if one else 'are exact repeats'}"
        f" (the same configuration and seed)"
    )


# --------------------------------------------------------------------------------------------
# Curves, conversions and samples

CURVE_FILES: Final = {
    "evaluations": "metrics.csv",
    "epochs": "epochs.csv",
    "losses": "losses.csv",
}
"""What a run records over its training, by the grain of the rows."""

Source: TypeAlias = "pd.DataFrame | Paths | Sequence[Paths]"
"""A table from ``load`` (or some of its rows), a path, or several."""

Damaged = Literal["raise", "warn"]
"""Whether a damaged file is an error (naming it), or leaves its run out with a warning."""


def curves(source: Source, *, of: str = "evaluations", damaged: Damaged = "raise") -> pd.DataFrame:
    """Return what every run recorded during training, one row per run and evaluation.

    ``of`` is the grain: ``evaluations``, ``epochs``, or ``losses`` for means over a few steps.
    Columns: ``run``, ``sweep``, ``trial``, ``seed``, ``status`` and ``objective`` (the run's, as
    in ``load``), every varied key, then those of the file. A run without the file has no rows.

    Raises:
        ResultsError: if a file is damaged, unless ``damaged="warn"``; if ``of`` is none of these.
    """
    if of not in CURVE_FILES:
        raise ResultsError(f"of is {of!r}: {_choices_for(of, list(CURVE_FILES))}")
    frame = _loaded(source)
    table, damage = read_curves(list(frame["run"]), CURVE_FILES[of])
    return _with_runs(frame, table, damage, damaged)


def conversions(source: Source, *, damaged: Damaged = "raise") -> pd.DataFrame:
    """Return every conversion that every run wrote, one row per run and conversion.

    Columns: those of ``curves`` that are of the run, then those of ``conversions.csv``. Only runs
    that ended have the file.

    Raises:
        ResultsError: as ``curves``.
    """
    numbers = ("correct", "bleu4", "edit_distance", "regular")
    return _words_of_runs(source, "conversions.csv", numbers, damaged)


def samples(source: Source, *, damaged: Damaged = "raise") -> pd.DataFrame:
    """Return every paradigm that every run generated: as ``conversions``, of ``samples.csv``."""
    return _words_of_runs(source, "samples.csv", ("draw", "training_row", "real_verb"), damaged)


def _loaded(source: Source) -> pd.DataFrame:
    if not isinstance(source, pd.DataFrame):
        source = load(source) if isinstance(source, str | os.PathLike) else load(*source)
    require_columns(source, ["run", "sweep", "trial", "seed", "status", "objective"])
    return source


def _with_runs(
    frame: pd.DataFrame, table: pd.DataFrame, damage: Mapping[int, str], damaged: Damaged
) -> pd.DataFrame:
    """Return ``table`` with the columns of its runs, which ``_row`` names, before its own."""
    for message in damage.values():
        if damaged == "raise":
            raise ResultsError(message)
        warnings.warn(message, stacklevel=3)
    keys = ["run", "sweep", "trial", "seed", "status", "objective"]
    keys += [key for key in varied(frame) if key not in table.columns]
    about = frame[keys].reset_index(drop=True).iloc[table.pop("_row").to_numpy(dtype=int)]
    return pd.concat([about.reset_index(drop=True), table.reset_index(drop=True)], axis=1)


def _words_of_runs(
    source: Source, name: str, numbers: Sequence[str], damaged: Damaged
) -> pd.DataFrame:
    frame = _loaded(source)
    damage: dict[int, str] = {}
    tables: list[pd.DataFrame] = []
    for row, run in enumerate(frame["run"]):
        path = directory_of(run) / name
        try:
            # Words stay words: "null" and "nan" are what a model may say.
            table = pd.read_csv(StringIO(read_text(path)), dtype="str", keep_default_na=False)
            for column in numbers:
                table[column] = pd.to_numeric(table[column])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            damage[row] = f"{path}: is damaged: {' '.join(str(error).split()):.100}"
            continue
        table["_row"] = row
        tables.append(table)
    empty = pd.DataFrame({"_row": pd.Series(dtype="int64")})
    return _with_runs(
        frame, pd.concat(tables, ignore_index=True) if tables else empty, damage, damaged
    )


def read_curves(
    runs: Sequence[str], name: str = CURVE_FILES["evaluations"]
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return every file ``name`` in one table, and what is wrong with those that are damaged.

    The table's column ``_row`` is the position of the run in ``runs``; the dictionary is keyed
    by that position too. A run without the file has neither rows nor damage.
    """
    by_header: dict[str, list[tuple[int, str]]] = {}
    damage: dict[int, str] = {}
    for row, run in enumerate(runs):
        path = directory_of(run) / name
        try:
            header, _, body = read_text(path).partition("\n")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            damage[row] = f"{path}: cannot be read: {error}"
            continue
        if not header.strip():
            damage[row] = f"{path}: is empty"
        elif body.strip():
            by_header.setdefault(header, []).append((row, body.rstrip("\n")))
    tables: list[pd.DataFrame] = []
    for header, bodies in by_header.items():
        # One parse for all runs: a parser per run costs more than reading the file. If any
        # body is damaged the joint parse fails, and each is parsed alone to find which.
        joint = _parse_numbers(header, "\n".join(body for _, body in bodies))
        counts = [body.count("\n") + 1 for _, body in bodies]
        if joint is not None and len(joint) == sum(counts):
            joint["_row"] = np.repeat([row for row, _ in bodies], counts)
            tables.append(joint)
            continue
        for row, body in bodies:
            alone = _parse_numbers(header, body)
            if alone is None:
                damage[row] = f"{Path(runs[row]) / name}: is no table of numbers"
            else:
                alone["_row"] = row
                tables.append(alone)
    if not tables:
        return pd.DataFrame({"_row": pd.Series(dtype="int64")}), damage
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values("_row", kind="stable", ignore_index=True), damage


def _parse_numbers(header: str, body: str) -> pd.DataFrame | None:
    columns = header.strip().split(",")
    if len(set(columns)) != len(columns):
        return None
    if any(line.count(",") != len(columns) - 1 for line in body.split("\n")):
        return None
    try:
        table = pd.read_csv(StringIO(body), header=None, names=columns, index_col=False)
    except (ValueError, pd.errors.ParserError):
        return None
    if not all(pd.api.types.is_numeric_dtype(table[column]) for column in columns):
        return None
    return table


# --------------------------------------------------------------------------------------------
# Ranking


def best(
    frame: pd.DataFrame, n: int = 1, by: str = "objective", *, ascending: bool | None = None
) -> pd.DataFrame:
    """Return the ``n`` best complete runs by the numeric column ``by``, best first.

    A pruned run is left out: its last value was measured earlier in training than the others.
    ``ascending`` is chosen by ``lower_is_better`` unless it is given.

    Raises:
        ResultsError: if there is no such column, no complete run, or no value in the column.
    """
    if n < 1:
        raise ResultsError(f"n is {n}: at least 1 run must be asked for")
    require_columns(frame, [by], numeric=True)
    ranked = _complete(frame).dropna(subset=[by])
    if ranked.empty:
        if by == "objective" and frame[PARETO[0]].notna().any():
            raise ResultsError(
                f"these runs have a pair as objective: rank them by {' or '.join(pair(frame))}, "
                "or take results.pareto(frame)"
            )
        raise ResultsError(f"no complete run has a value in {by!r}")
    order = lower_is_better(by) if ascending is None else ascending
    return ranked.sort_values(by, ascending=order, kind="stable").head(n)


def pair(frame: pd.DataFrame) -> tuple[str, str]:
    """Return the two parts of the objective that the runs in ``frame`` are compared by.

    BLEU-4 and the variety, if that counts in all complete runs; else the Gaussian score, which
    every run has.
    """
    if "objective_generation" in frame.columns:
        counted = frame.loc[frame["status"] == "complete", "objective_generation"]
        if len(counted) and (counted == "variety").all():
            return PARTS[0], PARTS[2]
    return PARETO


def pareto(frame: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the complete runs that no other complete run beats in all of ``by``.

    A run beats another if it is at least as good in every column and better in one. ``by`` is
    ``pair(frame)`` unless it is given. Sorted by the first column, best first.

    Raises:
        ResultsError: if there is no such column or no complete run with values in all of them.
    """
    by = pair(frame) if by is None else by
    require_columns(frame, by, numeric=True)
    ranked = _complete(frame).dropna(subset=list(by))
    if ranked.empty:
        raise ResultsError(f"no complete run has values in {' and '.join(by)}")
    signs = np.array([-1.0 if lower_is_better(column) else 1.0 for column in by])
    points = ranked[list(by)].to_numpy(dtype=float) * signs
    # Best first in lexicographic order: a point can then only be beaten by one before it.
    order = np.lexsort(tuple(-points[:, i] for i in reversed(range(len(by)))))
    front: list[int] = []
    for i in order:
        at_least = (points[front] >= points[i]).all(axis=1)
        if not (at_least & (points[front] > points[i]).any(axis=1)).any():
            front.append(int(i))
    return ranked.iloc[front]


# --------------------------------------------------------------------------------------------
# Seeds and groups


def _half_width(
    std: np.ndarray[Any, Any], n: np.ndarray[Any, Any], confidence: float
) -> np.ndarray[Any, Any]:
    """Return half the t interval of a mean; NaN for fewer than two values."""
    # Late: it takes as long to import as everything else, and most commands need no interval.
    from scipy.special import stdtrit

    degrees = np.where(n > 1, n - 1, math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(stdtrit(degrees, 0.5 + confidence / 2) * std / np.sqrt(n))


def aggregate(
    frame: pd.DataFrame,
    by: Sequence[str] | str | None = None,
    metrics: Sequence[str] | str | None = None,
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return one row per configuration: the mean of its complete runs, over seeds.

    ``by`` names the columns that make a configuration (default: every varied key; the seed is
    none). ``metrics`` defaults to the objective and its parts. Exact repeats (see ``repeats``)
    count once, with a warning. Columns: ``by``, ``runs``,
    ``not_complete`` (how many of the runs the means leave out), then for each metric ``m``:
    ``m_mean``, ``m_std`` (of the sample), ``m_n``, ``m_low`` and ``m_high`` (the t interval of
    the mean; missing for a single run). Sorted by the first metric, best first.

    Raises:
        ResultsError: if a column does not exist, or no run is complete.
    """
    if not 0 < confidence < 1:
        raise ResultsError(f"confidence is {confidence}: it must be between 0 and 1")
    keys = [by] if isinstance(by, str) else list(varied(frame) if by is None else by)
    if metrics is None:
        metrics = [c for c in ("objective", *PARTS) if c in frame and frame[c].notna().any()]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    require_columns(frame, keys)
    require_columns(frame, names, numeric=True)
    _complete(frame)
    frame = _without_repeats(frame, keys)
    is_complete = frame["status"] == "complete"
    table = frame[keys].copy()
    table["runs"] = 1
    table["not_complete"] = (~is_complete).astype(int)
    for name in names:
        table[f"_{name}"] = frame[name].astype(float).where(is_complete)
    if keys:
        groups = table.groupby(keys, dropna=False, sort=False, observed=True)
    else:
        groups = table.groupby(np.zeros(len(table), dtype=int))
    summary = groups[["runs", "not_complete"]].sum()
    for name in names:
        values = groups[f"_{name}"]
        mean, std, n = values.mean(), values.std(ddof=1), values.count()
        half = _half_width(std.to_numpy(), n.to_numpy(), confidence)
        summary[f"{name}_mean"], summary[f"{name}_std"], summary[f"{name}_n"] = mean, std, n
        summary[f"{name}_low"], summary[f"{name}_high"] = mean - half, mean + half
    summary = summary.reset_index(drop=not keys)
    if names:
        summary = summary.sort_values(
            f"{names[0]}_mean",
            ascending=lower_is_better(names[0]),
            kind="stable",
            ignore_index=True,
        )
    return summary


def compare(
    frame: pd.DataFrame,
    group: str | Sequence[str],
    metric: str = "objective",
    *,
    baseline: Value | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare the groups of complete runs that ``group`` makes, by ``metric``.

    Exact repeats (see ``repeats``) count once, with a warning. Columns: ``group``'s, ``n``,
    ``not_complete`` (how many of the group's runs are left out: a group may have no others),
    ``mean``, ``std``, ``low``, ``high`` (t interval of the mean),
    ``difference`` to the reference group with ``difference_low``, ``difference_high`` and
    ``p_value``, all three from Welch's t-test (two samples, unequal variances, two-sided), and
    ``p_holm``: the same corrected for the number of comparisons (Holm 1979). The reference is
    the group with the best mean, or ``baseline`` (a value of a single ``group`` column). With
    the best group as reference the p-values are a little too small, since it was chosen for
    being best. A group of one run has no interval and no test. Best group first; the method
    also stands in the table's ``attrs["method"]``.

    Raises:
        ResultsError: if a column or the baseline does not exist, or no run is complete.
    """
    from scipy.special import stdtr, stdtrit

    keys = [group] if isinstance(group, str) else list(group)
    if not keys:
        raise ResultsError("no group given: name at least one column")
    require_columns(frame, keys)
    frame = _without_repeats(frame, keys)
    summary = aggregate(frame, keys, metric, confidence=confidence)
    if not summary[f"{metric}_n"].any():
        raise ResultsError(f"no complete run has a value in {metric!r}")
    table = summary[keys].copy()
    table["n"], table["not_complete"] = summary[f"{metric}_n"], summary["not_complete"]
    for name in ("mean", "std", "low", "high"):
        table[name] = summary[f"{metric}_{name}"]
    reference = 0
    if baseline is not None:
        if len(keys) != 1:
            raise ResultsError("a baseline needs a single group column")
        measured = table[table["n"] > 0]
        matches = np.flatnonzero((measured[keys[0]] == baseline).fillna(False).to_numpy(dtype=bool))
        if len(matches) == 0:
            values = [str(value) for value in measured[keys[0]]]
            raise ResultsError(
                f"no group {baseline!r} in {keys[0]!r}: {_choices_for(baseline, values)}"
            )
        reference = int(matches[0])
    n, mean = table["n"].to_numpy(dtype=float), table["mean"].to_numpy(dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = table["std"].to_numpy(dtype=float) ** 2 / n
        difference = mean - mean[reference]
        error = np.sqrt(variance + variance[reference])
        # Welch 1947, Satterthwaite 1946: the degrees of freedom of the difference.
        degrees = (variance + variance[reference]) ** 2 / (
            variance**2 / (n - 1) + variance[reference] ** 2 / (n[reference] - 1)
        )
        p_value = 2 * stdtr(degrees, -np.abs(difference / error))
        half = stdtrit(degrees, 0.5 + confidence / 2) * error
    p_value[reference] = half[reference] = math.nan
    table["difference"] = difference
    table["difference_low"], table["difference_high"] = difference - half, difference + half
    table["p_value"], table["p_holm"] = p_value, _holm(p_value)
    table["reference"] = np.arange(len(table)) == reference
    table.attrs = {"method": "Welch's t-test against the reference group, Holm's correction"}
    return table


def _holm(p_values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    adjusted = np.full(len(p_values), math.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    largest = 0.0
    for rank, i in enumerate(tested[np.argsort(p_values[tested], kind="stable")]):
        largest = max(largest, min(1.0, float(p_values[i]) * (len(tested) - rank)))
        adjusted[i] = largest
    return adjusted


# --------------------------------------------------------------------------------------------
# Importance


def importance(frame: pd.DataFrame, by: str = "objective", *, groups: int = 5) -> pd.DataFrame:
    """Return how much of the variation of ``by`` each varied key explains alone.

    The share is epsilon squared (Kelley 1935: the correlation ratio, corrected for chance) of
    the *ranks* of ``by`` over the values of the key; a numeric key with more than ``groups``
    values is cut into that many groups of equal count, and runs without the key are a group of
    their own. So it sees effects of any shape, on numbers and categories alike, is not ruled by
    a few very bad runs, and needs no model; it does not see interactions. 0: none, 1: all.
    ``noise`` is what a key without any effect reaches in 1 of 20 cases (200 permutations):
    an importance below it means nothing. Complete runs only; exact repeats (see ``repeats``) count
    once, with a warning. Sorted, largest first.

    Columns: ``parameter``, ``importance``, ``noise``, ``groups``, ``n``; both shares are missing
    where there are too few runs to tell.

    Raises:
        ResultsError: if there is no such column, or no complete run has a value in it.
    """
    require_columns(frame, [by], numeric=True)
    runs = _without_repeats(_complete(frame).dropna(subset=[by]))
    if runs.empty:
        raise ResultsError(f"no complete run has a value in {by!r}")
    ranks = runs[by].rank().to_numpy(dtype=float)
    random = np.random.default_rng(0)
    shuffled = np.stack([ranks, *(random.permutation(ranks) for _ in range(200))])
    rows: list[dict[str, object]] = []
    for key in varied(runs):
        codes = _group_codes(runs[key], groups)
        shares = _epsilon_squared(shuffled, codes)
        rows.append(
            {
                "parameter": key,
                "importance": max(float(shares[0]), 0.0) if shares[0] == shares[0] else math.nan,
                "noise": max(float(np.quantile(shares[1:], 0.95)), 0.0)
                if shares[0] == shares[0]
                else math.nan,
                "groups": int(codes.max()) + 1,
                "n": len(runs),
            }
        )
    table = pd.DataFrame(rows, columns=["parameter", "importance", "noise", "groups", "n"])
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _group_codes(column: pd.Series[Any], groups: int) -> np.ndarray[Any, Any]:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and column.nunique() > groups:
        column = pd.qcut(column.astype(float).rank(method="average"), groups, duplicates="drop")
    codes, _ = pd.factorize(column, use_na_sentinel=False)
    return np.asarray(codes)


def _epsilon_squared(values: np.ndarray[Any, Any], codes: np.ndarray[Any, Any]) -> Any:
    """Return the corrected correlation ratio of each row of ``values`` over ``codes``."""
    n, k = values.shape[1], int(codes.max()) + 1
    total = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    if n - k < 1 or k < 2 or total[0] == 0:
        return np.full(len(values), math.nan)
    member = np.eye(k)[codes]
    counts = member.sum(axis=0)
    means = values @ member / counts
    between = (counts * (means - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    within = (total - between) / (n - k)
    return (between - (k - 1) * within) / total


# --------------------------------------------------------------------------------------------
# Writing


def write_atomically(path: Paths, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it to ``path``.

    Whoever reads ``path`` sees the old file or the whole new one, never a part.

    Raises:
        ResultsError: if the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise ResultsError(f"{target}: cannot be written: it is a directory")
    if not target.parent.is_dir():
        raise ResultsError(f"{target}: cannot be written: {target.parent} is no directory")
    try:
        atomic.write(target, write)
    except OSError as error:
        raise ResultsError(f"{target}: cannot be written: {error.strerror or error}") from error
