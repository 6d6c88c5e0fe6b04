"""The program as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def run(*arguments: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cvae.run", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        timeout=timeout,
    )


def test_a_smoke_run_prints_what_the_report_prints(tmp_path: Path) -> None:
    finished = run("debug=smoke", "data=common", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    (directory,) = (tmp_path / "outputs").glob("*/*")
    result = json.loads((directory / "result.json").read_text())
    lines = finished.stdout.splitlines()
    assert sum(" > " in line for line in lines) == 11  # a heading and ten conversions
    assert any(line.startswith("  abandon ") for line in lines)
    assert any(line.startswith("epoch    1  CE") for line in lines)
    assert any(line.startswith("Gaussian score") for line in lines)
    assert any(line.startswith("dev exact match") for line in lines)
    assert max(len(line) for line in lines if not line.startswith(("  ", "Files in"))) <= 80
    assert result["overrides"] == ["debug=smoke", "data=common"]
    assert (directory / ".hydra" / "overrides.yaml").exists()


def test_bad_data_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("walk walks walking walked\nrun runs running\n")
    finished = run("data=files", f"data.train_path={tmp_path}/train.txt", cwd=tmp_path)
    assert finished.returncode == 2
    assert "train.txt" in finished.stderr
    assert "line 2" in finished.stderr or ":2" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("program", ["run", "convert", "generate", "compare"])
def test_help(program: str, tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", f"cvae.{program}", "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    assert f"cvae.{program}" in finished.stdout


@pytest.mark.slow
def test_the_default_run_keeps_the_readmes_promise(tmp_path: Path) -> None:
    finished = run("anneal=cyclical", cwd=tmp_path, timeout=900)
    assert finished.returncode == 0, finished.stderr
    (directory,) = (tmp_path / "outputs").glob("*/*")
    metrics = json.loads((directory / "result.json").read_text())["metrics"]
    assert metrics["bleu4"] >= 0.95
    assert metrics["gaussian_score"] >= 0.45
    assert metrics["gaussian_draws"] == 1000
