"""Objects from a checked config: the trainer and the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from cvae.batches import TrainingRows
from cvae.config import ConfigError
from cvae.data import Dataset
from cvae.model import ConditionalVAE
from cvae.optimizers import OptimizerSettings
from cvae.schedules import kl_weight_schedule, teacher_forcing_schedule
from cvae.training import Trainer, TrainingSettings


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
