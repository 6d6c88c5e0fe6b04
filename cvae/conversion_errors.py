"""Where conversions go wrong: by source and target tense, and by the length of the source.

Functions of a table from ``results.conversions``; the conversions of several runs are pooled.
``tally`` counts for them and for the report page, whose rows come from one run's file.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from cvae import results
from cvae.alphabet import TENSES

KINDS: Final = ("regular", "irregular")

Conversion = tuple[str, str, str, str, int, float]
"""Source, source tense, target tense, kind, whether it is correct (0 or 1), edit distance."""


@dataclass
class Count:
    """Some conversions: how many, how many of them correct, the edit distance of the wrong ones."""

    total: int = 0
    correct: int = 0
    distance: float = 0.0

    def add(self, correct: int, distance: float) -> None:
        """Count one more."""
        self.total += 1
        self.correct += correct
        if not correct:
            self.distance += distance


@dataclass
class Tally:
    """Conversions by source tense, target tense and kind, and by kind and letters of the source."""

    tenses: dict[tuple[str, str, str], Count] = field(default_factory=lambda: defaultdict(Count))
    lengths: dict[tuple[str, int], Count] = field(default_factory=lambda: defaultdict(Count))


def tally(conversions: Iterable[Conversion]) -> Tally:
    """Count conversions, each once by tenses and once by length."""
    found = Tally()
    for source, source_tense, target_tense, kind, correct, distance in conversions:
        found.tenses[source_tense, target_tense, kind].add(correct, distance)
        found.lengths[kind, len(source)].add(correct, distance)
    return found


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
    shares = pd.DataFrame(index=list(TENSES), columns=list(TENSES), dtype=float)
    pooled: dict[tuple[str, str], Count] = defaultdict(Count)
    for (source, target, _), count in _tally(of_split).tenses.items():
        pooled[source, target].total += count.total
        pooled[source, target].correct += count.correct
    for (source, target), count in pooled.items():
        shares.loc[source, target] = count.correct / count.total
    return shares.rename_axis(index="source_tense", columns="target_tense")


def accuracy_by_length(conversions: pd.DataFrame, *, split: str = "dev") -> pd.DataFrame:
    """Return a row for each kind of verb and length of the source word.

    Columns: ``kind``, ``letters``, ``conversions`` (their number), ``wrong``, ``accuracy`` and
    ``edit_distance``, the mean over the wrong ones.

    Raises:
        ResultsError: if there is nothing in the split.
    """
    counts = _tally(_of_split(conversions, split)).lengths
    summary = [
        {
            "kind": kind,
            "letters": letters,
            "conversions": count.total,
            "wrong": count.total - count.correct,
            "accuracy": count.correct / count.total,
            "edit_distance": count.distance / (count.total - count.correct)
            if count.correct < count.total
            else math.nan,
        }
        for (kind, letters), count in counts.items()
    ]
    table = pd.DataFrame(summary)
    order = table.sort_values(["kind", "letters"], ascending=[False, True])
    return order.reset_index(drop=True)


def _tally(of_split: pd.DataFrame) -> Tally:
    known = of_split.dropna(subset=["kind"])
    columns = ("source", "source_tense", "target_tense", "kind")
    words = (known[column] for column in columns)
    return tally(zip(*words, known["correct"].astype(int), known["edit_distance"], strict=True))


def _of_split(conversions: pd.DataFrame, split: str) -> pd.DataFrame:
    results.require_columns(conversions, ["split", "source", "correct", "regular"])
    found = conversions[conversions["split"] == split]
    if found.empty:
        there = ", ".join(conversions["split"].unique()) or "none"
        raise results.ResultsError(f"no conversions of the {split} split; there are: {there}")
    return found.assign(kind=found["regular"].map({1: "regular", 0: "irregular"}))
