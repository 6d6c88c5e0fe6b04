"""Statistics over runs: means over seeds, comparison of groups, importance of parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cvae.results.columns import (
    PARTS,
    choices_for,
    lower_is_better,
    require_columns,
    varied,
)
from cvae.results.files import ResultsError
from cvae.results.overrides import Value
from cvae.results.ranking import complete_runs, own_trials


def repeats(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.Series[bool]:
    """Return for each run whether it is complete and repeats one above it.

    A repeat has the same resolved configuration, including the seed. It adds no information, and
    counting it as another run would make intervals too narrow. Only runs that also agree in the
    columns ``by`` are compared. A run with an unknown configuration is not a repeat.
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
    """Return the text for what ``repeats`` found."""
    one = int(again.sum()) == 1
    return (
        f"{again.sum()} of {len(again)} runs {'is an exact repeat' if one else 'are exact repeats'}"
        f" (the same configuration and seed)"
    )


def aggregate(
    frame: pd.DataFrame,
    by: Sequence[str] | str | None = None,
    metrics: Sequence[str] | str | None = None,
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return one row per configuration: the mean of its complete runs, over seeds.

    ``by`` names the columns that define a configuration (default: every varied key, but not the
    seed). ``metrics`` defaults to the objective and its parts. Exact repeats (see ``repeats``)
    count once, with a warning. Columns: ``by``, ``runs``, ``not_complete`` (how many of the runs
    are not in the means), then for each metric ``m``: ``m_mean``, ``m_std`` (of the sample),
    ``m_n``, ``m_low`` and ``m_high`` (the t interval of the mean; missing for a single run).
    Sorted by the first metric, best first.

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
    complete_runs(frame)
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


def _half_width(
    std: np.ndarray[Any, Any], n: np.ndarray[Any, Any], confidence: float
) -> np.ndarray[Any, Any]:
    """Return half the t interval of a mean; NaN for fewer than two values."""
    # Late: it takes as long to import as everything else, and most commands need no interval.
    from scipy.special import stdtrit

    degrees = np.where(n > 1, n - 1, math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(stdtrit(degrees, 0.5 + confidence / 2) * std / np.sqrt(n))


def compare(
    frame: pd.DataFrame,
    group: str | Sequence[str],
    metric: str = "objective",
    *,
    baseline: Value | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare the groups of complete runs that ``group`` makes, by ``metric``.

    Exact repeats (see ``repeats``) count once, with a warning. Columns: those of ``group``, ``n``,
    ``not_complete`` (how many of the group's runs are left out, possibly all), ``mean``, ``std``,
    ``low``, ``high`` (t interval of the mean), ``difference`` to the reference group with
    ``difference_low``, ``difference_high`` and ``p_value``, all three from Welch's t-test (two
    samples, unequal variances, two-sided), and ``p_holm``: the same corrected for the number of
    comparisons (Holm 1979). The reference is
    the group with the best mean, or ``baseline`` (a value of a single ``group`` column). With
    the best group as reference the p-values are a little too small, since it was chosen for
    being best. A group of one run has no interval and no test. The best group comes first, and
    ``attrs["method"]`` of the table names the method.

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
                f"no group {baseline!r} in {keys[0]!r}: {choices_for(baseline, values)}"
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


def importance(frame: pd.DataFrame, by: str = "objective", *, groups: int = 5) -> pd.DataFrame:
    """Return how much of the variation of ``by`` each varied key explains alone.

    The share is epsilon squared (Kelley 1935: the correlation ratio, corrected for chance) of
    the *ranks* of ``by`` over the values of the key; a numeric key with more than ``groups``
    values is cut into that many groups of equal count, and runs without the key are a group of
    their own. It therefore detects effects of any shape, on numbers and categories, is not
    dominated by a few very bad runs, and needs no model. It does not detect interactions. 0: none,
    1: all. ``noise`` is the value that a key without any effect reaches in 1 of 20 cases (200
    permutations): an importance below it means nothing. Complete runs only; exact repeats (see
    ``repeats``) count once, with a warning, and repeats of a search's best trials under other seeds
    (see ``own_trials``) do not count. Sorted, largest first.

    Columns: ``parameter``, ``importance``, ``noise``, ``groups``, ``n``; both shares are missing
    where there are too few runs to tell.

    Raises:
        ResultsError: if there is no such column, or no complete run has a value in it.
    """
    require_columns(frame, [by], numeric=True)
    runs = _without_repeats(own_trials(complete_runs(frame)).dropna(subset=[by]))
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
