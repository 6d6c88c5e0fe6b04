"""Where conversions go wrong: by source and target tense, and by the length of the source.

Functions of a table from ``results.conversions``; the conversions of several runs are pooled.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from cvae import results
from cvae.alphabet import TENSES

KINDS: Final = ("regular", "irregular")

_AT_ONCE: Final = 50  # runs whose conversions are in memory together


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


def read(frame: pd.DataFrame, *, split: str = "dev") -> dict[str, dict[str, Any]]:
    """Return for the page where each run goes wrong, by its label in ``frame``.

    ``tenses`` has by kind of verb four rows, the source tenses, of four cells, the target tenses:
    [correct, of how many], null on the diagonal. ``lengths`` has by kind a list of
    [letters, correct, of how many]. Runs without readable conversions are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(frame), _AT_ONCE):
        some = frame.iloc[start : start + _AT_ONCE]
        with warnings.catch_warnings(action="ignore"):  # what is damaged, the page says elsewhere
            table = results.conversions(some, damaged="warn")
        if "split" not in table.columns or not (table["split"] == split).any():
            continue
        table = _of_split(table, split)
        labels = {run: str(label) for label, run in some["run"].items()}
        for (run, kind, source, target), correct, count in _counts(
            table, ["run", "kind", "source_tense", "target_tense"]
        ):
            if source in TENSES and target in TENSES:
                tenses = found.setdefault(labels[run], {"tenses": {}, "lengths": {}})["tenses"]
                rows = tenses.setdefault(kind, [[None] * len(TENSES) for _ in TENSES])
                rows[TENSES.index(source)][TENSES.index(target)] = [correct, count]
        table["letters"] = table["source"].str.len()
        for (run, kind, letters), correct, count in _counts(table, ["run", "kind", "letters"]):
            lengths = found.setdefault(labels[run], {"tenses": {}, "lengths": {}})["lengths"]
            lengths.setdefault(kind, []).append([int(letters), correct, count])
    return found


def _counts(table: pd.DataFrame, keys: list[str]) -> Iterator[tuple[Any, int, int]]:
    """Return each group's keys, correct conversions and conversions."""
    counts = table.groupby(keys)["correct"].agg(["sum", "size"])
    for group, correct, count in counts.itertuples():
        yield group, int(correct), int(count)
