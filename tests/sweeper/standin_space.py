"""A conditional space: a square has corners to choose, a circle none."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig


def configure(_: DictConfig, trial: Any) -> None:
    """Called for each trial once the shape is chosen."""
    if trial.params["shape"] == "square":
        trial.suggest_int("shape.corners", 4, 8)
