"""Where conversions go wrong: by source and target tense, and by the length of the source.

Functions of a table from ``results.conversions``; the conversions of several runs are pooled.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from cvae import results
from cvae.alphabet import TENSES

KINDS: Final = ("regular", "irregular")


def accuracy_by_tense(
    conversions: pd.DataFrame, kind: str | None = None, *, split: str = "dev"
) -> pd.DataFrame:
    """Return the share of correct conversions, source tenses down and target tenses across.

    The diagonal is missing: a word is not converted to its own tense.

    Args:
        kind: regular or irregular verbs only; None for both.
        split: report, dev or test.

    Raises:
        ResultsError: if there is no such kind, or nothing of it in the split.
    """
    of_split = _of_split(conversions, split)
    if kind is not None:
        if kind not in KINDS:
            raise results.ResultsError(f"kind is {kind!r}: choose from {', '.join(KINDS)}")
        of_split = of_split[of_split["kind"] == kind]
    if of_split.empty:
        raise results.ResultsError(f"the {split} split has no {kind} verbs")
    shares = of_split.groupby(["source_tense", "target_tense"])["correct"].mean().unstack()
    return shares.reindex(index=list(TENSES), columns=list(TENSES))


def accuracy_by_length(conversions: pd.DataFrame, *, split: str = "dev") -> pd.DataFrame:
    """Return a row for each kind of verb and length of the source word.

    Columns: ``kind``, ``letters``, ``conversions`` (their number), ``wrong``, ``accuracy`` and
    ``edit_distance``, the mean over the wrong ones.

    Raises:
        ResultsError: if there is nothing in the split.
    """
    of_split = _of_split(conversions, split)
    wrong = of_split["correct"] == 0
    table = of_split.assign(
        letters=of_split["source"].str.len(),
        wrong=wrong.astype(int),
        distance=of_split["edit_distance"].where(wrong),
    )
    groups = table.groupby(["kind", "letters"])
    summary = pd.DataFrame(
        {
            "conversions": groups.size(),
            "wrong": groups["wrong"].sum(),
            "accuracy": groups["correct"].mean(),
            "edit_distance": groups["distance"].mean(),
        }
    )
    return summary.sort_index(level=["kind", "letters"], ascending=[False, True]).reset_index()


def _of_split(conversions: pd.DataFrame, split: str) -> pd.DataFrame:
    results.require_columns(conversions, ["split", "source", "correct", "regular"])
    found = conversions[conversions["split"] == split]
    if found.empty:
        there = ", ".join(conversions["split"].unique()) or "none"
        raise results.ResultsError(f"no conversions of the {split} split; there are: {there}")
    return found.assign(kind=found["regular"].map({1: "regular", 0: "irregular"}))
