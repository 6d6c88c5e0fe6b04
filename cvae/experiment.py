"""One run: a checked config becomes objects, the objects run, and the files are written.

This is the only place that knows configs and networks alike. It resumes from a checkpoint in
its directory, if one is there, and ends with the numbers of a run never interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import subprocess
import textwrap
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import hydra.utils
import torch
from torch import Tensor

from cvae import evaluation, reporting, run_figure, trial
from cvae.batches import TrainingRows
from cvae.config import ConfigError
from cvae.data import Dataset, load_files, load_table
from cvae.model import ConditionalVAE, build_model, misfit
from cvae.optimizers import Diverged, OptimizerSettings
from cvae.run_directory import CHECKPOINT, LOSSES, RunDirectory, RunDirectoryError
from cvae.schedules import kl_weight_schedule, teacher_forcing_schedule
from cvae.state import StateError
from cvae.training import EpochLosses, Trainer, TrainingSettings

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS: Final = 10.0
"""An epoch that ends this long after the last checkpoint leaves one: the work lost to a kill."""

SHOWN_PARADIGMS: Final = 8


class OutOfMemory(ValueError):
    """The config is valid, but too large for this machine."""


Value = float | list[float]
Parts = Mapping[str, float]


def _weighted(parts: Parts, *, bleu_weight: float, gaussian_weight: float) -> Value:
    return bleu_weight * parts["bleu4"] + gaussian_weight * parts["generation"]


OBJECTIVES: Final[Mapping[str, Callable[..., Value]]] = {
    "weighted": _weighted,
    "bleu": lambda parts: parts["bleu4"],
    "gaussian": lambda parts: parts["generation"],
    "pareto": lambda parts: [parts["bleu4"], parts["generation"]],
}
"""What a run returns, by ``objective.name``: of ``bleu4`` and ``generation``; larger is better."""

PARTS: Final = ("bleu4", "gaussian_score", "gaussian_variety")
"""What ``result.json`` tells of the objective's parts, whichever of them count."""

COUNTED_CONVERSIONS: Final[Mapping[str, str]] = {"unseen": "dev_bleu4", "seen": "seen_bleu4"}
"""The metric that is the parts' ``bleu4``, by ``objective.conversions``."""

COUNTED_GENERATION: Final[Mapping[str, str]] = {
    "variety": "gaussian_variety",
    "share": "gaussian_score",
}
"""The part that is ``generation``, by ``objective.generation``."""

FORMER_GENERATION: Final = "share"
"""What ``objective.generation`` was before there was the key."""


@dataclass
class _Progress:
    """What a run has found so far; part of every checkpoint."""

    rows: list[dict[str, float | None]] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_value: float = -math.inf
    best_epoch: int | None = None
    best_parts: dict[str, float] = field(default_factory=dict)
    best_state: dict[str, Tensor] = field(default_factory=dict)
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0


@dataclass(frozen=True)
class _Paused:
    """What a run has reached where a search stopped it."""

    rung: float
    parts: dict[str, float]
    table: dict[str, float | None]


def run(
    config: Mapping[str, Any], directory: Path, overrides: list[str]
) -> float | tuple[float, ...]:
    """Train, evaluate and write one run.

    Args:
        config: checked by ``cvae.config.check``.
        directory: where its files go.
        overrides: the command line's, for the record.

    Returns:
        The objective, one finite number, or a tuple of them for ``objective=pareto``. A run that
        diverged returns the worst value, 0.

    Raises:
        ConfigError, DataError, ModelError, RunDirectoryError: for input that cannot be run.
        OutOfMemory: if it asks for more than the machine or the device has.
        optuna.TrialPruned: inside a sweep, when the pruner stops the run; its files are written.
    """
    files = RunDirectory(directory)
    files.create()
    with files.lock():
        try:
            return _Run(config, files, overrides).execute()
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"{directory}: the memory does not suffice for this run ({error}); make the sizes "
                "of model, training.batch_size, training.coverage_draws or evaluation.draws smaller"
            ) from error


def check_input(config: Mapping[str, Any]) -> None:
    """Refuse data that cannot be read or a device that is not there.

    ``run`` does the same, but by then Hydra has made the run's directory.

    Raises:
        ConfigError, DataError: as ``run`` would.
    """
    _device(config["device"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will say
        load_dataset(config["data"])


def check_directory(config: Mapping[str, Any], directory: Path) -> None:
    """Refuse a directory in which this run could not go on.

    ``run`` does the same, but by then Hydra has written into it.

    Raises:
        RunDirectoryError: if it is in use, not writable, or holds another run.
    """
    files = RunDirectory(directory)
    files.create()
    with files.lock():
        _refuse_finished(files)
        found = files.read_checkpoint()
        if found is not None:
            _refuse_other(directory, found[1], config)


def _refuse_finished(files: RunDirectory) -> None:
    if (files.path / "result.json").exists() and not _is_paused(files):
        files.clear_checkpoint()  # a kill between the two may have left it
        raise RunDirectoryError(
            f"{files.path}: holds a finished run; choose another directory or remove it"
        )


def _is_paused(files: RunDirectory) -> bool:
    """Whether the run stopped at a rung of a search, from where it can go on."""
    try:
        trial = files.read_result().get("trial")
    except RunDirectoryError:
        return False
    return isinstance(trial, dict) and "paused" in trial


def _refuse_other(path: Path, counters: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    if _is_same(counters.get("config"), config):
        return
    former = {"objective": {**config["objective"], "generation": FORMER_GENERATION}}
    if _is_same(counters.get("config"), {**config, **former}):
        raise RunDirectoryError(
            f"{path}: holds an interrupted run with objective.generation={FORMER_GENERATION}; give "
            "that, too, to continue it, or choose another directory"
        )
    raise RunDirectoryError(
        f"{path}: holds an interrupted run of another config; repeat its own overrides "
        "(.hydra/overrides.yaml) to continue it, or choose another directory"
    )


def _is_same(stored: object, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's config is this one; it may be older than ``objective.generation``."""
    if "generation" in config["objective"] and isinstance(stored, dict):
        objective = stored.get("objective")
        if isinstance(objective, dict):
            former = {"generation": FORMER_GENERATION}
            stored = {**stored, "objective": {**former, **objective}}
    return bool(stored == config)


class _Run:
    def __init__(
        self, config: Mapping[str, Any], files: RunDirectory, overrides: list[str]
    ) -> None:
        self.config = config
        self.files = files
        self.overrides = overrides
        self.started_at = datetime.now(UTC)
        self.clock = time.monotonic()
        self.trial = trial.current()
        _refuse_finished(files)
        if config["threads"]:
            torch.set_num_threads(config["threads"])
        self.device = _device(config["device"])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.dataset = load_dataset(config["data"])
        for warning in caught:
            log.warning("%s", warning.message)
        torch.manual_seed(config["seed"])
        self.model_config = _without(("name",), config["model"])
        self.model = build_model(config["model"]["name"], **self.model_config).to(self.device)
        self.trainer = make_trainer(config, self.model, self.dataset, self.device)
        self.progress = _Progress()
        self.paused: _Paused | None = None

    def execute(self) -> float | tuple[float, ...]:
        self._resume()
        self.files.clear_result()  # of a run that was paused
        try:
            self._train()
        except Diverged as error:
            log.warning("Diverged: %s.", error)
            self._write_unfinished("diverged", str(error))
            return _as_returned(self._worst())
        except Exception as error:
            if type(error).__name__ == "TrialPruned":
                self._write_unfinished("pruned", str(error))
            raise
        return self._finish()

    # Training

    def _train(self) -> None:
        trainer, config = self.trainer, self.config
        log.info(
            "%s: %d training verbs, %d dev, %d parameters, %d steps an epoch",
            self.dataset.name,
            len(self.dataset.train),
            len(self.dataset.dev),
            sum(parameter.numel() for parameter in self.model.parameters()),
            trainer.steps_per_epoch,
        )
        if not self.dataset.dev:
            log.warning("The data have no dev verbs: selection measures fit on training verbs.")
        epochs, every = config["training"]["epochs"], config["evaluation"]["every_epochs"]
        rungs = self._rungs(epochs)
        last_checkpoint = time.monotonic()
        # A kill may have come after the checkpoint, and before the decision.
        if trainer.epoch in rungs:
            self._decide_at(rungs[trainer.epoch])
        with reporting.ProgressReport(epochs, trainer.epoch, log.info) as shown:
            while not trainer.finished:
                began = time.monotonic()
                losses = trainer.train_epoch()
                self.progress.train_seconds += time.monotonic() - began
                self.progress.epochs.append({"epoch": trainer.epoch, **vars(losses)})
                shown.epoch(losses.cross_entropy, losses.kl)
                due = trainer.epoch % every == 0 or trainer.finished
                if due:
                    self._evaluate(losses)
                    shown.evaluation(self.progress.rows[-1])
                rung = rungs.get(trainer.epoch)
                waited = time.monotonic() - last_checkpoint
                if due or rung is not None or waited > CHECKPOINT_SECONDS:
                    self._write_checkpoint()
                    last_checkpoint = time.monotonic()
                if due:
                    self._report_to_trial()
                if rung is not None:
                    self._decide_at(rung)

    def _evaluate(self, losses: EpochLosses) -> None:
        began = time.monotonic()
        progress = self.progress
        table = evaluation.measure(self._observations(), evaluation.DURING_TRAINING)
        progress.evaluate_seconds += time.monotonic() - began
        progress.rows.append(self._row({**vars(losses), **table}))
        parts = _parts(table, self.config["objective"]["conversions"])
        value = _scalar(self._objective(parts))
        progress.rows[-1]["dev_objective"] = value
        if self._is_better(value):
            progress.best_value, progress.best_parts = value, parts
            progress.best_epoch = self.trainer.epoch
            progress.best_state = {
                name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()
            }
        self.files.write_metrics(progress.rows)

    def _row(self, measured: Mapping[str, float | None]) -> dict[str, float | None]:
        """A row of metrics.csv: where training is, and what was measured there."""
        return {
            "step": self.trainer.step,
            "epoch": self.trainer.epoch,
            "progress": self.trainer.epoch / self.config["training"]["epochs"],
            "seconds": round(self.progress.train_seconds + self.progress.evaluate_seconds, 3),
            **measured,
        }

    def _is_better(self, value: float) -> bool:
        """Whether a model of this value takes the place of the one that was kept."""
        return value > self.progress.best_value or self.config["evaluation"]["keep"] == "last"

    def _observations(self) -> evaluation.Observations:
        self.model.eval()
        settings = self.config["evaluation"]
        return evaluation.Observations(
            self.model,
            self.dataset,
            draws=settings["draws"],
            importance_samples=settings["importance_samples"],
            device=self.device,
        )

    def _objective(self, parts: Parts) -> Value:
        node = self.config["objective"]
        counted = {"bleu4": parts["bleu4"]}
        if "generation" in node:
            counted["generation"] = parts[COUNTED_GENERATION[node["generation"]]]
        knobs = _without(("name", "conversions", "generation"), node)
        return OBJECTIVES[node["name"]](counted, **knobs)

    def _worst(self) -> Value:
        return self._objective(dict.fromkeys(PARTS, 0.0))

    def _show(self, parts: Parts) -> None:
        """Tell whoever watches the search how far the run is, and how good."""
        if self.trial is None:
            return
        epoch, epochs = self.trainer.epoch, self.config["training"]["epochs"]
        self.trial.show(
            epoch / epochs,
            epoch=f"{epoch}/{epochs}",
            bleu4=parts["bleu4"],
            gaussian=parts["gaussian_score"],
        )

    def _report_to_trial(self) -> None:
        if self.trial is None or self.trainer.finished:
            return
        table = self.progress.rows[-1]
        self._show(_parts(table, self.config["objective"]["conversions"]))
        step = len(self.progress.rows) - 1
        self.trial.report(self.progress.best_value, step)
        if self.trial.should_prune():
            raise trial.pruned(
                f"the pruner stopped it at epoch {self.trainer.epoch}, "
                f"objective {self.progress.best_value:.4f}"
            )

    def _rungs(self, epochs: int) -> dict[int, float]:
        """The rungs of the search, by the epoch after which this run is at each."""
        shares = () if self.trial is None else self.trial.rungs
        reached = {math.ceil(share * epochs): share for share in shares}
        return {epoch: share for epoch, share in reached.items() if epoch < epochs}

    def _decide_at(self, rung: float) -> None:
        """Go on if the trial is among the best at this rung.

        What is measured here between two evaluations is for this decision alone. A trial of a
        search ends as the same run would outside.
        """
        assert self.trial is not None
        progress, step = self.progress, len(self.progress.rows)
        parts, value = progress.best_parts, progress.best_value
        if progress.rows and progress.rows[-1]["epoch"] == self.trainer.epoch:
            table, step = progress.rows[-1], step - 1
        else:
            table = self._row(evaluation.measure(self._observations(), evaluation.DURING_TRAINING))
            here = _parts(table, self.config["objective"]["conversions"])
            if self._is_better(_scalar(self._objective(here))):
                parts, value = here, _scalar(self._objective(here))
        if self.trial.stops_at(rung, value, step):
            self.paused = _Paused(rung, parts, table)
            raise trial.pruned(
                f"not among the best at {rung:g} of the training (epoch {self.trainer.epoch}), "
                f"objective {value:.4f}"
            )

    # Checkpoints

    def _write_checkpoint(self) -> None:
        tensors, counters = self.trainer.state()
        progress = self.progress
        tensors |= {f"best.{name}": value for name, value in progress.best_state.items()}
        counters |= {
            "config": self.config,
            "rows": progress.rows,
            "epochs": progress.epochs,
            "best_value": None if math.isinf(progress.best_value) else progress.best_value,
            "best_parts": progress.best_parts,
            "best_epoch": progress.best_epoch,
            "train_seconds": progress.train_seconds,
            "evaluate_seconds": progress.evaluate_seconds,
        }
        self.files.write_checkpoint(tensors, counters)
        self._write_losses()

    def _resume(self) -> None:
        """Go on from a checkpoint here, or in a directory whose interrupted trial this repeats."""
        for path in (self.files.path, *self._repeated()):
            found = RunDirectory(path).read_checkpoint()
            if found is None:
                continue
            tensors, counters = found
            if path == self.files.path:
                _refuse_other(path, counters, self.config)
            elif not _is_same(counters.get("config"), self.config):
                continue
            try:
                self.trainer.load_state(tensors, counters)
                self.progress = self._progress_of(tensors, counters)
            except StateError as error:
                raise RunDirectoryError(
                    f"{path / CHECKPOINT}: does not fit this run ({error}); delete it to start "
                    "the run anew"
                ) from error
            # The checkpoint may be another directory's, with no epoch left that would write it.
            self.files.write_metrics(self.progress.rows)
            self._write_losses()
            log.info("Resumed from %s at epoch %d.", path, self.trainer.epoch)
            return

    def _repeated(self) -> tuple[Path, ...]:
        """Directories of the interrupted trials in whose place this one runs, the latest first."""
        return () if self.trial is None else self.trial.resume_from

    def _progress_of(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> _Progress:
        """What a checkpoint says about the run so far.

        Raises:
            StateError: if it is nothing that ``_write_checkpoint`` writes.
        """
        best = {
            name.removeprefix("best."): value.to(self.device)
            for name, value in tensors.items()
            if name.startswith("best.")
        }
        rows, epochs = counters.get("rows"), counters.get("epochs")
        for name, table in (("rows", rows), ("epochs", epochs)):
            if not isinstance(table, list) or not all(map(_is_row, table)):
                raise StateError(f"{name} is no table of numbers")
        assert rows is not None and epochs is not None
        numbers = [counters.get("train_seconds"), counters.get("evaluate_seconds")]
        parts = counters.get("best_parts")
        if rows:
            numbers.append(counters.get("best_value"))
            # One from before ``objective.generation`` has no variety.
            is_new = self.config["objective"].get("generation") == "variety"
            needed = {*PARTS} if is_new else {"bleu4", "gaussian_score"}
            if not isinstance(parts, dict) or not needed <= parts.keys() <= {*PARTS}:
                raise StateError("best_parts are not the objective's")
            numbers += parts.values()
            fault = misfit(best, self.model.state_dict())
            if fault:
                raise StateError(f"its best weights are not this network's: {fault}")
        if len(epochs) != self.trainer.epoch or (self.trainer.finished and not rows):
            raise StateError(f"epochs has {len(epochs)} rows after {self.trainer.epoch} epochs")
        if not all(_is_number(value) for value in numbers):
            raise StateError("a time or a best value is no number")
        best_epoch = counters.get("best_epoch")  # none in a checkpoint of an older version
        if best_epoch is not None and not (
            type(best_epoch) is int and 0 < best_epoch <= self.trainer.epoch
        ):
            raise StateError("best_epoch is no epoch")
        return _Progress(
            rows=rows,
            epochs=epochs,
            best_value=counters["best_value"] if rows else -math.inf,
            best_epoch=best_epoch,
            best_parts=parts if rows and parts is not None else {},
            best_state=best if rows else {},
            train_seconds=counters["train_seconds"],
            evaluate_seconds=counters["evaluate_seconds"],
        )

    # The end

    def _finish(self) -> float | tuple[float, ...]:
        progress = self.progress
        began = time.monotonic()
        self.model.load_state_dict(progress.best_state)
        seen = self._observations()
        wanted, splits = [*evaluation.METRICS], ["report", "dev"]
        if self.config["evaluation"]["test"] and self.dataset.test:
            wanted += [evaluation.test_conversions, evaluation.reranked_conversions]
            splits.append("test")
        table = evaluation.measure(seen, wanted)
        progress.evaluate_seconds += time.monotonic() - began
        warning = evaluation.collapse_warning(seen, table)
        conversions = {split: evaluation.conversion_rows(seen, split) for split in splits}
        samples = evaluation.sample_rows(seen)
        self.files.write_model(
            progress.best_state, {"name": self.config["model"]["name"], **self.model_config}
        )
        self.files.write_table(
            "conversions.csv", [row for split in splits for row in conversions[split]]
        )
        self.files.write_table("samples.csv", samples)
        self._write_curves()
        value = self._objective(progress.best_parts)
        self._show(progress.best_parts)
        # Last but for the checkpoint: a directory with a result is a finished run.
        self._write_result("complete", warning, value, progress.best_parts, table)
        self.files.clear_checkpoint()
        for line in (
            *reporting.conversions(conversions["report"], table["bleu4"]),
            *reporting.paradigms(samples, SHOWN_PARADIGMS),
            *reporting.summary(table, evaluation.dev_split(self.dataset).name),
        ):
            log.info("%s", line)
        if warning:
            log.warning("%s", textwrap.fill(f"Warning: {warning}", 80))
        log.info("Objective (%s): %s", self.config["objective"]["name"], value)
        log.info("Files in %s", self.files.path)
        return _as_returned(value)

    def _write_unfinished(self, status: str, reason: str) -> None:
        """The result of a run that ended early: its last measurements, and what it returns."""
        rows, parts = self.progress.rows, self.progress.best_parts
        table = dict(rows[-1]) if rows else {}
        if self.paused is not None:
            parts, table = self.paused.parts, self.paused.table
        value = self._objective(parts) if status == "pruned" and parts else self._worst()
        self._write_losses()
        if rows:
            self._write_curves()
        self._write_result(status, reason, value, parts, table)
        if self.paused is None:
            self.files.clear_checkpoint()

    def _write_losses(self) -> None:
        rows = self.trainer.loss_curve.rows()
        if rows:
            self.files.write_table(LOSSES, rows)

    def _write_curves(self) -> None:
        progress = self.progress
        self.files.write_table("epochs.csv", progress.epochs)
        self.files.write_curves(
            run_figure.pictures(
                progress.rows,
                epoch_rows=progress.epochs,
                loss_rows=self.trainer.loss_curve.rows(),
                config=self.config,
                kept_epoch=progress.best_epoch,
                # Of ten thousand trials hardly one goes into print; cvae.figures draws it then.
                formats=run_figure.FORMATS if self.trial is None else ("png",),
            )
        )

    def _write_result(
        self,
        status: str,
        reason: str | None,
        value: Value,
        parts: Parts,
        table: Mapping[str, float | None],
    ) -> None:
        self.files.write_result(
            {
                "status": status,
                "reason": reason,
                "objective": {
                    "name": self.config["objective"]["name"],
                    "value": value,
                    "parts": dict(parts),
                },
                "metrics": dict(table),
                "config": dict(self.config),
                "overrides": self.overrides,
                "seed": self.config["seed"],
                "seconds": {
                    "total": round(time.monotonic() - self.clock, 3),
                    "train": round(self.progress.train_seconds, 3),
                    "evaluate": round(self.progress.evaluate_seconds, 3),
                },
                "steps": self.trainer.step,
                "versions": _versions(),
                "git_commit": _git_commit(),
                "started_at": self.started_at.isoformat(timespec="seconds"),
                "trial": None
                if self.trial is None
                else {
                    "study": self.trial.study,
                    "number": self.trial.number,
                    **({} if self.paused is None else {"paused": self.paused.rung}),
                },
            }
        )
        # A sweep may be killed after a run has ended and before the study knows: of the two results
        # the one that the study counts stays.
        for path in self._repeated():
            with contextlib.suppress(OSError):
                (path / "result.json").unlink(missing_ok=True)


# From config nodes to objects


def load_dataset(node: Mapping[str, Any]) -> Dataset:
    """The data set of a ``data`` node."""
    knobs = _without(("name",), node)
    if node["name"] == "files":
        return load_files(
            _where_typed(knobs["train_path"]),
            None if knobs["test_path"] is None else _where_typed(knobs["test_path"]),
            test_tenses=knobs["test_tenses"],
            dev_count=knobs["dev_count"],
        )
    return load_table(node["name"])


def _where_typed(path: str) -> str:
    """``path`` from where Hydra was started, which ``hydra.job.chdir`` leaves."""
    if os.path.isabs(path):
        return path
    return os.path.relpath(hydra.utils.to_absolute_path(path))


def make_trainer(
    config: Mapping[str, Any], model: ConditionalVAE, dataset: Dataset, device: torch.device
) -> Trainer:
    """The trainer of a checked config."""
    training = dict(config["training"])
    rows = TrainingRows(dataset.train, kept_letters=training.pop("hallucination_kept_letters"))
    anneal, forcing = config["anneal"], config["teacher_forcing"]
    return Trainer(
        model,
        rows,
        TrainingSettings(**training, forcing_coin=forcing["coin"]),
        OptimizerSettings(**_without(("name",), config["optim"])),
        kl_weight=kl_weight_schedule(**anneal),
        teacher_forcing_ratio=teacher_forcing_schedule(**forcing),
        free_nats=anneal.get("free_nats"),
        target_nats=anneal.get("target_nats"),
        seed=config["seed"],
        device=device,
    )


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(["device is 'cuda', but torch finds no CUDA device here; use device=cpu"])
    return torch.device(name)


def _is_out_of_memory(error: Exception) -> bool:
    # Torch has a class of its own for this on an accelerator, and only words on the CPU.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error) or "not enough memory" in str(error)
    )


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e100  # type: ignore[arg-type]


def _is_row(row: object) -> bool:
    """Whether it is a row of numbers that may be drawn over its epoch."""
    return (
        isinstance(row, dict)
        and _is_number(row.get("epoch"))
        and all(value is None or _is_number(value) for value in row.values())
    )


def _without(keys: tuple[str, ...], node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in keys}


def _parts(table: Mapping[str, float | None], conversions: str) -> dict[str, float]:
    """The objective's parts: never from the report's pairs, the test verbs or the reported bank."""
    names = (COUNTED_CONVERSIONS[conversions], "dev_gaussian_score", "dev_gaussian_variety")
    return {part: table[name] or 0.0 for part, name in zip(PARTS, names, strict=True)}


def _scalar(value: Value) -> float:
    return sum(value) if isinstance(value, list) else value


def _as_returned(value: Value) -> float | tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else value


def _versions() -> dict[str, str]:
    names = ("cvae-sweep", "torch", "hydra-core", "omegaconf", "optuna", "numpy")
    found = {"python": platform.python_version(), "torch_threads": str(torch.get_num_threads())}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """The commit of the source checkout this code runs from, if it is one."""
    source = Path(__file__).resolve().parent.parent
    if not (source / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
