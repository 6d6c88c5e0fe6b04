"""``python benchmarks/evaluation.py``: the time of one evaluation against that of one epoch.

The default config, in late epochs, when all parts of the model are trained. An evaluation consists
of the ten pairs, all twelve conversions of the dev verbs, the prior draws of both banks, and the
measures of collapse: everything except the final likelihoods, which are timed separately. One row
has a model that was trained for some epochs, the other an untrained one, whose words rarely end:
the worst case. Epoch and evaluation are measured alternately; each evaluation starts without cached
results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import project

from cvae import evaluation

EVERYTHING = (*evaluation.DURING_TRAINING, evaluation.report_generation, evaluation.latent_use)


def measure(toy: bool) -> dict[str, Any]:
    """Seconds of epochs and evaluations, of an untrained and of a slightly trained model."""
    overrides = ["debug=smoke"] if toy else []
    verbs, repeats, warm_up = (20, 2, 1) if toy else (None, 5, 6)
    overrides += project.LATE
    rows = []
    for learned in (0, warm_up):
        made = project.setup(overrides, verbs=verbs)
        twin = project.setup(overrides, verbs=verbs)  # is trained, while the first is not
        for _ in range(learned):
            made.trainer.train_epoch()

        epoch, everything, during, likelihood = measuring.alternate(
            [
                twin.trainer.train_epoch,
                lambda made=made: project.evaluate(made, EVERYTHING),
                lambda made=made: project.evaluate(made, evaluation.DURING_TRAINING),
                lambda made=made: project.evaluate(made, (evaluation.likelihood,)),
            ],
            repeats,
        )
        rows.append(
            {
                "epochs_learned": learned,
                "pairs": len(evaluation.dev_split(made.dataset).pairs),
                "draws": made.config["evaluation"]["draws"],
                "epoch_seconds": measuring.summary(epoch),
                "evaluation_seconds": measuring.summary(everything),
                "during_training_seconds": measuring.summary(during),
                "likelihood_seconds": measuring.summary(likelihood),
                "evaluation_over_epoch": measuring.ratio(everything, epoch),
                "during_training_over_epoch": measuring.ratio(during, epoch),
            }
        )
    return {"rows": rows}


def show(result: dict[str, Any]) -> str:
    """The table for ``docs/performance.md``."""
    return measuring.table(
        [
            "epochs learned",
            "epoch, s",
            "evaluation, s",
            "evaluation / epoch (goal 0.20)",
            "what training asks for / epoch",
            "likelihoods at the end / epoch",
        ],
        [
            [
                row["epochs_learned"],
                measuring.spread(row["epoch_seconds"]),
                measuring.spread(row["evaluation_seconds"]),
                measuring.spread(row["evaluation_over_epoch"]),
                measuring.spread(row["during_training_over_epoch"]),
                f"{row['likelihood_seconds']['median'] / row['epoch_seconds']['median']:.2f}",
            ]
            for row in result["rows"]
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Time of an evaluation against an epoch's.")
    return measuring.command("evaluation", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
