"""Helpers for several test modules: small networks, and programs in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent

FULL = os.environ.get("CVAE_RELIABILITY") == "full"
"""Whether tests/reliability runs the counts of docs/reliability.md, which take half an hour."""

# All sizes differ, so that swapped sizes cause an error.
REPORT: dict[str, Any] = {
    "latent_size": 3,
    "condition_size": 2,
    "hidden_size": 6,
    "feedback": "output",
}
DEFAULT: dict[str, Any] = {
    "latent_size": 2,
    "word_latent_size": 5,
    "hidden_size": 6,
    "encoder_hidden_size": 4,
    "embedding_size": 4,
    "condition_size": 2,
    "prior_hidden_size": 7,
    "prior_layer_count": 2,
    "grid_size": 8,
    "grid_levels": 2,
    "grid_features": 3,
}


def python(
    *arguments: str, cwd: Path, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a new interpreter in ``cwd`` with this checkout and a minimal environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", **environment},
        timeout=timeout,
    )
