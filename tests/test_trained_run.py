"""Tests of cvae.trained_run: a run read back with the verbs it was trained on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from shared import DEFAULT, VERBS, write_untrained_run

from cvae.model import build_model
from cvae.run_directory import RunDirectoryError
from cvae.trained_run import load


@pytest.fixture
def run(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"name": "default", **DEFAULT}
    return write_untrained_run(tmp_path / "run", build_model(**sizes), sizes)


def change(run: Path, data: Any) -> None:
    result = json.loads((run / "result.json").read_text())
    result["config"] = {"data": data}
    (run / "result.json").write_text(json.dumps(result))


def data_of(run: Path) -> dict[str, Any]:
    node: dict[str, Any] = json.loads((run / "result.json").read_text())["config"]["data"]
    return node


def test_model_and_verbs_are_those_of_the_run(run: Path) -> None:
    found = load(run)
    assert [" ".join(row.preferred) for row in found.dataset.train] == list(VERBS)
    assert found.model.latent_size == DEFAULT["latent_size"]
    assert not found.model.training
    assert found.config["seed"] == 3


def test_the_shipped_verbs_are_found(run: Path) -> None:
    change(run, {"name": "common"})
    assert len(load(run).dataset.train) == 1200


def test_a_relative_path_is_looked_for_where_the_run_was_started(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(run, {**data_of(run), "train_path": "run.txt"})
    (run / ".hydra").mkdir()
    text = f"hydra:\n  runtime:\n    cwd: {tmp_path}\n"
    (run / ".hydra" / "hydra.yaml").write_text(text)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert len(load(run).dataset.train) == len(VERBS)


@pytest.mark.parametrize(
    ("node", "part"),
    [
        (None, "names no data set"),
        ({}, "its data set is none of this version"),
        ({"name": "files"}, "its data set is none of this version"),
        ({"name": "elsewhere"}, "cannot be read"),
        ({"name": "files", "train_path": 3, "test_path": None}, "its data set is none of"),
    ],
)
def test_a_data_set_that_cannot_be_had_is_named(run: Path, node: Any, part: str) -> None:
    change(run, node)
    with pytest.raises(RunDirectoryError, match=part) as caught:
        load(run)
    assert "\n" not in str(caught.value)


def test_a_training_file_that_has_gone_is_named(run: Path) -> None:
    path = data_of(run)["train_path"]
    os.unlink(path)
    with pytest.raises(RunDirectoryError, match="cannot be read") as caught:
        load(run)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_a_result_without_a_config_is_named(run: Path) -> None:
    (run / "result.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match="names no data set"):
        load(run)
