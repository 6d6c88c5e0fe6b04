"""Whether a run may start in a directory, or go on from the checkpoint there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cvae.data import Dataset
from cvae.run_directory import RunDirectory, RunDirectoryError

FORMER_GENERATION: Final = "share"
"""What ``objective.generation`` was before there was the key."""


def refuse_finished(files: RunDirectory) -> None:
    """Raise ``RunDirectoryError`` if the directory holds a finished run."""
    if (files.path / "result.json").exists() and not _is_paused(files):
        files.clear_checkpoint()  # a kill between the two may have left it
        raise RunDirectoryError(
            f"{files.path}: holds a finished run; choose another directory or remove it"
        )


def _is_paused(files: RunDirectory) -> bool:
    """Whether the run was paused at a rung of a search, and can continue."""
    try:
        trial = files.read_result().get("trial")
    except RunDirectoryError:
        return False
    return isinstance(trial, dict) and "paused" in trial


def refuse_other(path: Path, counters: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise ``RunDirectoryError`` if the checkpoint is of another config."""
    if is_same(counters.get("config"), config):
        return
    former = {"objective": {**config["objective"], "generation": FORMER_GENERATION}}
    if is_same(counters.get("config"), {**config, **former}):
        raise RunDirectoryError(
            f"{path}: holds an interrupted run with objective.generation={FORMER_GENERATION}; give "
            "that, too, to continue it, or choose another directory"
        )
    raise RunDirectoryError(
        f"{path}: holds an interrupted run of another config; repeat its own overrides "
        "(.hydra/overrides.yaml) to continue it, or choose another directory"
    )


def refuse_other_data(path: Path, counters: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise ``RunDirectoryError`` if the checkpoint is of other data."""
    if has_other_data(counters, dataset):
        raise RunDirectoryError(
            f"{path}: holds an interrupted run on other data than data={dataset.name} has now; "
            "restore them to continue it, or choose another directory"
        )


def has_other_data(counters: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether a checkpoint is of other data; one of an older version does not say."""
    return bool(counters.get("data_digest", dataset.digest) != dataset.digest)


def is_same(stored: object, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's config is this one; it may be older than ``objective.generation``.

    A picture at the end changes nothing: it may be asked for later.
    """
    if isinstance(stored, dict) and isinstance(stored.get("evaluation"), dict):
        stored = {**stored, "evaluation": _without_picture(stored["evaluation"])}
        config = {**config, "evaluation": _without_picture(config["evaluation"])}
    if "generation" in config["objective"] and isinstance(stored, dict):
        objective = stored.get("objective")
        if isinstance(objective, dict):
            former = {"generation": FORMER_GENERATION}
            stored = {**stored, "objective": {**former, **objective}}
    return bool(stored == config)


def _without_picture(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in evaluation.items() if key != "latent_places"}
