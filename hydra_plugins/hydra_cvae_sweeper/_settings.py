"""The ranges of the sweeper's and the launcher's numbers; Hydra checks their types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from ._errors import SweepError

Ranges = Mapping[str, tuple[float, float]]

LAUNCHER: Final[Ranges] = {
    "n_jobs": (1, math.inf),
    "threads": (0, math.inf),
    "grace": (0, math.inf),
}
SWEEPER: Final[Ranges] = {
    "n_trials": (1, math.inf),
    "n_jobs": (1, math.inf),
    "max_failure_rate": (0, 1),
    "grid_points": (2, math.inf),
    "max_consecutive_failures": (0, math.inf),
    "max_retries": (0, math.inf),
    "heartbeat": (0.1, math.inf),
    "heartbeat_timeout": (0.2, math.inf),
    "seed": (0, 2**32 - 1),
    "worker": (0, math.inf),
    "storage_patience": (0, math.inf),
}


def check_ranges(section: str, settings: Mapping[str, Any], ranges: Ranges) -> None:
    """Raise ``SweepError`` at the first number outside its range; null is allowed."""
    for key, (least, most) in ranges.items():
        value = settings[key]
        if value is not None and not least <= value <= most:
            allowed = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise SweepError(f"{section}.{key} is {value}; allowed: {allowed}")


def check_sweeper(settings: Mapping[str, Any]) -> None:
    """Check the sweeper's ranges, and that a worker is not declared dead between two heartbeats."""
    check_ranges("hydra.sweeper", settings, SWEEPER)
    beat, silence = settings["heartbeat"], settings["heartbeat_timeout"]
    if silence < 2 * beat:
        raise SweepError(
            f"hydra.sweeper.heartbeat_timeout is {silence}; allowed: at least twice the heartbeat, "
            f"which is {beat}, or workers that live would be taken for dead"
        )
