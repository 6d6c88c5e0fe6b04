"""Tiny models and trainers, for tests of the training."""

from __future__ import annotations

import dataclasses

import shared
import torch
from torch import Tensor

from cvae.batches import TrainingRows
from cvae.data import Paradigm
from cvae.model import ConditionalVAE, build_model
from cvae.optimizers import OptimizerSettings
from cvae.training import Trainer, TrainingSettings

CPU = torch.device("cpu")

STEMS = ("abandon", "walk", "jump", "start", "mend", "order")


def regular(stem: str) -> Paradigm:
    return Paradigm(((stem,), (stem + "s",), (stem + "ing",), (stem + "ed",)), regular=True)


ROWS = TrainingRows([regular(stem) for stem in STEMS])

# Large enough for the toy tasks of test_training.py.
REPORT = {**shared.REPORT, "latent_size": 4, "condition_size": 3, "hidden_size": 16}
DEFAULT = {
    **shared.DEFAULT,
    "word_latent_size": 6,
    "hidden_size": 16,
    "encoder_hidden_size": 12,
    "embedding_size": 8,
    "condition_size": 3,
    "prior_hidden_size": 12,
}
MODELS = {
    "report": ("report", REPORT),
    "one level": ("default", {**DEFAULT, "word_latent_size": 0}),
    "two levels": ("default", DEFAULT),
}
SETTINGS = TrainingSettings(
    epochs=3,
    batch_size=8,
    pairs="cross",
    hallucination_share=0.3,
    hallucination_start_share=0.5,
    character_dropout=0.2,
    reduction="sum",
    word_kl_weight=0.1,
    prior_start=0.0,
    partition_start=0.0,
    coverage_start=0.0,
    coverage_draws=4,
    coverage_weight=0.5,
    code_steps=2,
    code_draws=6,
    forcing_coin="token",
)
# All phases of a two-level model within the nine steps of three epochs.
PHASES = dataclasses.replace(
    SETTINGS, prior_start=0.1, partition_start=0.4, coverage_start=0.7, code_draws=64
)
OPTIMIZER = OptimizerSettings(
    algorithm="adam",
    encoder_lr=3e-3,
    decoder_lr=2e-3,
    prior_lr=3e-3,
    momentum=0.0,
    schedule="one_cycle",
    encoder_step_epochs=1,
    encoder_step_gamma=0.5,
    gradient_clip=1.0,
)


def tiny(kind: str) -> ConditionalVAE:
    torch.manual_seed(0)
    name, sizes = MODELS[kind]
    return build_model(name, **sizes)


def make(
    kind: str = "two levels",
    *,
    rows: TrainingRows = ROWS,
    optimizer: OptimizerSettings = OPTIMIZER,
    settings: TrainingSettings = SETTINGS,
    kl_weight: float = 0.2,
    ratio: float = 0.6,
    free_nats: float | None = None,
    target_nats: float | None = None,
    seed: int = 1,
) -> Trainer:
    return Trainer(
        tiny(kind),
        rows,
        settings,
        optimizer,
        kl_weight=lambda progress: kl_weight * (0.5 + 0.5 * progress),
        teacher_forcing_ratio=lambda progress: ratio,
        free_nats=free_nats,
        target_nats=target_nats,
        seed=seed,
        device=CPU,
    )


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def trained(trainer: Trainer, epochs: int | None = None) -> dict[str, Tensor]:
    for _ in range(epochs if epochs is not None else trainer.settings.epochs):
        trainer.train_epoch()
    return weights(trainer)
