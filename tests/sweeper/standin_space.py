"""What the stand-in's configs name: a conditional space, a check."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig


def configure(_: DictConfig, trial: Any) -> None:
    """Called for each trial once the shape is chosen."""
    if trial.params["shape"] == "square":
        trial.suggest_int("shape.corners", 4, 8)


def refuse(config: dict[str, Any]) -> None:
    """A check before the start."""
    if config["x"] > 5:
        raise ValueError(f"x is too large: {config['x']}")
