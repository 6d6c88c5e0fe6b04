"""One run: a checked config becomes objects, the objects run, and the files are written.

This is the only place that knows configs and networks alike. It resumes from a checkpoint in
its directory, if one is there, and ends with the numbers of a run never interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import math
import textwrap
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from cvae import evaluation, latent_figure, provenance, reporting, run_figure, trial
from cvae.chosen_data import load_dataset
from cvae.colouring import COLOURINGS
from cvae.from_config import device_of, make_trainer
from cvae.memory import return_free_memory
from cvae.model import build_model
from cvae.objectives import Parts, Value, as_returned, objective_of, parts_of, scalar, worst
from cvae.optimizers import Diverged
from cvae.resumption import (
    has_other_data,
    is_same,
    refuse_finished,
    refuse_other,
    refuse_other_data,
)
from cvae.run_directory import (
    CHECKPOINT,
    LOSSES,
    RunDirectory,
    RunDirectoryError,
    write_atomically,
)
from cvae.run_progress import RunProgress, read_progress
from cvae.state import StateError
from cvae.training import EpochLosses

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS: Final = 10.0
"""An epoch that ends this long after the last checkpoint leaves one: the work lost to a kill."""

SHOWN_PARADIGMS: Final = 8


class OutOfMemory(ValueError):
    """The config is valid, but too large for this machine."""


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
    device_of(config["device"])
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
        refuse_finished(files)
        found = files.read_checkpoint()
        if found is not None:
            refuse_other(directory, found[1], config)
            with warnings.catch_warnings(action="ignore"):
                refuse_other_data(directory, found[1], load_dataset(config["data"]))


class _Run:
    def __init__(
        self, config: Mapping[str, Any], files: RunDirectory, overrides: list[str]
    ) -> None:
        self.config = config
        self.objective = config["objective"]
        self.files = files
        self.overrides = overrides
        self.started_at = datetime.now(UTC)
        self.clock = time.monotonic()
        self.trial = trial.current()
        refuse_finished(files)
        if config["threads"]:
            torch.set_num_threads(config["threads"])
        self.device = device_of(config["device"])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.dataset = load_dataset(config["data"])
        for warning in caught:
            log.warning("%s", warning.message)
        torch.manual_seed(config["seed"])
        self.model_config = {"name": config["model"]["name"], **config["model"]}
        self.model = build_model(**self.model_config).to(self.device)
        self.trainer = make_trainer(config, self.model, self.dataset, self.device)
        self.progress = RunProgress()
        self.paused: _Paused | None = None

    def execute(self) -> float | tuple[float, ...]:
        self._resume()
        self.files.clear_result()  # of a run that was paused
        try:
            self._train()
        except Diverged as error:
            log.warning("Diverged: %s.", error)
            self._write_unfinished("diverged", str(error))
            return as_returned(worst(self.objective))
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
                return_free_memory()
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
        parts = parts_of(table, self.objective["conversions"])
        value = scalar(objective_of(self.objective, parts))
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

    def _show(self, parts: Parts) -> None:
        """Tell whoever watches the search how far the run is, and how good."""
        if self.trial is None:
            return
        epoch, epochs = self.trainer.epoch, self.config["training"]["epochs"]
        self.trial.show(
            epoch / epochs,
            epoch=f"{epoch}/{epochs}",
            # As cvae.compare names them: they are not the ten pairs' BLEU-4, or the reported score.
            obj_bleu4=parts["bleu4"],
            obj_gauss=parts["gaussian_score"],
        )

    def _report_to_trial(self) -> None:
        if self.trial is None or self.trainer.finished:
            return
        table = self.progress.rows[-1]
        self._show(parts_of(table, self.objective["conversions"]))
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
            here = parts_of(table, self.objective["conversions"])
            if self._is_better(scalar(objective_of(self.objective, here))):
                parts, value = here, scalar(objective_of(self.objective, here))
        if self.trial.stops_at(rung, value, step):
            self.paused = _Paused(rung, parts, table)
            raise trial.pruned(
                f"not among the best at {rung:g} of the training (epoch {self.trainer.epoch}), "
                f"objective {value:.4f}"
            )

    # Checkpoints

    def _write_checkpoint(self) -> None:
        tensors, counters = self.trainer.state()
        best, found = self.progress.state()
        counters |= {"config": self.config, "data_digest": self.dataset.digest, **found}
        self.files.write_checkpoint(tensors | best, counters)
        self._write_losses()

    def _resume(self) -> None:
        """Go on from a checkpoint here, or in a directory whose interrupted trial this repeats."""
        for path in (self.files.path, *self._repeated()):
            found = RunDirectory(path).read_checkpoint()
            if found is None:
                continue
            tensors, counters = found
            if path == self.files.path:
                refuse_other(path, counters, self.config)
                refuse_other_data(path, counters, self.dataset)
            elif not is_same(counters.get("config"), self.config) or has_other_data(
                counters, self.dataset
            ):
                continue
            try:
                self.trainer.load_state(tensors, counters)
                self.progress = read_progress(
                    tensors,
                    counters,
                    model=self.model,
                    device=self.device,
                    epoch=self.trainer.epoch,
                    is_finished=self.trainer.finished,
                    needs_variety=self.objective.get("generation") == "variety",
                )
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
        table: dict[str, float | None] = {}
        for metric in wanted:  # one by one: the last ones need the most memory of a run
            table |= evaluation.measure(seen, [metric])
            return_free_memory()
        progress.evaluate_seconds += time.monotonic() - began
        warning = evaluation.collapse_warning(seen, table)
        conversions = {split: evaluation.conversion_rows(seen, split) for split in splits}
        samples = evaluation.sample_rows(seen)
        self.files.write_model(progress.best_state, self.model_config)
        self.files.write_table(
            "conversions.csv", [row for split in splits for row in conversions[split]]
        )
        self.files.write_table("samples.csv", samples)
        self._write_curves()
        self._write_latent_map()
        value = objective_of(self.objective, progress.best_parts)
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
        log.info("Objective (%s): %s", self.objective["name"], value)
        log.info("Files in %s", self.files.path)
        return as_returned(value)

    def _write_unfinished(self, status: str, reason: str) -> None:
        """The result of a run that ended early: its last measurements, and what it returns."""
        rows, parts = self.progress.rows, self.progress.best_parts
        table = dict(rows[-1]) if rows else {}
        if self.paused is not None:
            parts, table = self.paused.parts, self.paused.table
        value = (
            objective_of(self.objective, parts)
            if status == "pruned" and parts
            else worst(self.objective)
        )
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

    def _write_latent_map(self) -> None:
        """Draw the latent space; not of a search's trials, nor where it cannot be drawn."""
        places = self.config["evaluation"]["latent_places"]
        if self.trial is not None or not places:
            return
        try:
            title = latent_figure.title(self.model, self.dataset.name, self.config["seed"])
            picture = latent_figure.of_model(
                self.model.cpu(),
                self.dataset.train,
                title,
                places=places,
                colouring=COLOURINGS["class"],
            )
        except Exception as error:  # a picture is no reason to lose the run
            log.warning("No %s: %s: %s", latent_figure.PNG, type(error).__name__, error)
            return
        write_atomically(self.files.path / latent_figure.PNG, picture)

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
                    "name": self.objective["name"],
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
                "data_digest": self.dataset.digest,
                "versions": provenance.versions(),
                "git_commit": provenance.git_commit(),
                "started_at": self.started_at.isoformat(timespec="seconds"),
                "trial": None
                if self.trial is None
                else {
                    "study": self.trial.study,
                    "number": self.trial.number,
                    **({} if self.trial.confirms is None else {"confirms": self.trial.confirms}),
                    **({} if self.paused is None else {"paused": self.paused.rung}),
                },
            }
        )
        # A sweep may be killed after a run has ended and before the study knows: of the two results
        # the one that the study counts stays.
        for path in self._repeated():
            with contextlib.suppress(OSError):
                (path / "result.json").unlink(missing_ok=True)


def _is_out_of_memory(error: Exception) -> bool:
    # Torch has a class of its own for this on an accelerator, and only words on the CPU.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error) or "not enough memory" in str(error)
    )
