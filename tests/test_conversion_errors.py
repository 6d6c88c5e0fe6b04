"""Accuracy by tense and by length, on conversions of which every count is known."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from cvae import conversion_errors, results
from cvae.alphabet import TENSES

ROWS = [
    # split, source, from, to, correct, distance, regular
    ("dev", "walk", 0, 3, 1, 0, 1),
    ("dev", "talk", 0, 3, 0, 2, 1),
    ("dev", "jumps", 1, 2, 1, 0, 1),
    ("dev", "go", 0, 3, 0, 4, 0),
    ("dev", "goes", 1, 0, 1, 0, 0),
    ("report", "help", 0, 1, 1, 0, 1),
]


@pytest.fixture
def table() -> pd.DataFrame:
    columns = ["split", "source", "source_tense", "target_tense", "correct", "edit_distance"]
    frame = pd.DataFrame(ROWS, columns=[*columns, "regular"])
    for column in ("source_tense", "target_tense"):
        frame[column] = [TENSES[tense] for tense in frame[column]]
    return frame


def test_accuracy_by_tense_is_a_matrix_of_all_tenses(table: pd.DataFrame) -> None:
    matrix = conversion_errors.accuracy_by_tense(table, "regular")
    assert list(matrix.index) == list(matrix.columns) == list(TENSES)
    assert matrix.loc["simple_present", "past"] == 0.5
    assert matrix.loc["third_person", "progressive"] == 1.0
    assert matrix.notna().sum().sum() == 2
    both = conversion_errors.accuracy_by_tense(table)
    assert both.loc["simple_present", "past"] == pytest.approx(1 / 3)
    assert conversion_errors.accuracy_by_tense(table, "irregular").notna().sum().sum() == 2


def test_errors_by_length_count_letters_of_the_source(table: pd.DataFrame) -> None:
    found = conversion_errors.accuracy_by_length(table)
    assert found[["kind", "letters", "conversions", "wrong"]].to_numpy().tolist() == [
        ["regular", 4, 2, 1], ["regular", 5, 1, 0], ["irregular", 2, 1, 1], ["irregular", 4, 1, 0]
    ]  # fmt: skip
    assert found["accuracy"].tolist() == [0.5, 1.0, 0.0, 1.0]
    assert found["edit_distance"].tolist() == pytest.approx([2, math.nan, 4, math.nan], nan_ok=True)


def test_what_is_not_there_is_said(table: pd.DataFrame) -> None:
    with pytest.raises(results.ResultsError, match="test split; there are: dev, report"):
        conversion_errors.accuracy_by_length(table, split="test")
    with pytest.raises(results.ResultsError, match="kind is 'strong': choose from regular"):
        conversion_errors.accuracy_by_tense(table, "strong")
    with pytest.raises(results.ResultsError, match="report split has no irregular verbs"):
        conversion_errors.accuracy_by_tense(table, "irregular", split="report")
