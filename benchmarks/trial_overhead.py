"""``python benchmarks/trial_overhead.py``: what a trial takes beside its training.

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
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring


def few_verbs(directory: Path) -> list[str]:
    """Overrides of a run on forty made-up verbs, whose files are written into ``directory``."""
    stems = [first + last for first in "bcdfglmn" for last in ("alt", "end", "ilk", "ool", "urn")]
    rows = [f"{stem} {stem}s {stem}ing {stem}ed\n" for stem in stems]
    (directory / "train.txt").write_text("".join(rows))
    (directory / "test.txt").write_text(f"{stems[0]} {stems[0]}ed\n")
    return [
        "debug=smoke",
        "data=files",
        f"data.train_path={directory}/train.txt",
        f"data.test_path={directory}/test.txt",
        "data.test_tenses=[[0,3]]",
        "data.dev_count=5",
        "training.batch_size=64",
    ]


def sweep_command(
    *, trials: int, workers: int, overrides: Sequence[str], extra: Sequence[str]
) -> list[str]:
    """The command of a sweep whose trials go to ``multirun/bench`` below where it is started."""
    return [
        *(sys.executable, "-m", "cvae.run", "-m", "sweep=learning_rates"),
        *overrides,
        *extra,
        "hydra.sweeper.study_name=bench",
        f"hydra.sweeper.n_trials={trials}",
        f"hydra.sweeper.n_jobs={workers}",
        "hydra/sweeper/pruner=none",
    ]


def run_sweep(
    directory: Path, *, trials: int, workers: int, overrides: list[str], extra: list[str]
) -> float:
    """Run a sweep of small trials below ``directory``; returns its wall-clock seconds."""
    command = sweep_command(trials=trials, workers=workers, overrides=overrides, extra=extra)

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


def measure(toy: bool, extra: list[str]) -> dict[str, Any]:
    """Overheads of all trials but the first."""
    trials = 3 if toy else 12
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        overrides = few_verbs(directory) if toy else ["debug=smoke"]
        sweep = run_sweep(directory, trials=trials, workers=1, overrides=overrides, extra=extra)
        paths = results(directory)
        ends = [path.stat().st_mtime_ns / 1e9 for path in paths]
        seconds = [json.loads(path.read_text())["seconds"] for path in paths]
    work = [each["train"] + each["evaluate"] for each in seconds]
    whole = [end - before for before, end in pairwise(ends)]
    overheads = [a - b for a, b in zip(whole, work[1:], strict=True)]
    inside = [each["total"] - busy for each, busy in zip(seconds[1:], work[1:], strict=True)]
    return {
        "trials": len(paths),
        "extra_overrides": extra,
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
        [
            "trials",
            "a trial, s",
            "training and evaluation, s",
            "overhead, s (goal 1.00)",
            "overhead / trial",
        ],
        [
            [
                result["trials"],
                measuring.spread(result["trial_seconds"]),
                measuring.spread(result["training_and_evaluation_seconds"]),
                measuring.spread(result["overhead_seconds"]),
                f"{result['share']:.2f}",
            ]
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Overhead of a sweep's trial.")
    parser.add_argument("--override", action="append", default=[], help="one more for the sweep")
    known, _ = parser.parse_known_args(arguments)
    return measuring.command(
        "trial_overhead", measure, show, parser, arguments, extra=known.override
    )


if __name__ == "__main__":
    sys.exit(main())
