"""The tables that each run writes: curves, conversions and samples, of many runs at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import pandas as pd

from cvae.results.columns import choices_for, require_columns, varied
from cvae.results.files import Paths, ResultsError, directory_of, read_text
from cvae.results.table import load

CURVE_FILES: Final = {
    "evaluations": "metrics.csv",
    "epochs": "epochs.csv",
    "losses": "losses.csv",
}
"""The files that a run writes during training, by the granularity of their rows."""

Source: TypeAlias = "pd.DataFrame | Paths | Sequence[Paths]"
"""A table from ``load`` (or some of its rows), a path, or several."""

Damaged = Literal["raise", "warn"]
"""Whether a damaged file raises an error that names it, or is skipped with a warning."""


def curves(source: Source, *, of: str = "evaluations", damaged: Damaged = "raise") -> pd.DataFrame:
    """Return what every run recorded during training, one row per run and evaluation.

    ``of`` is the granularity: ``evaluations``, ``epochs``, or ``losses`` (means over a few steps).
    Columns: ``run``, ``sweep``, ``trial``, ``seed``, ``status`` and ``objective`` of the run, as in
    ``load``, every varied key, then those of the file. A run without the file has no rows.

    Raises:
        ResultsError: if a file is damaged, unless ``damaged="warn"``; if ``of`` is none of these.
    """
    if of not in CURVE_FILES:
        raise ResultsError(f"of is {of!r}: {choices_for(of, list(CURVE_FILES))}")
    frame = _loaded(source)
    table, damage = read_curves(list(frame["run"]), CURVE_FILES[of])
    return _with_runs(frame, table, damage, damaged)


def conversions(source: Source, *, damaged: Damaged = "raise") -> pd.DataFrame:
    """Return every conversion that every run wrote, one row per run and conversion.

    Columns: those that describe the run, as in ``curves``, then those of ``conversions.csv``. Only
    finished runs have the file.

    Raises:
        ResultsError: as ``curves``.
    """
    numbers = ("correct", "bleu4", "edit_distance", "regular")
    return _words_of_runs(source, "conversions.csv", numbers, damaged)


def samples(source: Source, *, damaged: Damaged = "raise") -> pd.DataFrame:
    """Return every paradigm that every run generated, from ``samples.csv``; see ``conversions``."""
    return _words_of_runs(source, "samples.csv", ("draw", "training_row", "real_verb"), damaged)


def _loaded(source: Source) -> pd.DataFrame:
    if not isinstance(source, pd.DataFrame):
        source = load(source) if isinstance(source, str | os.PathLike) else load(*source)
    require_columns(source, ["run", "sweep", "trial", "seed", "status", "objective"])
    return source


def _with_runs(
    frame: pd.DataFrame, table: pd.DataFrame, damage: Mapping[int, str], damaged: Damaged
) -> pd.DataFrame:
    """Return ``table`` preceded by columns that describe the run in its column ``_row``."""
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
            # Words are not parsed: a model may produce "null" or "nan".
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
