"""One run end to end at toy size: its files, its numbers, and resuming after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from test_config import MEMBERS, compose

from cvae import evaluation, experiment, trial
from cvae.model import build_model
from cvae.run_directory import RunDirectory, RunDirectoryError
from cvae.training import Trainer

TOY = ("debug=smoke", "data=files", "training.batch_size=16")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Overrides that point to a training file of ten verbs."""
    lemmas = ["walk", "talk", "jump", "open", "help", "turn", "call", "work", "play", "look"]
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{w} {w}s {w}ing {w}ed\n" for w in lemmas))
    return [*TOY, f"data.train_path={path}"]


def result_of(directory: Path) -> dict[str, Any]:
    loaded = json.loads((directory / "result.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_a_run_leaves_every_file_with_its_content(words: list[str], tmp_path: Path) -> None:
    config = compose(*words, "data.dev_count=3")
    value = experiment.run(config, tmp_path / "run", ["seed=0"])

    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "result.json", "metrics.csv", "weights.safetensors", "model.json", "conversions.csv",
        "samples.csv", "curves.png",
    }  # fmt: skip
    assert not list((tmp_path / "run").glob("checkpoint*"))
    result = result_of(tmp_path / "run")
    assert result["status"] == "complete"
    assert result["objective"]["value"] == value
    assert result["config"] == config
    assert result["overrides"] == ["seed=0"]
    metrics = result["metrics"]
    parts = result["objective"]["parts"]
    assert value == pytest.approx(0.5 * parts["bleu4"] + 0.5 * parts["gaussian_score"])
    assert parts == {
        "bleu4": metrics["dev_bleu4"],
        "gaussian_score": metrics["dev_gaussian_score"],
    }
    rows = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert list(rows["epoch"]) == [1, 2]
    assert list(rows["step"]) == [2, 4]  # seven training verbs are 28 words, in batches of 16
    conversions = pd.read_csv(tmp_path / "run" / "conversions.csv", keep_default_na=False)
    assert list(conversions["split"].value_counts().reindex(["report", "dev"])) == [10, 36]
    share = conversions[conversions["split"] == "dev"]["correct"].mean()
    assert share == pytest.approx(metrics["dev_exact_match"])
    samples = pd.read_csv(tmp_path / "run" / "samples.csv", keep_default_na=False)
    assert len(samples) == config["evaluation"]["draws"]
    assert samples["training_row"].mean() == pytest.approx(metrics["gaussian_score"])


def test_the_same_seed_gives_the_same_numbers(words: list[str], tmp_path: Path) -> None:
    for name in ("first", "second"):
        experiment.run(compose(*words), tmp_path / name, [])
    first, second = result_of(tmp_path / "first"), result_of(tmp_path / "second")
    assert first["metrics"] == second["metrics"]
    for name in ("weights.safetensors", "conversions.csv", "samples.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    experiment.run(compose(*words, "seed=1"), tmp_path / "third", [])
    assert result_of(tmp_path / "third")["metrics"] != first["metrics"]


class Killed(BaseException):
    """Simulates a kill: no code catches it."""


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_resumes_to_the_bit(
    epoch: int, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(*words, "training.epochs=4", "training.prior_start=0.0")
    experiment.run(config, tmp_path / "whole", [])
    real = Trainer.train_epoch

    def killed_later(trainer: Trainer) -> Any:
        if trainer.epoch == epoch:
            raise Killed
        return real(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", killed_later)
        with pytest.raises(Killed):
            experiment.run(config, tmp_path / "broken", [])
    assert not (tmp_path / "broken" / "result.json").exists()
    assert (tmp_path / "broken" / "checkpoint.safetensors").exists()
    experiment.run(config, tmp_path / "broken", [])
    whole, resumed = result_of(tmp_path / "whole"), result_of(tmp_path / "broken")
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["objective"] == whole["objective"]
    for name in ("weights.safetensors", "conversions.csv", "samples.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()


def test_a_checkpoint_of_another_config_is_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(experiment._Run, "_finish", lambda run: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            experiment.run(compose(*words), tmp_path / "run", [])
    with pytest.raises(RunDirectoryError, match="interrupted run of another config"):
        experiment.run(compose(*words, "seed=5"), tmp_path / "run", [])


def test_a_finished_run_is_not_overwritten(words: list[str], tmp_path: Path) -> None:
    experiment.run(compose(*words), tmp_path / "run", [])
    before = (tmp_path / "run" / "result.json").read_bytes()
    with pytest.raises(RunDirectoryError, match="holds a finished run"):
        experiment.run(compose(*words), tmp_path / "run", [])
    assert (tmp_path / "run" / "result.json").read_bytes() == before


def test_divergence_is_named_and_returns_the_worst_value(words: list[str], tmp_path: Path) -> None:
    wild = ("optim=sgd", "optim.encoder_lr=1e30", "optim.decoder_lr=1e30", "optim.gradient_clip=0")
    value = experiment.run(compose(*words, *wild), tmp_path / "run", [])
    result = result_of(tmp_path / "run")
    assert value == 0.0
    assert result["status"] == "diverged"
    assert "step" in result["reason"]


@pytest.mark.parametrize("name", ["bleu", "gaussian", "pareto"])
def test_the_other_objectives(name: str, words: list[str], tmp_path: Path) -> None:
    value = experiment.run(compose(*words, f"objective={name}"), tmp_path / "run", [])
    metrics = result_of(tmp_path / "run")["metrics"]
    pair = (metrics["dev_bleu4"], metrics["dev_gaussian_score"])
    assert value == {"bleu": pair[0], "gaussian": pair[1], "pareto": pair}[name]


@pytest.mark.parametrize("name", ["weighted", "bleu", "pareto", "gaussian"])
@pytest.mark.parametrize(
    ("conversions", "metric"), [("seen", "seen_bleu4"), ("unseen", "dev_bleu4")]
)
def test_an_objective_counts_the_conversions_it_names(
    name: str, conversions: str, metric: str, words: list[str], tmp_path: Path
) -> None:
    chosen = (f"objective={name}", f"objective.conversions={conversions}", "data.dev_count=3")
    value = experiment.run(compose(*words, *chosen), tmp_path / "run", [])
    result = result_of(tmp_path / "run")
    bleu4, gaussian = result["metrics"][metric], result["metrics"]["dev_gaussian_score"]
    assert result["metrics"]["seen_bleu4"] != result["metrics"]["dev_bleu4"]
    assert result["objective"]["parts"] == {"bleu4": bleu4, "gaussian_score": gaussian}
    assert value == pytest.approx(
        {
            "weighted": 0.5 * bleu4 + 0.5 * gaussian,
            "bleu": bleu4,
            "pareto": (bleu4, gaussian),
            "gaussian": gaussian,
        }[name]
    )


def test_a_pruned_run_has_the_status_pruned(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[tuple[float, int]] = []

    class Hopeless(trial.TrialHandle):
        def report(self, value: float, step: int) -> None:
            reports.append((value, step))

        def should_prune(self) -> bool:
            return True

    monkeypatch.setattr(trial, "current", lambda: Hopeless(study="toy", number=7))
    with pytest.raises(type(trial.pruned(""))):
        experiment.run(compose(*words), tmp_path / "run", [])
    result = result_of(tmp_path / "run")
    assert result["status"] == "pruned"
    assert result["trial"] == {"study": "toy", "number": 7}
    assert len(reports) == 1
    assert result["steps"] == result["metrics"]["step"]


@pytest.mark.parametrize(("group", "member"), [pair for pair in MEMBERS if pair[0] != "data"])
def test_every_member_trains_a_step(
    group: str, member: str, words: list[str], tmp_path: Path
) -> None:
    overrides = [f"{group}={member}"]
    if group != "model":
        overrides.append("model=single")
    smoke = [word for word in words if word != "debug=smoke"]
    starts = [f"training.{phase}_start=0.0" for phase in ("prior", "partition", "coverage")]
    config = compose(*overrides, *smoke, "training.epochs=1", *starts)
    dataset = experiment.load_dataset(config["data"])
    torch.manual_seed(0)
    sizes = {key: value for key, value in config["model"].items() if key != "name"}
    model = build_model(config["model"]["name"], **sizes)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = experiment.make_trainer(config, model, dataset, torch.device("cpu"))
    losses = trainer.train_epoch()
    assert losses.cross_entropy > 0.0
    moved = [not torch.equal(before[name], value) for name, value in model.named_parameters()]
    assert sum(moved) > len(moved) / 2


def test_cuda_without_a_card_is_refused(words: list[str], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match="use device=cpu"):
        experiment.run(compose(*words, "device=cuda"), tmp_path / "run", [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("model", ["default", "single", "report"])
def test_a_run_on_cuda_learns_what_it_learns_on_the_cpu(
    words: list[str], tmp_path: Path, model: str
) -> None:
    losses = {}
    for device in ("cpu", "cuda"):
        config = compose(*words, f"model={model}", f"device={device}")
        experiment.run(config, tmp_path / device, [])
        assert result_of(tmp_path / device)["status"] == "complete"
        losses[device] = list(pd.read_csv(tmp_path / device / "epochs.csv")["cross_entropy"])
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)


def test_a_saved_model_gives_the_same_outputs(words: list[str], tmp_path: Path) -> None:
    experiment.run(compose(*words), tmp_path / "run", [])
    model = RunDirectory(tmp_path / "run").load_model()
    conversions = pd.read_csv(tmp_path / "run" / "conversions.csv", keep_default_na=False)
    tenses = list(evaluation.TENSES)
    asked = [
        (row.source, tenses.index(row.source_tense), tenses.index(row.target_tense))
        for row in conversions.itertuples()
    ]
    predicted = evaluation.convert(model, asked, torch.device("cpu"))
    assert predicted == list(conversions["prediction"])


def test_a_run_that_is_too_large_names_the_settings_to_reduce(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "train_epoch", lambda _: torch.empty(10**15))
    with pytest.raises(experiment.OutOfMemory, match="training.coverage_draws.* smaller"):
        experiment.run(compose(*words), tmp_path / "run", [])


def test_other_errors_of_torch_are_not_changed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "train_epoch", lambda _: torch.empty(2) @ torch.empty(3))
    with pytest.raises(RuntimeError, match="size"):
        experiment.run(compose(*words), tmp_path / "run", [])
