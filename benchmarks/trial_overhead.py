"""``python benchmarks/trial_overhead.py``: what a sweep's trial takes beside training and evaluating.

A sweep of small trials by one worker, started as a user starts it. Between the ends of two trials
stands one whole trial: the study's bookkeeping, a process, its config, the data, the networks,
training, evaluation, the files. Its ``result.json`` says what training and evaluation took; the
rest is the overhead. The first trial, which also starts the program, is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring


def run_sweep(directory: Path, *, trials: int, workers: int) -> float:
    """Run a sweep of ``debug=smoke`` trials below ``directory``; returns its wall-clock seconds."""
    command = [
        *(sys.executable, "-m", "cvae.run", "-m", "sweep=learning_rates", "debug=smoke"),
        "hydra.sweeper.study_name=bench",
        f"hydra.sweeper.n_trials={trials}",
        f"hydra.sweeper.n_jobs={workers}",
        "hydra/sweeper/pruner=none",
    ]

    def start() -> None:
        subprocess.run(
            command,
            cwd=directory,
            env=measuring.fresh_environment(),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    return measuring.seconds(start)


def results(directory: Path) -> list[Path]:
    """The trials' ``result.json``, in the order of their ends."""
    found = directory.glob("multirun/bench/*/result.json")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def measure(toy: bool) -> dict[str, Any]:
    """Overheads of all trials but the first."""
    trials = 3 if toy else 12
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sweep = run_sweep(directory, trials=trials, workers=1)
        paths = results(directory)
        ends = [path.stat().st_mtime_ns / 1e9 for path in paths]
        seconds = [json.loads(path.read_text())["seconds"] for path in paths]
    work = [each["train"] + each["evaluate"] for each in seconds]
    whole = [end - before for before, end in zip(ends, ends[1:], strict=False)]
    overheads = [a - b for a, b in zip(whole, work[1:], strict=True)]
    inside = [each["total"] - busy for each, busy in zip(seconds[1:], work[1:], strict=True)]
    return {
        "trials": len(paths),
        "sweep_seconds": sweep,
        "trial_seconds": measuring.summary(whole),
        "training_and_evaluation_seconds": measuring.summary(work[1:]),
        "overhead_seconds": measuring.summary(overheads),
        "overhead_within_the_run_seconds": measuring.summary(inside),
        "first_trial_and_start_seconds": sweep - sum(whole),
        "share": statistics.median(overheads) / statistics.median(whole),
    }


def show(result: dict[str, Any]) -> str:
    """The table that ``docs/performance.md`` takes."""
    return measuring.table(
        ["trials", "a trial, s", "training and evaluation, s", "overhead, s (goal 1.00)"],
        [
            [
                result["trials"],
                measuring.spread(result["trial_seconds"]),
                measuring.spread(result["training_and_evaluation_seconds"]),
                measuring.spread(result["overhead_seconds"]),
            ]
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Overhead of a sweep's trial.")
    return measuring.command("trial_overhead", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
