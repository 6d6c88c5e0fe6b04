"""The project's objects, built from its configs as in a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import hydra
import measuring  # noqa: F401  (sets what must be set before torch is imported)
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from cvae import config as config_rules
from cvae import evaluation, metrics
from cvae.chosen_data import load_dataset
from cvae.data import Dataset, Paradigm
from cvae.from_config import make_trainer
from cvae.model import build_model
from cvae.run import config_directory
from cvae.training import Trainer

CPU = torch.device("cpu")
LATE = [f"training.{phase}_start=0" for phase in ("prior", "partition", "coverage")]
"""All parts are trained from the start, so each epoch takes as long as a late one."""


@dataclass(frozen=True)
class Setup:
    """A checked config and the objects built from it."""

    config: dict[str, Any]
    dataset: Dataset
    trainer: Trainer
    device: torch.device


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The checked config of a run with ``overrides``."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        composed = hydra.compose("config", overrides=list(overrides))
    settings = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(settings, dict)
    config_rules.check(settings)
    return {str(key): value for key, value in settings.items()}


def setup(
    overrides: Sequence[str],
    *,
    verbs: int | None = None,
    train: tuple[Paradigm, ...] | None = None,
    device: torch.device = CPU,
) -> Setup:
    """The objects of a run with ``overrides``.

    Args:
        verbs: number of training verbs; None for all.
        train: training verbs that replace those of the data set.
    """
    config = compose(overrides)
    dataset = load_dataset(config["data"])
    dataset = replace(dataset, train=(train or dataset.train)[:verbs])
    torch.manual_seed(config["seed"])
    node = config["model"]
    sizes = {key: value for key, value in node.items() if key != "name"}
    model = build_model(node["name"], **sizes).to(device)
    return Setup(config, dataset, make_trainer(config, model, dataset, device), device)


def evaluate(made: Setup, which: Sequence[evaluation.Metric]) -> None:
    """Measure a model from nothing: no conversion, draw or score is remembered."""
    metrics.bleu4.cache_clear()
    metrics.edit_distance.cache_clear()
    made.trainer.model.eval()
    seen = evaluation.Observations(
        made.trainer.model,
        made.dataset,
        draws=made.config["evaluation"]["draws"],
        importance_samples=made.config["evaluation"]["importance_samples"],
        device=made.device,
    )
    evaluation.measure(seen, which)
