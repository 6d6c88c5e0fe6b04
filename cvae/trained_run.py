"""A finished run, read back: its model and the verbs it was trained on."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cvae.chosen_data import load_dataset
from cvae.data import DataError, Dataset
from cvae.model import ConditionalVAE
from cvae.run_directory import RunDirectory, RunDirectoryError


@dataclass(frozen=True)
class TrainedRun:
    """What a program about a trained model starts from."""

    path: Path
    model: ConditionalVAE
    dataset: Dataset
    config: dict[str, Any]


def load(directory: Path) -> TrainedRun:
    """Read a run's model, and its data set by the settings in ``result.json``.

    A data set of the user's own is looked for where the run was started.

    Raises:
        RunDirectoryError: if a file of the run is missing or damaged, or the data set cannot be
            read any more.
    """
    files = RunDirectory(directory)
    model = files.load_model()
    result = files.read_result()
    config = result.get("config")
    node = config.get("data") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(node, dict):
        raise RunDirectoryError(f"{directory / 'result.json'}: names no data set; run again")
    try:
        with warnings.catch_warnings(action="ignore"):  # the run itself has said
            dataset = load_dataset({**node, **_where_started(directory, node)})
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{directory / 'result.json'}: its data set is none of this version ({error!r:.80})"
        ) from error
    except DataError as error:
        lines = str(error).splitlines()
        raise RunDirectoryError(
            f"{directory}: the verbs it was trained on cannot be read: {lines[-1].strip()}"
        ) from error
    if result.get("data_digest", dataset.digest) != dataset.digest:
        raise RunDirectoryError(
            f"{directory}: the verbs it was trained on have changed since, in "
            f"{node.get('train_path', 'the shipped table')}; restore them"
        )
    return TrainedRun(directory, model, dataset, config)


def _where_started(directory: Path, node: dict[str, Any]) -> dict[str, str]:
    """The relative paths among the settings, from the directory the run was started in."""
    try:
        text = (directory / ".hydra" / "hydra.yaml").read_text(encoding="utf-8")
        started = yaml.safe_load(text)["hydra"]["runtime"]["cwd"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}
    return {
        key: os.path.join(started, value)
        for key, value in node.items()
        if key.endswith("_path") and isinstance(value, str) and isinstance(started, str)
    }
