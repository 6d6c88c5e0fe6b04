"""Objects from a checked config: the data set, the trainer, the device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import hydra.utils
import torch

from cvae.batches import TrainingRows
from cvae.config import ConfigError
from cvae.data import Dataset, load_files, load_table
from cvae.model import ConditionalVAE
from cvae.optimizers import OptimizerSettings
from cvae.schedules import kl_weight_schedule, teacher_forcing_schedule
from cvae.training import Trainer, TrainingSettings


def load_dataset(node: Mapping[str, Any]) -> Dataset:
    """Return the data set of a ``data`` node.

    Raises:
        DataError: if a file cannot be used.
    """
    knobs = {key: value for key, value in node.items() if key != "name"}
    if node["name"] == "files":
        return load_files(
            _where_typed(knobs["train_path"]),
            None if knobs["test_path"] is None else _where_typed(knobs["test_path"]),
            test_tenses=knobs["test_tenses"],
            dev_count=knobs["dev_count"],
        )
    return load_table(node["name"])


def _where_typed(path: str) -> str:
    """Resolve a path against the directory in which Hydra was started."""
    if os.path.isabs(path):
        return path
    return os.path.relpath(hydra.utils.to_absolute_path(path))


def make_trainer(
    config: Mapping[str, Any], model: ConditionalVAE, dataset: Dataset, device: torch.device
) -> Trainer:
    """Return the trainer of a checked config."""
    training = dict(config["training"])
    rows = TrainingRows(dataset.train, kept_letters=training.pop("hallucination_kept_letters"))
    anneal, forcing = config["anneal"], config["teacher_forcing"]
    optim = {key: value for key, value in config["optim"].items() if key != "name"}
    return Trainer(
        model,
        rows,
        TrainingSettings(**training, forcing_coin=forcing["coin"]),
        OptimizerSettings(**optim),
        kl_weight=kl_weight_schedule(**anneal),
        teacher_forcing_ratio=teacher_forcing_schedule(**forcing),
        free_nats=anneal.get("free_nats"),
        target_nats=anneal.get("target_nats"),
        seed=config["seed"],
        device=device,
    )


def device_of(name: str) -> torch.device:
    """Return the device named ``cpu`` or ``cuda``.

    Raises:
        ConfigError: if it does not exist.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(["device is 'cuda', but torch finds no CUDA device here; use device=cpu"])
    return torch.device(name)
