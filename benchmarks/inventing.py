"""``python benchmarks/inventing.py RUN_DIR ...``: what two-level models invent, by temperature.

Prints the table of docs/scores.md: a row for each temperature of ``cvae.generate``, its cells the
mean (lowest to highest) over the runs. They may be of one data set and several seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import findings
import measuring

from cvae import evaluation, metrics, trained_run
from cvae.generate import paradigms
from cvae.trained_run import TrainedRun
from cvae.well_formed import WellFormed

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
DRAWS = 4000
HEADS = (
    *("temperature", "Gaussian score", "distinct rows, 1,000 draws", "new among the draws"),
    *("real among the new", "well-formed among the new"),
)


def row(run: TrainedRun, judge: WellFormed, temperature: float, draws: int) -> list[float]:
    """The cells of one run."""
    seed = evaluation.REPORT_BANK_SEED
    said = list(paradigms(run.model, draws, seed, temperature))
    training = {verb.preferred for verb in run.dataset.train}
    score = metrics.gaussian_score(said, training)
    shares = [metrics.novel_share(said, training, holds) for holds in (run.dataset.is_known, judge)]
    return [
        score.score,
        float(metrics.gaussian_score(said[:1000], training).distinct),
        float(len(set(said) - training)),
        *(0.0 if share is None else share for share in shares),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What two-level models invent, by temperature.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"(default: {DRAWS})")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    runs = [trained_run.load(path) for path in options.runs]
    judges = [WellFormed(run.dataset.train, run.dataset.dev or run.dataset.train) for run in runs]
    rows = []
    for temperature in TEMPERATURES:
        cells = [
            row(run, judge, temperature, options.draws)
            for run, judge in zip(runs, judges, strict=True)
        ]
        rows.append([f"{temperature:g}", *map(findings._range, zip(*cells, strict=True))])
    print(measuring.table(list(HEADS), rows))
    print(f"\nn = {len(runs)} runs, {options.draws} draws each")
    test = {verb.preferred for verb in runs[0].dataset.test}
    if test:
        shares = [sum(map(judge, test)) / len(test) for judge in judges]
        print(f"well-formed among the test verbs: {findings._range(shares)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
