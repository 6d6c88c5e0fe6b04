"""Helpers for several test modules: small networks, and programs in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cvae.model import ConditionalVAE
from cvae.run_directory import RunDirectory

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


VERBS = (
    "walk walks walking walked",
    "swim swims swimming swam",
    "stop stops stopping stopped",
    "try tries trying tried",
    "bake bakes baking baked",
)


def write_untrained_run(directory: Path, model: ConditionalVAE, sizes: dict[str, Any]) -> Path:
    """A finished run's model and result, its data set of ``VERBS`` beside it."""
    verbs = directory.with_suffix(".txt")
    verbs.parent.mkdir(parents=True, exist_ok=True)
    verbs.write_text("\n".join(VERBS) + "\n")
    files = RunDirectory(directory)
    files.create()
    files.write_model(model.state_dict(), sizes)
    data = {
        "name": "files",
        "train_path": str(verbs),
        "test_path": None,
        "test_tenses": [[0, 3]],
        "dev_count": 0,
    }
    files.write_result({"config": {"data": data, "model": sizes, "seed": 3}})
    return directory
