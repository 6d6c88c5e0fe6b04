"""What the database of a study knows beyond the run directories: spaces, workers, reported values.

It is read with SQLite itself and never written to: Optuna takes longer to import than the report
page takes to write, and may change a database when it opens it. The tables are those of Optuna 2.4
to 5.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from cvae import results

DATABASE: Final = "study.db"
_UNREADABLE: Final = (
    *(sqlite3.Error, ValueError, TypeError, KeyError, AttributeError),
    *(OverflowError, RecursionError),
)
_LEVELS: Final = 3  # how far above a run its study may be: hydra.sweep.subdir may be nested


@dataclass(frozen=True)
class StudyTrial:
    """One trial as the study has it; several may have run in one directory.

    Attributes:
        row: the position of its run in the table.
        state: Optuna's, in lower case.
        started: seconds since 1970, or None.
        ended: likewise; None while it runs.
        worker: host and process.
        continues: the number of the trial that this one repeats or goes on with, or None.
        values: the objective as reported, by step.
    """

    row: int
    number: int
    state: str
    started: float | None
    ended: float | None
    worker: str
    continues: int | None
    values: dict[int, float]


@dataclass
class Studies:
    """What was found for a table of runs.

    Attributes:
        spaces: for each searched key ``{"choices": [...]}``, or ``low``, ``high`` and ``log``; a
            key that studies search in ways that do not agree is left out.
        trials: those that have a row in the table, in the order of their numbers.
        notes: one line for each database that could not be read.
    """

    spaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: list[StudyTrial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(frame: pd.DataFrame) -> Studies:
    """Return what the databases beside the runs of ``frame`` say; without any, nothing."""
    found = Studies()
    spaces: dict[str, list[dict[str, Any]]] = {}
    for path, rows in _databases(frame).items():
        try:
            with closing(_connect(path)) as database:
                for key, space in _spaces(database):
                    if space not in spaces.setdefault(key, []):
                        spaces[key].append(space)
                found.trials += _trials(database, rows)
        except _UNREADABLE as error:
            found.notes.append(f"{path}: cannot be read as a study: {error} (left out)")
    joined = {key: _joined(several) for key, several in spaces.items()}
    found.spaces = {key: space for key, space in joined.items() if space is not None}
    return found


def _databases(frame: pd.DataFrame) -> dict[Path, dict[str, int]]:
    """Return the databases above the runs, each with the rows of its runs by their directory."""
    found: dict[Path, dict[str, int]] = {}
    known: dict[Path, bool] = {}
    for row, run in enumerate(frame["run"]):
        directory = results.directory_of(run)
        for sweep in list(directory.parents)[:_LEVELS]:
            path = sweep / DATABASE
            if path not in known:
                known[path] = path.is_file()
            if known[path]:
                found.setdefault(path, {})[str(directory.relative_to(sweep))] = row
                break
    return found


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)


def _spaces(database: sqlite3.Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    query = "SELECT DISTINCT param_name, distribution_json FROM trial_params"
    for key, text in database.execute(query):
        about = json.loads(text)
        attributes = about["attributes"]
        if "choices" in attributes:
            yield key.lstrip("+"), {"choices": [_choice(value) for value in attributes["choices"]]}
            continue
        low, high = float(attributes["low"]), float(attributes["high"])
        if math.isfinite(low) and math.isfinite(high):
            log = bool(attributes.get("log", "Log" in about["name"]))
            yield key.lstrip("+"), {"low": low, "high": high, "log": log}


def _choice(value: Any) -> Any:
    """Return a choice as the page's JSON can hold it, which knows no infinity."""
    is_finite = isinstance(value, float) and math.isfinite(value)
    return (
        value if value is None or is_finite or isinstance(value, bool | int | str) else str(value)
    )


def _joined(several: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return one space that holds all, or None where they are of different kinds."""
    if all("choices" in space for space in several):
        choices = {repr(choice): choice for space in several for choice in space["choices"]}
        return {"choices": list(choices.values())}
    if any("choices" in space for space in several) or len({s["log"] for s in several}) > 1:
        return None
    low, high = min(s["low"] for s in several), max(s["high"] for s in several)
    return {"low": low, "high": high, "log": several[0]["log"]}


def _trials(database: sqlite3.Connection, rows: Mapping[str, int]) -> list[StudyTrial]:
    attributes: dict[int, dict[str, Any]] = {}
    for trial, key, text in database.execute(
        "SELECT trial_id, key, value_json FROM trial_user_attributes"
        " WHERE key IN ('directory', 'owner', 'retry_of', 'continues')"
    ):
        attributes.setdefault(trial, {})[key] = json.loads(text)
    values: dict[int, dict[int, float]] = {}
    for trial, step, value in database.execute(
        "SELECT trial_id, step, intermediate_value FROM trial_intermediate_values ORDER BY step"
    ):
        if value is not None and math.isfinite(value):
            values.setdefault(trial, {})[int(step)] = float(value)
    trials = []
    for trial, number, state, started, ended in database.execute(
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials"
        " ORDER BY number"
    ):
        about = attributes.get(trial, {})
        directory = str(about.get("directory", ""))
        # Absolute ones were stored by former versions, directly below the sweep's directory.
        row = rows.get(os.path.basename(directory) if os.path.isabs(directory) else directory)
        if row is None:
            continue
        owner = about.get("owner") or {}
        continues = about.get("continues", about.get("retry_of"))
        trials.append(
            StudyTrial(
                row=row,
                number=int(number),
                state=str(state).lower(),
                started=_seconds(started),
                ended=_seconds(ended),
                worker=" ".join(str(owner[key]) for key in ("host", "pid") if key in owner),
                continues=None if continues is None else int(continues),
                values=values.get(trial, {}),
            )
        )
    return trials


def _seconds(text: str | None) -> float | None:
    # Optuna writes the local time.
    return None if text is None else datetime.fromisoformat(text).timestamp()
