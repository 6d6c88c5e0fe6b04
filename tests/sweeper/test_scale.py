"""The measurement of what a sweep costs, at a toy size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


pytestmark = pytest.mark.slow


def test_the_measurement_counts_what_it_ran(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    words = ["--trials=20", "--begun=100", "--sampler=random", f"--json={path}"]
    finished = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "sweep_scale.py"), *words],
        capture_output=True,
        text=True,
        timeout=240,
        env={k: v for k, v in os.environ.items() if not k.startswith(("CVAE_", "SCALE_"))},
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(path.read_text())
    assert found["database"] == "sqlite" and found["study_trials"] == 120
    # Twenty real trials to copy, and twenty measured; the copies have no directories.
    assert found["directories"]["files"] == 7 * 40
    assert len(found["parts"]) == 10 and found["parts"][-1]["trials"] == found["trials"] <= 20
    assert 0 < found["seconds_to_first"] <= found["seconds"]
    assert 20 < found["rss_mib"]["start"] < 2000
    assert "20 trials after 100 on sqlite, random, 2 at once" in finished.stdout
    too_few = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "sweep_scale.py"), "--trials=3"],
        capture_output=True,
        text=True,
    )
    assert too_few.returncode == 2 and "--trials must be at least 20" in too_few.stderr
