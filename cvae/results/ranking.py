"""The best runs, by one column or by several at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cvae.results.columns import PARETO, PARTS, lower_is_better, require_columns
from cvae.results.files import ResultsError


def best(
    frame: pd.DataFrame, n: int = 1, by: str = "objective", *, ascending: bool | None = None
) -> pd.DataFrame:
    """Return the ``n`` best complete runs by the numeric column ``by``, best first.

    A pruned run is left out: its last value was measured earlier in training than the others. So
    are the repeats that a search makes of its best trials: the luckiest one would pass for the best
    (see ``own_trials``). ``ascending`` is chosen by ``lower_is_better`` unless it is given.

    Raises:
        ResultsError: if there is no such column, no complete run, or no value in the column.
    """
    if n < 1:
        raise ResultsError(f"n is {n}: at least 1 run must be asked for")
    require_columns(frame, [by], numeric=True)
    ranked = own_trials(complete_runs(frame)).dropna(subset=[by])
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

    A run beats another if it is at least as good in every column and better in one. Repeats of a
    search's best trials are left out (see ``own_trials``). ``by`` is ``pair(frame)`` unless it is
    given. Sorted by the first column, best first.

    Raises:
        ResultsError: if there is no such column or no complete run with values in all of them.
    """
    by = pair(frame) if by is None else by
    require_columns(frame, by, numeric=True)
    ranked = own_trials(complete_runs(frame)).dropna(subset=list(by))
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


def own_trials(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs without those by which a search repeats its best trials under other seeds.

    These have a value in ``confirms``. Where there are no other runs, all of them are returned.
    """
    if "confirms" not in frame.columns:
        return frame
    own = frame[frame["confirms"].isna()]
    return frame if own.empty else own


def complete_runs(frame: pd.DataFrame) -> pd.DataFrame:
    require_columns(frame, ["status"])
    complete = frame[frame["status"] == "complete"]
    if complete.empty:
        raise ResultsError(f"none of the {len(frame)} runs is complete: there is nothing to rank")
    return complete
