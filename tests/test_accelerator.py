"""benchmarks/accelerator.py on a machine without a card: every part but CUDA's, at toy size."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from shared import DEFAULT, REPOSITORY
from trainers import ROWS

from cvae.batches import TrainingRows
from cvae.model import ConditionalVAE, build_model

PROGRAM = REPOSITORY / "benchmarks" / "accelerator.py"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))


def accelerator(directory: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    path = directory / "accelerator.json"
    finished = subprocess.run(
        [sys.executable, str(PROGRAM), "--json", str(path), *arguments],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=600,
    )
    return finished, json.loads(path.read_text()) if path.exists() else None


@pytest.mark.slow
def test_each_part_measures_at_toy_size(tmp_path: Path) -> None:
    finished, result = accelerator(tmp_path, "--toy", "--limit=500")
    assert finished.returncode == 0, finished.stderr
    parts = result["parts"]
    assert {name: part["ended"] for name, part in parts.items()} == dict.fromkeys(
        ["search", "epochs", "batched", "processes"], "complete"
    )
    (search,) = parts["search"]["rows"]
    assert search["complete"] == search["trials"] == 2
    assert [row["networks"] for row in parts["epochs"]["rows"]] == [
        "report",
        "one level",
        "default",
    ]
    one, *batched = parts["batched"]["rows"]
    assert one["way"] == "one trainer" and [row["at_once"] for row in batched] == [1, 3]
    for row in batched:
        assert row["difference_of_gradients"] < 1e-3
        assert row["epochs_an_hour"] * row["epoch_seconds"]["median"] == pytest.approx(
            3600 * row["at_once"]
        )
    (processes,) = parts["processes"]["rows"]
    assert processes["complete"] == processes["at_once"] == 2
    assert processes["trials_an_hour"] > 0.0 and processes["host_megabytes"] > 50.0
    assert "| one trainer | 1 | " in finished.stdout
    assert "| one batched model | 64 | not measured | " in finished.stdout
    assert "| tests that need CUDA | not measured |" in finished.stdout


def test_a_part_without_time_loses_nothing_of_the_others(tmp_path: Path) -> None:
    finished, result = accelerator(
        tmp_path, "--toy", "--limit=0.3", "--only=epochs", "--only=batched"
    )
    assert finished.returncode == 0, finished.stderr
    assert all(part["ended"].startswith("stopped after") for part in result["parts"].values())
    assert list(result["parts"]) == ["epochs", "batched"]
    assert "| default | epoch | not measured | not measured | not measured |" in finished.stdout


def test_rows_before_a_failure_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("accelerator")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "with open(sys.argv[3], 'w') as file:\n"
        '    file.write(\'{"way": 1}\\n{"way": 2}\\n{"way\')\n'
        "raise ValueError('no more')\n"
    )
    monkeypatch.setattr(module, "__file__", str(program))
    part = module.run_part("batched", "cpu", True, 60.0)
    assert part["rows"] == [{"way": 1}, {"way": 2}] and part["ended"] == "ValueError: no more"


def test_without_a_card_or_a_package_it_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("accelerator")
    monkeypatch.setattr(module, "card", lambda: None)
    assert module.main([]) == 2
    assert "--toy" in capsys.readouterr().err
    monkeypatch.setattr(module, "IMPORTED", {"no_such_module": "hydra-core", "no.such": "pytest"})
    assert module.main(["--toy"]) == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: not installed; pip install 'hydra-core>=") and "'pytest>=" in said
    )
    assert said.count("\n") == 1
    (tmp_path / "half.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "IMPORTED", {"half": "optuna"})
    assert module.main(["--toy"]) == 2
    said = capsys.readouterr().err
    assert said == "error: optuna cannot be imported: No module named 'nowhere_to_be_found'\n"


def test_programs_started_from_here_find_packages_that_are_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measuring = importlib.import_module("measuring")
    monkeypatch.setenv("PYTHONPATH", "/packages/carried/along")
    places = measuring.fresh_environment()["PYTHONPATH"].split(os.pathsep)
    assert places == [str(REPOSITORY), "/packages/carried/along"]
    monkeypatch.delenv("PYTHONPATH")
    assert measuring.fresh_environment()["PYTHONPATH"] == str(REPOSITORY)


def models(count: int) -> list[ConditionalVAE]:
    sizes = {**DEFAULT, "word_latent_size": 0}
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(build_model("default", **sizes).double())
    return made


def batches(rows: TrainingRows, count: int) -> Any:
    module = importlib.import_module("batched")
    drawn = [
        next(
            rows.epoch(
                batch_size=8,
                pairs="cross",
                hallucination_share=0.0,
                generator=torch.Generator().manual_seed(seed),
            )
        )
        for seed in range(count)
    ]
    return module.together(drawn, torch.device("cpu"))


def test_trials_as_one_model_have_the_projects_own_gradients() -> None:
    module = importlib.import_module("batched")
    made = models(3)
    trials = module.Trials(made, [0.01, 0.02, 0.03], [0.0, 0.5, 1.0], clip=1.0)
    assert module.difference(made, trials, batches(ROWS, 3)) < 1e-9
    trials.kl_weights += 0.1
    again = module.Trials(made, [0.01] * 3, [0.0, 0.5, 1.0], clip=1.0)
    batch = batches(ROWS, 3)
    noise = torch.randn(3, batch[0].shape[1], DEFAULT["latent_size"]).double()
    assert not torch.allclose(trials.gradients(batch, noise)[1], again.gradients(batch, noise)[1])


def test_trials_as_one_model_take_the_steps_that_each_would_take_alone() -> None:
    module = importlib.import_module("batched")
    made, rates = models(2), [0.01, 0.03]
    batch = batches(ROWS, 2)
    trials = module.Trials(made, rates, [0.1, 0.2], clip=0.5)
    optimizers = [
        torch.optim.Adam(model.parameters(), lr=rate)
        for model, rate in zip(made, rates, strict=True)
    ]
    for _ in range(3):
        noise = torch.randn(2, batch[0].shape[1], DEFAULT["latent_size"]).double()
        trials.step(batch, noise)
        for index, (model, optimizer) in enumerate(zip(made, optimizers, strict=True)):
            optimizer.zero_grad()
            own = tuple(part[index] for part in batch)
            module.own_loss(model, own, noise[index], trials.kl_weights[index]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    for index, model in enumerate(made):
        for name, value in model.named_parameters():
            assert torch.allclose(trials.weights[name][index], value, atol=1e-9), name
