"""``python benchmarks/time_to_quality.py``: seconds from the command to the report's quality.

A default run in a new process that evaluates often. The time runs from the start of the process
to the row of ``metrics.csv`` that has both BLEU-4 on the ten pairs >= 0.957 and a Gaussian score
>= 0.444, including evaluations. The score is ``dev_gaussian_score``, which is in every row and
differs from the reported one only in the bank of draws. The config is the default's with its full
length (its schedules are not shortened); the process is stopped once the quality is reached.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import trial_overhead

BLEU4 = 0.957
GAUSSIAN = 0.444
_POLL_SECONDS = 0.05


def reached(path: Path, *, bleu4: float, gaussian: float) -> dict[str, str] | None:
    """The first row of ``metrics.csv`` that reaches the quality."""
    if not path.exists():
        return None
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if float(row["bleu4"]) >= bleu4 and float(row["dev_gaussian_score"]) >= gaussian:
                return row
    return None


def one_run(
    directory: Path, overrides: list[str], *, bleu4: float, gaussian: float
) -> dict[str, Any]:
    """Start a run and wait until it reaches the quality or ends."""
    table = directory / "run" / "metrics.csv"
    began = time.perf_counter()
    program = subprocess.Popen(
        [sys.executable, "-m", "cvae.run", f"hydra.run.dir={directory / 'run'}", *overrides],
        cwd=directory,
        env=measuring.fresh_environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        row, seen, ended = None, -1, False
        while row is None and not ended:
            time.sleep(_POLL_SECONDS)
            ended = program.poll() is not None
            stamp = table.stat().st_mtime_ns if table.exists() else -1
            if stamp != seen:
                row, seen = reached(table, bleu4=bleu4, gaussian=gaussian), stamp
        seconds = time.perf_counter() - began
    finally:
        program.terminate()
        code = program.wait()
    if row is None and code != 0:
        raise RuntimeError(f"the run ended with code {code}")
    return {
        "reached": row is not None,
        "seconds": seconds,
        "epoch": None if row is None else int(row["epoch"]),
        "seconds_of_training_and_evaluation": None if row is None else float(row["seconds"]),
        "bleu4": None if row is None else float(row["bleu4"]),
        "dev_gaussian_score": None if row is None else float(row["dev_gaussian_score"]),
    }


def measure(toy: bool) -> dict[str, Any]:
    """Measure runs with several seeds."""
    bleu4, gaussian = (0.0, 0.0) if toy else (BLEU4, GAUSSIAN)
    runs = []
    for seed in range(1 if toy else 3):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            small = trial_overhead.few_verbs(directory)
            overrides = [f"seed={seed}", *(small if toy else ["evaluation.every_epochs=2"])]
            found = one_run(directory, overrides, bleu4=bleu4, gaussian=gaussian)
            runs.append({"seed": seed, **found})
    times = [run["seconds"] for run in runs if run["reached"]]
    return {
        "wanted_bleu4": bleu4,
        "wanted_gaussian_score": gaussian,
        "runs": runs,
        "seconds": measuring.summary(times) if times else None,
    }


def show(result: dict[str, Any]) -> str:
    """The table for ``docs/performance.md``."""
    return measuring.table(
        ["seed", "seconds", "epoch", "BLEU-4", "Gaussian score"],
        [
            [
                run["seed"],
                f"{run['seconds']:.0f}" if run["reached"] else "not reached",
                run["epoch"],
                f"{run['bleu4']:.3f}" if run["reached"] else "",
                f"{run['dev_gaussian_score']:.3f}" if run["reached"] else "",
            ]
            for run in result["runs"]
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Seconds to the report's quality.")
    return measuring.command("time_to_quality", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
