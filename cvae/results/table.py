"""Any number of run directories as one DataFrame."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cvae.results.columns import COUNTS, FIXED
from cvae.results.files import Paths, ResultsError, directory_of, printable
from cvae.results.overrides import Value, parse_value
from cvae.results.runs import Run, chosen_members, continuation_of, find_runs, read_run

_MISSING: Final = object()


def load(*paths: Paths | Iterable[Paths]) -> pd.DataFrame:
    """Return one row for every run in ``paths``, whatever became of it.

    Each path is a run directory, a sweep directory, any directory above them, or a list of these.
    The rows keep the order of the paths and, within each, the natural order of the directory names.
    A run reached by two paths is one row. So is a trial that was interrupted and continued in
    another directory below the paths. A trial that was killed before it wrote anything is a row
    too.

    Columns: ``run`` (its directory), ``sweep`` (the directory that holds it), ``study`` and
    ``trial`` (name and number), ``status`` (one of ``STATUSES``), ``reason``, ``objective``
    (missing when it is a pair, as with ``objective=pareto``), its parts (``PARTS``), whether they
    count or not; then one typed column for every key that any of the runs overrides, filled from
    the resolved configuration where a run does not override it; ``seed``; then every metric;
    ``seconds`` (and ``seconds_train``, ``seconds_evaluate``), ``steps``,
    ``started_at`` (UTC), ``confirms`` (of a repeat of one of a search's best trials under another
    seed, the number of that trial), ``objective_name``, ``objective_generation`` (which counts,
    ``variety`` or ``share``, where one does), ``overrides`` (as one would type them) and
    ``configuration`` (a digest: equal where the whole resolved configuration is, the seed
    included). A key or metric whose name is taken already is prefixed: ``config.objective``,
    ``metric.steps``.

    Control characters in texts are escaped, and so are the bytes of a path that is not UTF-8
    (``caf\\xe9``), since no table format can hold them. ``directory_of`` returns the path.

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
        for directory in find_runs(_directory(path)):
            found.setdefault(os.path.realpath(directory), directory)
    runs = [read_run(directory) for directory in found.values()]
    return _frame([run for run in runs if continuation_of(run) not in found])


def configuration(run: str) -> dict[str, Any]:
    """Return the resolved configuration of the run in directory ``run``; {} if it is not known."""
    found = read_run(directory_of(run))
    return found.config if found.resolved else {}


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


def _frame(runs: Sequence[Run]) -> pd.DataFrame:
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.assigned)]
    metric_columns = {name: f"metric.{name}" if name in FIXED else name for name in metrics}
    taken = FIXED | set(metric_columns.values())
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
    seeds = [
        parse_value(run.assigned.get("seed", "")) if run.seed is None else run.seed for run in runs
    ]
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


def _value(run: Run, key: str) -> Value | None:
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
        return parse_value(run.assigned[key])
    if run.choices is None:
        run.choices = chosen_members(run.path / ".hydra" / "hydra.yaml")
    if key in run.choices:
        return parse_value(run.choices[key])
    if isinstance(node, dict) and isinstance(node.get("name"), str):
        return str(node["name"])
    return None


def _lookup(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return _MISSING
        node = node[part]
    return node


def _generation(run: Run) -> str | None:
    """Return ``objective.generation``; before there was the key, the score itself counted."""
    objective = run.config.get("objective")
    if not isinstance(objective, dict) or objective.get("name") == "bleu":
        return None
    return str(objective.get("generation", "share"))


def _own_data(run: Run) -> list[str]:
    """Return what the user's own files held: two may have one relative path."""
    data = run.config.get("data")
    is_own = isinstance(data, dict) and data.get("name") == "files"
    return [run.data_digest] if is_own and run.data_digest else []


def _digest(run: Run) -> str | None:
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
    clean = [None if v is None else printable(v) for v in values]
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
