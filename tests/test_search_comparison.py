"""How ways to search are compared: equal time, winners of full length, and the table."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf
from shared import REPOSITORY

from cvae.config import check


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("search_comparison")


def leave(directory: Path, *, begun: str = "2026-01-01T00:00:00+00:00", **changes: Any) -> None:
    metrics = {
        "bleu4": 1.0, "gaussian_score": 0.5, "gaussian_distinct": 400,
        "test_exact_match_regular": 0.25,
    }  # fmt: skip
    directory.mkdir(parents=True)
    content = {
        "status": changes.pop("status", "complete"),
        "objective": {"value": 0.75},
        "started_at": begun,
        "seconds": {"total": changes.pop("seconds", 60.0)},
        "metrics": metrics | changes,
    }
    (directory / "result.json").write_text(json.dumps(content))


def test_every_way_composes_for_both_studies(comparison: ModuleType) -> None:
    lengths = {}
    with hydra.initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        for study in comparison.STUDIES:
            for name, method in comparison.METHODS.items():
                overrides = [f"sweep={study}", *method.overrides]
                config = hydra.compose("config", overrides, return_hydra_config=True)
                sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
                halves = name == "halving and repeats"
                assert bool(sweeper["halving"]) == bool(sweeper["confirm"]) == halves
                node = OmegaConf.to_container(config, resolve=False)
                node.pop("hydra")
                check(node)
                lengths[study, name] = node["training"]["epochs"]
    assert {lengths[key] for key in lengths if key[1] == "short trials"} == {16}
    assert all(lengths[key] > 16 for key in lengths if key[1] != "short trials")


def test_time_is_that_in_which_a_study_ran(comparison: ModuleType) -> None:
    parts = [(100.0, 160.0), (1000.0, 1030.0)]
    assert comparison.spent(parts) == 90.0
    assert comparison.spent(parts, until=130.0) == 30.0
    assert comparison.spent(parts, until=500.0) == 60.0
    assert comparison.spent(parts, until=1010.0) == 70.0


def test_a_winner_is_trained_to_its_full_length(comparison: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    given = ["anneal=monotonic", "training.epochs=16", "evaluation.every_epochs=4", "seed=3",
             "sweep=default", "threads=1", "model.latent_size=2"]  # fmt: skip
    (tmp_path / ".hydra" / "overrides.yaml").write_text(json.dumps(given))
    assert comparison.overrides_of(tmp_path) == ["anneal=monotonic", "model.latent_size=2"]


def test_the_table(
    comparison: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, document = tmp_path / "runs", tmp_path / "search.md"
    shutil.copy(REPOSITORY / "docs" / "search.md", document)
    study = comparison.directory_of(runs, "report", "random search", 0)
    # Passed by the second trial, after 90 s; the first scores too low, the third is pruned.
    leave(study / "trial_00000", gaussian_score=0.25)
    leave(study / "trial_00001", begun="2026-01-01T00:00:30+00:00")
    leave(study / "trial_00002", status="pruned")
    first = 1767225600.0  # 2026-01-01, UTC
    (study / "active.json").write_text(json.dumps([[first, first + 300.0]]))
    never = comparison.directory_of(runs, "report", "random search", 1)
    leave(never / "trial_00000", bleu4=0.5)
    (never / "active.json").write_text(json.dumps([[first, first + 300.0]]))
    for fresh, score in zip(comparison.FRESH_SEEDS, (0.5, 0.75, 1.0), strict=True):
        leave(comparison.retrained(runs, "report", "random search", 0, fresh), gaussian_score=score)
        leave(comparison.retrained(runs, "report", None, 0, fresh), gaussian_score=0.0)
    (runs / "budget.json").write_text("300.0")
    arguments = ["--table", "--runs", str(runs), "--document", str(document)]
    assert comparison.main(arguments) == 0
    assert capsys.readouterr().out.endswith("filled search_report\n")
    rows = [line for line in document.read_text().splitlines() if line.startswith("| ")]
    (none,) = [row for row in rows if row.startswith("| no search | ")]
    assert none == "| no search | - | - | - | 3 | 0.750 | 1 | 0 | 400 | 0.250 |"
    (random,) = [row for row in rows if row.startswith("| random search | 2 ")]
    assert random == (
        "| random search | 2 | 1.500 (1 to 2) | 0.300, 1 never | 3 | 0.750 | 1 "
        "| 0.750 (0.500 to 1) | 400 | 0.250 |"
    )
    assert "search_comparison.py default`." in document.read_text(), "left as it was"


def test_an_unknown_study_is_named(
    comparison: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        comparison.main(["defalt"])
    assert "defalt: no such study; allowed: default, report" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_at_toy_size(
    comparison: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "FRESH_SEEDS", (100,))
    runs, document = tmp_path / "runs", tmp_path / "search.md"
    shutil.copy(REPOSITORY / "docs" / "search.md", document)
    arguments = ["default", "--seeds", "1", "--runs", str(runs), "--document", str(document)]
    small = importlib.import_module("trial_overhead").few_verbs(tmp_path)
    arguments += ["--budget", "20"]
    arguments += [word for given in (*small, "threads=1") for word in ("--override", given)]
    assert comparison.main(arguments) == 0
    lines = document.read_text().splitlines()
    ways = [line.split(" | ")[0] for line in lines if "| 1 | 0." in line]
    assert ways == ["| no search", *(f"| {method}" for method in comparison.METHODS)]
    for method in comparison.METHODS:
        directory = comparison.directory_of(runs, "default", method, 0)
        took = comparison.spent(comparison.activity(directory))
        assert took < 60 and ((directory / "ended").exists() or took > 12)
    before = sorted(runs.rglob("result.json"))
    assert comparison.main(arguments) == 0
    assert sorted(runs.rglob("result.json")) == before, "what has spent its time is not run again"
