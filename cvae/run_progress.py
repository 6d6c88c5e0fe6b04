"""What a run has found so far, in and out of its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cvae.model import ConditionalVAE, misfit
from cvae.objectives import PARTS
from cvae.state import StateError


@dataclass
class RunProgress:
    """Tables, times and the best model of a run so far; part of every checkpoint."""

    rows: list[dict[str, float | None]] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_value: float = -math.inf
    best_epoch: int | None = None
    best_parts: dict[str, float] = field(default_factory=dict)
    best_state: dict[str, Tensor] = field(default_factory=dict)
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and counters, as ``read_progress`` takes them."""
        tensors = {f"best.{name}": value for name, value in self.best_state.items()}
        return tensors, {
            "rows": self.rows,
            "epochs": self.epochs,
            "best_value": None if math.isinf(self.best_value) else self.best_value,
            "best_parts": self.best_parts,
            "best_epoch": self.best_epoch,
            "train_seconds": self.train_seconds,
            "evaluate_seconds": self.evaluate_seconds,
        }


def read_progress(
    tensors: Mapping[str, Tensor],
    counters: Mapping[str, Any],
    *,
    model: ConditionalVAE,
    device: torch.device,
    epoch: int,
    is_finished: bool,
    needs_variety: bool,
) -> RunProgress:
    """Return the progress that a checkpoint holds.

    Args:
        tensors: of the checkpoint.
        counters: of the checkpoint.
        model: the network of the best weights.
        device: where these weights go.
        epoch: epochs trained.
        is_finished: whether training is at its end.
        needs_variety: whether the objective counts the variety of what is generated.

    Raises:
        StateError: if they are not what ``RunProgress.state`` returns.
    """
    best = {
        name.removeprefix("best."): value.to(device)
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
        needed = {*PARTS} if needs_variety else {"bleu4", "gaussian_score"}
        if not isinstance(parts, dict) or not needed <= parts.keys() <= {*PARTS}:
            raise StateError("best_parts are not the objective's")
        numbers += parts.values()
        fault = misfit(best, model.state_dict())
        if fault:
            raise StateError(f"its best weights are not this network's: {fault}")
    if len(epochs) != epoch or (is_finished and not rows):
        raise StateError(f"epochs has {len(epochs)} rows after {epoch} epochs")
    if not all(_is_number(value) for value in numbers):
        raise StateError("a time or a best value is no number")
    best_epoch = counters.get("best_epoch")  # none in a checkpoint of an older version
    if best_epoch is not None and not (type(best_epoch) is int and 0 < best_epoch <= epoch):
        raise StateError("best_epoch is no epoch")
    return RunProgress(
        rows=rows,
        epochs=epochs,
        best_value=counters["best_value"] if rows else -math.inf,
        best_epoch=best_epoch,
        best_parts=parts if rows and parts is not None else {},
        best_state=best if rows else {},
        train_seconds=counters["train_seconds"],
        evaluate_seconds=counters["evaluate_seconds"],
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
