"""The columns of the table of runs: which are parameters or metrics, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from cvae.ranges import did_you_mean
from cvae.results.files import ResultsError

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
FIXED: Final = frozenset((*_HEAD, "seed", *_TAIL, *_LAST))


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
    return [column for column in between if column not in FIXED]


def varied(frame: pd.DataFrame) -> list[str]:
    """Return the overridden keys that have more than one value in ``frame``."""
    return [key for key in parameters(frame) if frame[key].nunique(dropna=False) > 1]


def lower_is_better(column: str) -> bool:
    """Return whether smaller values of ``column`` are better ones."""
    return column in LOWER_IS_BETTER or "edit_distance" in column


def labels(frame: pd.DataFrame) -> pd.Series[str]:
    """Return a short name for each run, unique in ``frame``.

    It is the name of its directory (``trial_00012`` as ``12``), with as many parent directories as
    are needed to distinguish the runs: ``latent_size/12``.
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
    """Raise ``ResultsError`` at the first of ``columns`` that ``frame`` lacks."""
    allowed = numeric_columns(frame) if numeric else [str(column) for column in frame.columns]
    for column in columns:
        if column not in allowed:
            what = "numeric column" if numeric else "column"
            raise ResultsError(f"no {what} {column!r}: {choices_for(column, allowed)}")


def choices_for(wanted: object, allowed: Sequence[str]) -> str:
    """Return the end of an error message: what is allowed instead of ``wanted``."""
    hint = did_you_mean(str(wanted), allowed)
    return f"{hint}{'Choose' if hint else 'choose'} from {', '.join(allowed)}"


def compact(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a view of ``frame`` that fits a screen: few columns, short names of the runs.

    The index is ``labels``. The columns are the status, the objective and its parts, every varied
    key, the seed, ``dev_exact_match``, ``gaussian_distinct`` and the seconds; empty ones are left
    out.
    """
    names = ["status", "objective", *PARETO, *varied(frame), "seed"]
    names += ["dev_exact_match", "gaussian_distinct", "seconds"]
    shown = [name for name in dict.fromkeys(names) if name in frame and frame[name].notna().any()]
    return frame[shown].set_axis(pd.Index(labels(frame), name="run"))
