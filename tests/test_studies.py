"""A study's database as Optuna writes it: spaces, workers, reported values."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from cvae import results, studies

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_study, fabricate_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("multi run#") / "search"
    fabricate_sweep(directory, 14, evaluations=2, dev_rows=2)
    fabricate_study(directory)
    return directory


def test_spaces_are_those_that_were_searched(sweep: Path) -> None:
    found = studies.read(results.load(sweep))
    assert found.notes == []
    assert found.spaces["optim.encoder_lr"] == {"low": 1e-4, "high": 1e-1, "log": True}
    assert found.spaces["anneal.cycle_count"] == {"low": 1, "high": 8, "log": False}
    assert found.spaces["model.latent_size"] == {"choices": [8, 16, 32, 64]}
    assert found.spaces["model.two_level"] == {"choices": [True, False]}


def test_trials_have_their_rows_times_and_values(sweep: Path) -> None:
    frame = results.load(sweep)
    trials = studies.read(frame).trials
    assert [trial.number for trial in trials] == frame["trial"].tolist()
    assert [trial.row for trial in trials] == list(range(14))
    assert [trial.continues for trial in trials] == [None] * 13 + [9]
    assert {trial.worker for trial in trials} == {"node 100", "node 101"}
    first = trials[0]
    assert first.state == "complete"
    assert first.started is not None and first.ended is not None
    assert first.ended - first.started == pytest.approx(frame["seconds"][0], abs=0.01)
    assert list(first.values) == [800, 1600, 2400, 3200, 4000]
    assert first.values[4000] == pytest.approx(frame["objective"][0], rel=0.01)


def test_a_study_above_nested_directories_is_found(sweep: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(sweep, moved)
    (moved / "a").mkdir()
    (moved / "trial_00003").rename(moved / "a" / "trial_00003")
    with sqlite3.connect(moved / "study.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json = '\"a/trial_00003\"'"
            " WHERE value_json = '\"trial_00003\"'"
        )
        database.execute(
            "UPDATE trial_user_attributes SET value_json = '\"/gone/trial_00004\"'"
            " WHERE value_json = '\"trial_00004\"'"
        )
    database.close()
    frame = results.load(moved)
    rows = {trial.number: trial.row for trial in studies.read(frame).trials}
    assert [int(frame["trial"][rows[number]]) for number in range(14)] == list(range(14))


def test_the_database_is_not_touched(sweep: Path) -> None:
    before = (sweep / "study.db").read_bytes(), sorted(os.listdir(sweep))
    studies.read(results.load(sweep))
    assert ((sweep / "study.db").read_bytes(), sorted(os.listdir(sweep))) == before


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00 cut off"])
def test_what_is_no_study_is_named_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    fabricate_sweep(tmp_path / "search", 2, evaluations=2, dev_rows=2)
    (tmp_path / "search" / "study.db").write_bytes(content)
    found = studies.read(results.load(tmp_path))
    (note,) = found.notes
    assert note.startswith(f"{tmp_path}/search/study.db: cannot be read as a study: ")
    assert (found.spaces, found.trials) == ({}, [])


def test_without_a_database_there_is_nothing(tmp_path: Path) -> None:
    fabricate_sweep(tmp_path / "search", 2, evaluations=2, dev_rows=2)
    found = studies.read(results.load(tmp_path))
    assert (found.spaces, found.trials, found.notes) == ({}, [], [])


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        ({"low": 1, "high": 4, "log": False}, {"low": 2, "high": 8, "log": False}, (1, 8)),
        ({"low": 1, "high": 4, "log": False}, {"low": 2, "high": 8, "log": True}, None),
        ({"low": 1, "high": 4, "log": False}, {"choices": [1, 2]}, None),
        ({"choices": [1, 2]}, {"choices": [2, 3]}, [1, 2, 3]),
        (
            {"choices": [None, "a", 0.5, math.inf]},
            {"choices": [[1]]},
            [None, "a", 0.5, "inf", "[1]"],
        ),
        ({"low": 0, "high": math.inf, "log": False}, {"low": 1, "high": 2, "log": False}, (1, 2)),
    ],
)
def test_spaces_of_several_studies_are_joined_where_they_agree(
    tmp_path: Path, one: dict[str, object], other: dict[str, object], joined: object
) -> None:
    for name, space in (("a", one), ("b", other)):
        fabricate_sweep(tmp_path / name, 1, evaluations=2, dev_rows=2)
        kind = "CategoricalDistribution" if "choices" in space else "IntDistribution"
        with sqlite3.connect(tmp_path / name / "study.db") as database:
            database.executescript(
                "CREATE TABLE trial_params (param_name, distribution_json);"
                "CREATE TABLE trial_user_attributes (trial_id, key, value_json);"
                "CREATE TABLE trial_intermediate_values (trial_id, step, intermediate_value);"
                "CREATE TABLE trials (trial_id, number, state, datetime_start, datetime_complete);"
            )
            text = json.dumps({"name": kind, "attributes": space})
            database.execute("INSERT INTO trial_params VALUES ('key', ?)", (text,))
        database.close()
    space = studies.read(results.load(tmp_path)).spaces.get("key")
    if joined is None:
        assert space is None
    elif isinstance(joined, tuple):
        assert space is not None and (space["low"], space["high"]) == joined
    else:
        assert space == {"choices": joined}
