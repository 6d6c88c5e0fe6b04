"""``python benchmarks/search_comparison.py``: is a search worth its time? Fills docs/search.md.

Four ways to search the space of one study, each with the same wall time on the same machine: that
of eight runs of the default, one after the other (``--budget`` gives it in seconds). Each way is
studied with several seeds of its sampler. The winner of a study is then trained from the beginning
with three fresh seeds, and these runs are measured on the test verbs and the reported bank of prior
draws, which no search has seen. ``no search`` is the study's configuration as composed, with the
same fresh seeds.

A study is in ``RUNS/STUDY/WAY/seed_K``. One that has spent its time is not started again, and an
interrupted one goes on: ``active.json`` beside its trials has the times at which it ran.
``--table`` runs nothing and fills the document from what is there.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

import findings
import measuring
import yaml
from comparisons import complete_result
from report import filled

from cvae import winner

DOCUMENT: Final = measuring.REPOSITORY / "docs" / "search.md"
DEFAULT_RUNS: Final = 8
FRESH_SEEDS: Final = (100, 101, 102)
BLEU, GAUSSIAN = 0.957, 0.444
"""The best joint point that is public for this exercise."""

COLUMNS: Final = {
    "bleu4": "BLEU-4, ten pairs",
    "gaussian_score": "Gaussian score",
    "gaussian_distinct": "distinct rows",
    "test_exact_match_regular": "test, regular",
}


@dataclass(frozen=True)
class Method:
    """A way to search.

    Attributes:
        overrides: of the study's command.
        is_short: whether its trials are too short to be used: the winner's length is left to the
            configuration, and its training is a part of the budget.
    """

    overrides: tuple[str, ...]
    is_short: bool = False


_FULL_LENGTH: Final = (
    *("hydra.sweeper.halving=null", "hydra.sweeper.confirm=null", "hydra.sweeper.n_trials=10000"),
)
METHODS: Final[Mapping[str, Method]] = {
    "halving and repeats": Method(()),
    "random search": Method((*_FULL_LENGTH, "hydra/sweeper/sampler=random")),
    "median pruning": Method((*_FULL_LENGTH, "hydra/sweeper/pruner=late_median")),
    "short trials": Method(
        (*_FULL_LENGTH, "training.epochs=16", "evaluation.every_epochs=4"), is_short=True
    ),
}
STUDIES: Final = ("default", "report")
_OF_LENGTH: Final = ("training.epochs", "evaluation.every_epochs")


# --- Running -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Where the runs are, and what they share.

    Attributes:
        runs: the directory of everything.
        overrides: of every run, for trying the comparison out.
        jobs: winners trained at once.
    """

    runs: Path
    overrides: tuple[str, ...]
    jobs: int


def budget_of(comparison: Comparison) -> float:
    """Seconds of ``DEFAULT_RUNS`` default runs; one is measured here, with all cores."""
    directory = comparison.runs / "default_run"
    if not (directory / "result.json").exists():
        _run(["seed=100", *comparison.overrides], directory)
    total: float = json.loads((directory / "result.json").read_text())["seconds"]["total"]
    return DEFAULT_RUNS * total


def search(study: str, method: str, seed: int, comparison: Comparison, budget: float) -> None:
    """Run a study until it has ended or spent its time."""
    directory = directory_of(comparison.runs, study, method, seed)
    chosen = METHODS[method]
    if chosen.is_short:
        budget -= budget / DEFAULT_RUNS
    words = [sys.executable, "-m", "cvae.run", "-m", f"sweep={study}", *chosen.overrides]
    words += [f"hydra.sweeper.seed={seed}", f"hydra.sweep.dir='{directory}'"]
    words += comparison.overrides
    left = budget - spent(activity(directory))
    if left <= 0.0 or (directory / "ended").exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with subprocess.Popen(words, env=measuring.fresh_environment()) as process:
        try:
            if process.wait(left) == 0:
                (directory / "ended").touch()
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
        finally:
            process.kill()
            times = [*activity(directory), (began, time.time())]
            (directory / "active.json").write_text(json.dumps(times))


def train_winners(study: str, method: str | None, seed: int, comparison: Comparison) -> None:
    """Train a study's winner, or without a method its configuration, with the fresh seeds."""
    overrides = [f"sweep={study}", *comparison.overrides]
    if method is not None:
        directory = directory_of(comparison.runs, study, method, seed)
        try:
            overrides += overrides_of(winner.winner_of(directory).directory)
        except winner.WinnerError as error:
            print(f"search_comparison: {error}", file=sys.stderr)
            return
    with ThreadPoolExecutor(comparison.jobs) as pool:
        for fresh in FRESH_SEEDS:
            target = retrained(comparison.runs, study, method, seed, fresh)
            if not (target / "result.json").exists():
                more = [f"seed={fresh}", "evaluation.test=true", "threads=1"]
                pool.submit(_run, [*overrides, *more], target)


def overrides_of(trial: Path) -> list[str]:
    """What makes the trial's configuration, but for the length of short trials."""
    found: list[str] = yaml.safe_load((trial / ".hydra" / "overrides.yaml").read_text())
    drop = (*_OF_LENGTH, "seed", "sweep", "debug", "threads", "evaluation.test")
    return [text for text in found if text.partition("=")[0] not in drop]


def _run(overrides: Sequence[str], directory: Path) -> None:
    command = [sys.executable, "-m", "cvae.run", *overrides, f"hydra.run.dir='{directory}'"]
    subprocess.run(command, env=measuring.fresh_environment(), check=False)


def directory_of(runs: Path, study: str, method: str, seed: int) -> Path:
    """Where a study is."""
    return runs / study / re.sub(r"\W+", "_", method) / f"seed_{seed}"


def retrained(runs: Path, study: str, method: str | None, seed: int, fresh: int) -> Path:
    """Where a winner's run with a fresh seed is."""
    if method is None:
        return runs / study / "no_search" / f"fresh_{fresh}"
    return directory_of(runs, study, method, seed).with_name(f"winner_{seed}_fresh_{fresh}")


# --- Time --------------------------------------------------------------------------------------

Interval = tuple[float, float]


def activity(directory: Path) -> list[Interval]:
    """When a study ran: begin and end of each part, in seconds since 1970."""
    path = directory / "active.json"
    return [(a, b) for a, b in json.loads(path.read_text())] if path.exists() else []


def spent(times: Sequence[Interval], until: float | None = None) -> float:
    """Seconds of a study's activity, up to a moment."""
    moment = float("inf") if until is None else until
    return sum(max(0.0, min(end, moment) - begin) for begin, end in times)


def found_after(directory: Path) -> float | None:
    """Seconds after which a trial of full length had passed the public point; None if none has."""
    moments = []
    for path in directory.glob("trial_*/result.json"):
        result = json.loads(path.read_text())
        metrics = result["metrics"]
        if result["status"] == "complete" and (
            metrics["bleu4"] >= BLEU and metrics["gaussian_score"] >= GAUSSIAN
        ):
            begun = datetime.fromisoformat(result["started_at"]).timestamp()
            moments.append(begun + result["seconds"]["total"])
    return spent(activity(directory), min(moments)) if moments else None


# --- The document ------------------------------------------------------------------------------


def block(study: str, runs: Path, seeds: Sequence[int], budget: float | None) -> str | None:
    """A row for the configuration as composed, and one for each way to search."""
    rows = []
    for method in (None, *METHODS):
        results = [
            result
            for seed in (seeds if method else seeds[:1])
            for fresh in FRESH_SEEDS
            if (result := complete_result(retrained(runs, study, method, seed, fresh))) is not None
        ]
        if not results:
            continue
        cells = [
            findings._range(
                [
                    float(value)
                    for result in results
                    if (value := result["metrics"].get(column)) is not None
                ]
            )
            for column in COLUMNS
        ]
        objective = findings._range([float(result["objective"]["value"]) for result in results])
        rows.append(
            [
                method or "no search",
                *(_of_studies(method, study, runs, seeds, budget) if method else ["-"] * 3),
                str(len(results)),
                objective,
                *cells,
            ]
        )
    if not rows:
        return None
    heads = ["way", "studies", "trials of full length", "public point passed at", "n"]
    return measuring.table([*heads, "objective, dev", *COLUMNS.values()], rows)


def _of_studies(
    method: str, study: str, runs: Path, seeds: Sequence[int], budget: float | None
) -> list[str]:
    """How many studies there are, their trials, and when they had passed the public point."""
    directories = [
        path for seed in seeds if activity(path := directory_of(runs, study, method, seed))
    ]
    trials = [
        float(sum(complete_result(trial) is not None for trial in path.glob("trial_*")))
        for path in directories
    ]
    if METHODS[method].is_short:
        return [str(len(directories)), "-", "-"]
    passed = [moment for path in directories if (moment := found_after(path)) is not None]
    unit = budget or 1.0
    shares = findings._range([moment / unit for moment in passed])
    never = f", {len(directories) - len(passed)} never" if len(passed) < len(directories) else ""
    return [str(len(directories)), findings._range(trials), f"{shares}{never}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and fill the document."""
    parser = argparse.ArgumentParser(description="Compare ways to search; fill docs/search.md.")
    parser.add_argument("studies", nargs="*", help=f"of {', '.join(STUDIES)}; both by default")
    parser.add_argument("--runs", type=Path, default=measuring.REPOSITORY / "multirun/comparison")
    parser.add_argument("--seeds", type=int, default=3, help="studies of each way")
    parser.add_argument("--budget", type=float, help="seconds of a study")
    parser.add_argument("--jobs", type=int, default=2, help="winners trained at once")
    parser.add_argument("--override", action="append", default=[], help="of every run")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    unknown = [study for study in options.studies if study not in STUDIES]
    if unknown:
        parser.error(f"{unknown[0]}: no such study; allowed: {', '.join(STUDIES)}")
    studies = options.studies or list(STUDIES)
    runs, seeds = options.runs.resolve(), range(options.seeds)
    if not options.table:
        comparison = Comparison(runs, tuple(options.override), options.jobs)
        budget = options.budget or budget_of(comparison)
        for study in studies:
            train_winners(study, None, 0, comparison)
            # Seed by seed: an interrupted comparison has as many studies of each way.
            for seed in seeds:
                for method in METHODS:
                    search(study, method, seed, comparison, budget)
                    train_winners(study, method, seed, comparison)
        (runs / "budget.json").write_text(json.dumps(budget))
    path = runs / "budget.json"
    known = json.loads(path.read_text()) if path.exists() else None
    blocks = {
        f"search_{study}": text
        for study in studies
        if (text := block(study, runs, seeds, known)) is not None
    }
    if blocks:
        options.document.write_text(filled(options.document.read_text(), blocks))
    print(f"{options.document}: filled {', '.join(blocks) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
