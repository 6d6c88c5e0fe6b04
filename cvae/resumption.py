"""Whether a run may start in a directory, or go on from the checkpoint there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cvae.run_directory import RunDirectory, RunDirectoryError

FORMER_GENERATION: Final = "share"
"""What ``objective.generation`` was before there was the key."""


def refuse_finished(files: RunDirectory) -> None:
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


def refuse_other(path: Path, counters: Mapping[str, Any], config: Mapping[str, Any]) -> None:
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


def is_same(stored: object, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's config is this one; it may be older than ``objective.generation``."""
    if "generation" in config["objective"] and isinstance(stored, dict):
        objective = stored.get("objective")
        if isinstance(objective, dict):
            former = {"generation": FORMER_GENERATION}
            stored = {**stored, "objective": {**former, **objective}}
    return bool(stored == config)
