"""One run end to end at toy size: its files, its numbers, and resuming after a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from test_config import MEMBERS, compose

from cvae import (
    chosen_data,
    evaluation,
    experiment,
    from_config,
    latent_space,
    resumption,
    trained_run,
    trial,
)
from cvae.metrics import gaussian_variety
from cvae.model import build_model
from cvae.run_directory import RunDirectory, RunDirectoryError
from cvae.training import Trainer

TOY = ("debug=smoke", "data=files", "training.batch_size=16", "evaluation.latent_places=0")
MAP = "evaluation.latent_places=8"  # for the tests of the map of the latent space


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that point to a training file of ten verbs."""
    lemmas = ["walk", "talk", "jump", "open", "help", "turn", "call", "work", "play", "look"]
    path = tmp_path_factory.mktemp("data") / "train.txt"
    path.write_text("".join(f"{w} {w}s {w}ing {w}ed\n" for w in lemmas))
    return [*TOY, f"data.train_path={path}"]


@pytest.fixture(scope="module")
def finished(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run, for tests that only read it."""
    directory = tmp_path_factory.mktemp("finished")
    experiment.run(compose(*words, MAP), directory, [])
    return directory


@pytest.fixture(scope="module")
def uninterrupted(
    words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """A run of four epochs: its config and its directory."""
    config = compose(*words, MAP, "training.epochs=4", "training.prior_start=0.0")
    directory = tmp_path_factory.mktemp("uninterrupted")
    experiment.run(config, directory, [])
    return config, directory


def result_of(directory: Path) -> dict[str, Any]:
    loaded = json.loads((directory / "result.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_a_run_leaves_every_file_with_its_content(words: list[str], tmp_path: Path) -> None:
    config = compose(*words, MAP, "data.dev_count=3")
    value = experiment.run(config, tmp_path / "run", ["seed=0"])

    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "result.json", "metrics.csv", "weights.safetensors", "model.json", "conversions.csv",
        "samples.csv", "curves.png", "curves.pdf", "curves.svg", "losses.csv",
        "latent.png",
    }  # fmt: skip
    assert not list((tmp_path / "run").glob("checkpoint*"))
    result = result_of(tmp_path / "run")
    assert result["status"] == "complete"
    assert result["objective"]["value"] == value
    assert result["config"] == config
    assert result["overrides"] == ["seed=0"]
    metrics = result["metrics"]
    parts = result["objective"]["parts"]
    assert value == pytest.approx(0.5 * parts["bleu4"] + 0.5 * parts["gaussian_variety"])
    assert parts == {
        "bleu4": metrics["dev_bleu4"],
        "gaussian_score": metrics["dev_gaussian_score"],
        "gaussian_variety": metrics["dev_gaussian_variety"],
    }
    rows = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert list(rows["epoch"]) == [1, 2]
    assert list(rows["step"]) == [2, 4]  # seven training verbs are 28 words, in batches of 16
    assert value == rows["dev_objective"].max()
    losses = pd.read_csv(tmp_path / "run" / "losses.csv")
    assert list(losses["step"]) == [1, 2, 3, 4]
    for epoch, row in enumerate(rows.itertuples()):
        part = losses[2 * epoch : 2 * epoch + 2]
        # The smaller batch comes first or last.
        means = [np.average(part["cross_entropy"], weights=w) for w in ([16, 12], [12, 16])]
        assert any(mean == pytest.approx(row.cross_entropy) for mean in means)
    conversions = pd.read_csv(tmp_path / "run" / "conversions.csv", keep_default_na=False)
    assert list(conversions["split"].value_counts().reindex(["report", "dev"])) == [10, 36]
    share = conversions[conversions["split"] == "dev"]["correct"].mean()
    assert share == pytest.approx(metrics["dev_exact_match"])
    samples = pd.read_csv(tmp_path / "run" / "samples.csv", keep_default_na=False)
    assert len(samples) == config["evaluation"]["draws"]
    assert samples["training_row"].mean() == pytest.approx(metrics["gaussian_score"])
    hits = samples[samples["training_row"] == 1]["simple_present"].value_counts()
    assert metrics["gaussian_variety"] == pytest.approx(
        gaussian_variety(list(hits), rows=7, draws=len(samples))
    )


@pytest.mark.usefixtures("png_only")
def test_the_same_seed_gives_the_same_numbers(
    finished: Path, words: list[str], tmp_path: Path
) -> None:
    experiment.run(compose(*words), tmp_path / "second", [])
    first, second = result_of(finished), result_of(tmp_path / "second")
    assert first["metrics"] == second["metrics"]
    for name in ("weights.safetensors", "conversions.csv", "samples.csv"):
        assert (finished / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    experiment.run(compose(*words, "seed=1"), tmp_path / "third", [])
    assert result_of(tmp_path / "third")["metrics"] != first["metrics"]


class Killed(BaseException):
    """Simulates a kill: no code catches it."""


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_resumes_to_the_bit(
    epoch: int,
    uninterrupted: tuple[dict[str, Any], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, directory = uninterrupted
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
    whole, resumed = result_of(directory), result_of(tmp_path / "broken")
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["objective"] == whole["objective"]
    for name in (
        *("weights.safetensors", "conversions.csv", "samples.csv"),
        *("epochs.csv", "losses.csv", "curves.png", "curves.pdf", "curves.svg", "latent.png"),
    ):
        assert (directory / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()


def test_a_checkpoint_of_another_config_is_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(experiment._Run, "_finish", lambda run: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            experiment.run(compose(*words), tmp_path / "run", [])
    with pytest.raises(RunDirectoryError, match="interrupted run of another config"):
        experiment.run(compose(*words, "seed=5"), tmp_path / "run", [])


class _Trial(trial.TrialHandle):
    """A trial of a search without a database."""


@pytest.mark.usefixtures("png_only")
def test_a_run_leaves_a_map_of_the_latent_space(
    finished: Path,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not the trials of a search; and a map that cannot be drawn costs no result."""
    picture = Image.open(finished / "latent.png")
    assert picture.format == "PNG" and picture.width > 1000
    experiment.run(compose(*words), tmp_path / "none", [])
    assert not (tmp_path / "none" / "latent.png").exists()
    with monkeypatch.context() as patch:
        patch.setattr(trial, "current", lambda: _Trial(study="toy", number=7))
        experiment.run(compose(*words, MAP), tmp_path / "trial", [])
    assert not (tmp_path / "trial" / "latent.png").exists()
    monkeypatch.setattr(latent_space, "generate", lambda *_: 1 / 0)
    experiment.run(compose(*words, MAP), tmp_path / "soft", [])
    assert "No latent.png: ZeroDivisionError" in caplog.text
    for name in ("none", "trial", "soft"):
        result = result_of(tmp_path / name)
        assert result["metrics"] == result_of(finished)["metrics"]
        assert result["objective"] == result_of(finished)["objective"]


@pytest.mark.parametrize("stored", [{}, {"latent_places": 3}])
def test_a_checkpoint_may_know_another_map_or_none(
    stored: dict[str, int], words: list[str]
) -> None:
    config = compose(*words)
    older = {**config, "evaluation": {**config["evaluation"], **stored}}
    if not stored:
        del older["evaluation"]["latent_places"]
    assert resumption.is_same(older, config)
    longer = {**older, "evaluation": {**older["evaluation"], "draws": 51}}
    assert not resumption.is_same(longer, config)


def test_a_run_is_not_continued_on_other_data(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has the same path, and other verbs by now."""
    path = tmp_path / "train.txt"
    shutil.copy(words[-1].partition("=")[2], path)
    config = compose(*words[:-1], f"data.train_path={path}")
    with monkeypatch.context() as patch:
        patch.setattr(experiment._Run, "_finish", lambda run: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            experiment.run(config, tmp_path / "run", [])
    before = path.read_text()
    path.write_text(before.replace("played", "playt"))
    for refused in (experiment.check_directory, lambda c, d: experiment.run(c, d, [])):
        with pytest.raises(RunDirectoryError, match="an interrupted run on other data"):
            refused(config, tmp_path / "run")
    path.write_text(before)
    experiment.run(config, tmp_path / "run", [])
    result = result_of(tmp_path / "run")
    assert result["data_digest"] == chosen_data.load_dataset(config["data"]).digest
    path.write_text(before.replace("played", "playt"))
    with pytest.raises(RunDirectoryError, match="have changed since"):
        trained_run.load(tmp_path / "run")


def test_a_finished_run_is_not_overwritten(finished: Path, words: list[str]) -> None:
    before = (finished / "result.json").read_bytes()
    with pytest.raises(RunDirectoryError, match="holds a finished run"):
        experiment.run(compose(*words), finished, [])
    assert (finished / "result.json").read_bytes() == before


def test_divergence_is_named_and_returns_the_worst_value(words: list[str], tmp_path: Path) -> None:
    wild = ("optim=sgd", "optim.encoder_lr=1e30", "optim.decoder_lr=1e30", "optim.gradient_clip=0")
    value = experiment.run(compose(*words, *wild), tmp_path / "run", [])
    result = result_of(tmp_path / "run")
    assert value == 0.0
    assert result["status"] == "diverged"
    assert "step" in result["reason"]


ROW = ("walk", "walks", "walking", "walked")


@pytest.fixture
def one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw says the same training row."""
    draws = property(lambda seen: [ROW] * seen.draws)
    for bank in ("dev_draws", "report_draws"):
        monkeypatch.setattr(evaluation.Observations, bank, draws)


@pytest.mark.usefixtures("one_row", "png_only")
@pytest.mark.parametrize(
    ("name", "conversions", "metric", "generation", "counted"),
    [
        ("weighted", "seen", "seen_bleu4", "share", "gaussian_score"),
        ("pareto", "unseen", "dev_bleu4", "variety", "gaussian_variety"),
    ],
)
def test_a_run_returns_its_objective_of_what_it_measured(
    name: str,
    conversions: str,
    metric: str,
    generation: str,
    counted: str,
    words: list[str],
    tmp_path: Path,
) -> None:
    chosen = [f"objective={name}", f"objective.conversions={conversions}", "data.dev_count=3"]
    chosen.append(f"objective.generation={generation}")
    value = experiment.run(compose(*words, *chosen), tmp_path / "run", [])
    result = result_of(tmp_path / "run")
    metrics, parts = result["metrics"], result["objective"]["parts"]
    assert metrics["seen_bleu4"] != metrics["dev_bleu4"]
    assert parts["bleu4"] == metrics[metric]
    assert parts["gaussian_score"] == metrics["dev_gaussian_score"] == 1.0
    assert parts["gaussian_variety"] == metrics["dev_gaussian_variety"] < 0.3  # of seven rows
    bleu4, part = parts["bleu4"], parts[counted]
    assert value == pytest.approx((bleu4, part) if name == "pareto" else 0.5 * (bleu4 + part))


@pytest.mark.usefixtures("png_only")
@pytest.mark.parametrize("objective", ["weighted", "bleu"])
def test_a_checkpoint_from_before_the_generation_key_continues_with_the_share(
    objective: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*words, "training.epochs=4", f"objective={objective}"]
    shared = [*words, "objective.generation=share"] if objective == "weighted" else words
    experiment.run(compose(*shared), tmp_path / "whole", [])
    real = Trainer.train_epoch

    def killed_later(trainer: Trainer) -> Any:
        if trainer.epoch == 2:
            raise Killed
        return real(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", killed_later)
        with pytest.raises(Killed):
            experiment.run(compose(*shared), tmp_path / "run", [])
    files = RunDirectory(tmp_path / "run")
    found = files.read_checkpoint()
    assert found is not None
    tensors, counters = found
    counters["config"]["objective"].pop("generation", None)
    del counters["best_parts"]["gaussian_variety"]
    for row in counters["rows"]:
        del row["dev_gaussian_variety"]
    files.write_checkpoint(tensors, counters)
    if objective == "weighted":
        with pytest.raises(RunDirectoryError, match="run with objective.generation=share; give"):
            experiment.check_directory(compose(*words), tmp_path / "run")
    experiment.run(compose(*shared), tmp_path / "run", [])
    whole, resumed = result_of(tmp_path / "whole"), result_of(tmp_path / "run")
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["objective"]["value"] == whole["objective"]["value"]


@pytest.mark.usefixtures("png_only")
def test_the_generation_changes_what_is_kept_and_not_what_is_trained(
    words: list[str], tmp_path: Path
) -> None:
    for generation in ("variety", "share"):
        chosen = (f"objective.generation={generation}", "evaluation.keep=last")
        experiment.run(compose(*words, *chosen), tmp_path / generation, [])
    for name in ("weights.safetensors", "conversions.csv", "epochs.csv", "samples.csv"):
        one, other = (tmp_path / part / name for part in ("variety", "share"))
        assert one.read_bytes() == other.read_bytes()


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
    drawn = {path.name for path in (tmp_path / "run").glob("curves.*")}
    assert drawn == {"curves.png"}  # of many trials hardly one goes into print
    assert len(reports) == 1
    assert result["steps"] == result["metrics"]["step"]


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_run_paused_at_a_rung_goes_on_to_the_bit(
    every: int, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(*words, "training.epochs=5", f"evaluation.every_epochs={every}")
    asked: list[tuple[float, float, int]] = []

    class Halved(trial.TrialHandle):
        stops = True

        def stops_at(self, rung: float, value: float, step: int) -> bool:
            asked.append((rung, value, step))
            return self.stops

    def run(name: str, rungs: tuple[float, ...], *, stops: bool) -> None:
        handle = Halved(study="toy", number=7, rungs=rungs)
        handle.stops = stops
        monkeypatch.setattr(trial, "current", lambda: handle)
        experiment.run(config, tmp_path / name, [])

    run("whole", (), stops=True)
    with pytest.raises(type(trial.pruned("")), match="0.5 of the training"):
        run("paused", (0.5, 0.9), stops=True)
    result = result_of(tmp_path / "paused")
    assert result["status"] == "pruned" and result["trial"]["paused"] == 0.5
    assert result["metrics"]["epoch"] == 3 and result["steps"] == result["metrics"]["step"]
    assert result["objective"]["value"] == asked[0][1] > 0
    # Killed between checkpoint and decision, it would be asked again.
    with pytest.raises(type(trial.pruned(""))):
        run("paused", (0.5, 0.9), stops=True)
    assert asked[0] == asked[1]
    run("paused", (0.9,), stops=True)
    run("promoted", (0.5,), stops=False)
    assert [rung for rung, _, _ in asked] == [0.5, 0.5, 0.5], "0.9 of 5 epochs is the end"
    for name in ("paused", "promoted"):
        assert result_of(tmp_path / name)["metrics"] == result_of(tmp_path / "whole")["metrics"]
        rows = [pd.read_csv(tmp_path / one / "metrics.csv") for one in (name, "whole")]
        assert rows[0].drop(columns="seconds").equals(rows[1].drop(columns="seconds"))
        for file in ("weights.safetensors", "samples.csv", "epochs.csv"):
            whole = (tmp_path / "whole" / file).read_bytes()
            assert (tmp_path / name / file).read_bytes() == whole
        assert not list((tmp_path / name).glob("checkpoint*"))
        with pytest.raises(RunDirectoryError, match="holds a finished run"):
            run(name, (), stops=True)


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
    dataset = chosen_data.load_dataset(config["data"])
    torch.manual_seed(0)
    sizes = {key: value for key, value in config["model"].items() if key != "name"}
    model = build_model(config["model"]["name"], **sizes)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = from_config.make_trainer(config, model, dataset, torch.device("cpu"))
    losses = trainer.train_epoch()
    assert losses.cross_entropy > 0.0
    moved = [not torch.equal(before[name], value) for name, value in model.named_parameters()]
    assert sum(moved) > len(moved) / 2


def test_cuda_without_a_card_is_refused(words: list[str], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match="use device=cpu"):
        experiment.run(compose(*words, "device=cuda"), tmp_path / "run", [])


@pytest.mark.cuda
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


def test_a_saved_model_gives_the_same_outputs(finished: Path) -> None:
    model = RunDirectory(finished).load_model()
    conversions = pd.read_csv(finished / "conversions.csv", keep_default_na=False)
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
