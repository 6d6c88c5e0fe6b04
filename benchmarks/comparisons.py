"""``python benchmarks/comparisons.py``: annealing schedules and teacher forcing, side by side.

A comparison trains several variants of one experiment. Each variant has the same number of
options: values of the one key that matters most to it. All options are trained with seed 0. The
best of them, by the objective of the dev side, is trained with two more seeds, and these three runs
are the variant's row in docs/annealing.md.

A run is in ``multirun/COMPARISON/VARIANT/OPTION_seed_K``. Finished runs are not repeated, and an
interrupted one is resumed. ``--table`` trains nothing and fills the document from the existing
are.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

import findings
import measuring
from report import filled

SEEDS: Final = (0, 1, 2)
DOCUMENT: Final = measuring.REPOSITORY / "docs" / "annealing.md"

COLUMNS: Final = {
    "bleu4": "BLEU-4, ten pairs",
    "gaussian_score": "Gaussian score",
    "gaussian_distinct": "distinct rows",
    "kl": "KL, nats",
    "mutual_information": "mutual information, nats",
    "active_units": "active units",
}


@dataclass(frozen=True)
class Variant:
    """What one row of a comparison trains.

    Attributes:
        overrides: common to all its options.
        key: the key whose value is chosen.
        options: the values to choose from.
    """

    overrides: tuple[str, ...]
    key: str
    options: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """An experiment, the overrides of all runs, and the variants."""

    base: tuple[str, ...]
    variants: Mapping[str, Variant]


WEIGHTS: Final = (0.1, 0.2, 0.4)
# One nat more than naming one of 1,200 rows takes, divided by the three units of the latent.
_FREE, _TARGET = "anneal.free_nats=2.4", "anneal.target_nats=8.0"


def _weighted(*overrides: str) -> Variant:
    return Variant(overrides, "anneal.kl_weight_max", WEIGHTS)


SCHEDULES: Final = {
    "constant": _weighted("anneal=constant"),
    # One cycle is the same schedule.
    "monotonic": _weighted("anneal=monotonic"),
    "cyclical, 2 cycles": _weighted("anneal=cyclical", "anneal.cycle_count=2"),
    "cyclical, 4 cycles": _weighted("anneal=cyclical", "anneal.cycle_count=4"),
    "cyclical, 8 cycles": _weighted("anneal=cyclical", "anneal.cycle_count=8"),
    "free bits": _weighted("anneal=free_bits", _FREE),
    "target rate": _weighted("anneal=target_kl", _TARGET),
}


def _forcing(feedback: str, *overrides: str) -> Variant:
    feeding = f"model.feedback={feedback}"
    return Variant((feeding, *overrides), "optim.decoder_lr", (0.004, 0.008))


def _falling(start: float) -> tuple[str, ...]:
    settings = {"ratio_start": start, "ratio_end": 0.0, "end": 0.5}
    return "teacher_forcing=linear", *(f"teacher_forcing.{k}={v}" for k, v in settings.items())


def _constant(ratio: float) -> tuple[str, ...]:
    return "teacher_forcing=constant", f"teacher_forcing.ratio={ratio}"


FORCING: Final = {
    f"{feedback}, {name}": _forcing(feedback, *overrides)
    for feedback in ("symbol", "output")
    for name, overrides in {
        "always": _constant(1.0),
        "1 to 0 by half-way": _falling(1.0),
        "0.5 to 0 by half-way": _falling(0.5),
        "never": _constant(0.0),
    }.items()
}

COMPARISONS: Final = {
    "schedules_single_tuned": Comparison(
        ("experiment=single_tuned", "training.epochs=40"), SCHEDULES
    ),
    "schedules_report_tuned": Comparison(
        ("experiment=report_tuned", "training.epochs=26"), SCHEDULES
    ),
    "forcing_report_tuned": Comparison(("experiment=report_tuned", "training.epochs=26"), FORCING),
}


def train(name: str, runs: Path, jobs: int) -> None:
    """Train what is missing: every option with the first seed, then the best with the others."""
    comparison = COMPARISONS[name]
    first, *others = SEEDS

    def run(variant: str, option: float, seed: int) -> None:
        chosen = comparison.variants[variant]
        directory = _directory(runs, name, variant, option, seed)
        if (directory / "result.json").exists():
            return
        overrides = [*comparison.base, *chosen.overrides, f"{chosen.key}={option:g}"]
        overrides += [f"seed={seed}", "threads=1", f"hydra.run.dir='{directory}'"]
        command = [sys.executable, "-m", "cvae.run", *overrides]
        # A diverged run is still counted in the table.
        subprocess.run(command, env=measuring.fresh_environment(), check=False)

    with ThreadPoolExecutor(jobs) as pool:
        of_first = [
            (variant, option, first)
            for variant, chosen in comparison.variants.items()
            for option in chosen.options
        ]
        for done in [pool.submit(run, *arguments) for arguments in of_first]:
            done.result()
        best = {variant: best_option(name, variant, runs) for variant in comparison.variants}
        of_others = [
            (variant, option, seed)
            for variant, option in best.items()
            if option is not None
            for seed in others
        ]
        for done in [pool.submit(run, *arguments) for arguments in of_others]:
            done.result()


def _directory(runs: Path, name: str, variant: str, option: float, seed: int) -> Path:
    return runs / name / "_".join(re.findall(r"[\w.]+", variant)) / f"{option:g}_seed_{seed}"


def complete_result(directory: Path) -> Mapping[str, Any] | None:
    """A run's result if it is complete, else None."""
    path = directory / "result.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    return result if result.get("status") == "complete" else None


def best_option(name: str, variant: str, runs: Path) -> float | None:
    """The best option by the objective with the first seed; None if no run is complete."""
    objectives = {}
    for option in COMPARISONS[name].variants[variant].options:
        result = complete_result(_directory(runs, name, variant, option, SEEDS[0]))
        if result is not None:
            objectives[option] = float(result["objective"]["value"])
    return max(objectives, key=lambda option: objectives[option]) if objectives else None


def block(name: str, runs: Path) -> str | None:
    """The rows of the best options, and under them all options with the first seed."""
    rows: list[list[str]] = []
    searched: list[list[str]] = []
    for variant, chosen in COMPARISONS[name].variants.items():
        option = best_option(name, variant, runs)
        if option is None:
            continue
        directories = [_directory(runs, name, variant, option, seed) for seed in SEEDS]
        results = [result for path in directories if (result := complete_result(path)) is not None]
        rows.append([variant, f"{option:g}", str(len(results)), *_cells(results)])
        for each in chosen.options:
            result = complete_result(_directory(runs, name, variant, each, SEEDS[0]))
            if result is not None:
                objective = f"{float(result['objective']['value']):.3f}"
                searched.append([variant, f"{each:g}", objective, *_cells([result])])
    if not rows:
        return None
    key = next(iter(COMPARISONS[name].variants.values())).key
    head = "KL weight at its highest" if key.startswith("anneal.") else key.rpartition(".")[2]
    best = measuring.table(["variant", head, "n", *COLUMNS.values()], rows)
    every = measuring.table(["variant", head, "objective", *COLUMNS.values()], searched)
    return f"{best}\n\nAll options with seed 0 (n = 1 each):\n\n{every}"


def _cells(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        findings._range([float(result["metrics"][column]) for result in results])
        for column in COLUMNS
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and fill the document."""
    parser = argparse.ArgumentParser(description="Compare schedules; fill docs/annealing.md.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(COMPARISONS)}; all by default")
    parser.add_argument("--runs", type=Path, default=measuring.REPOSITORY / "multirun")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in COMPARISONS]
    if unknown:
        parser.error(f"{unknown[0]}: no such comparison; allowed: {', '.join(COMPARISONS)}")
    names = options.names or list(COMPARISONS)
    if not options.table:
        for name in names:
            train(name, options.runs.resolve(), options.jobs)
    blocks = {name: text for name in names if (text := block(name, options.runs)) is not None}
    if blocks:
        options.document.write_text(filled(options.document.read_text(), blocks))
    left = [name for name in names if name not in blocks]
    print(f"{options.document}: filled {', '.join(blocks) or 'nothing'}")
    if left:
        print(f"no runs of {', '.join(left)}: left as it was")
    return 0


if __name__ == "__main__":
    sys.exit(main())
