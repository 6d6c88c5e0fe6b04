"""``python -m cvae.calibrate RUN_DIR``: let a trained model say how sure it is.

python -m cvae.calibrate outputs/my_run
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cvae.terminal import (
    ArgumentParser,
    InputError,
    exit_code_of,
    interrupt_ends_at_once,
    run_directory,
    run_of,
)

if TYPE_CHECKING:
    # torch takes seconds to import: --help need not wait for it.
    from cvae.confidence import Converted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0, or 2 with one line of explanation)."""
    options = _parser().parse_args(arguments)
    return exit_code_of("cvae.calibrate", lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m cvae.calibrate",
        description="Fit, on a run's dev verbs, how sure a trained model may be of a conversion. "
        "Writes calibration.json beside the weights, for python -m cvae.convert --scores.",
        epilog="Prints, tab-separated, exact match by greedy decoding and by reranking, the mean "
        "probability of the answers and its expected calibration error in 15 bins of equal width. "
        "On the dev verbs the probabilities are cross-validated by verb.",
    )
    parser.add_argument(
        "run_dir",
        type=run_directory,
        metavar="RUN_DIR",
        help="the directory of a run, or of a study: then its best trial is taken",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    from cvae import confidence, trained_run
    from cvae.run_directory import RunDirectoryError

    try:
        run = trained_run.load(run_of("cvae.calibrate", options.run_dir))
        if not run.dataset.dev:
            raise InputError(
                f"{run.path}: its data have no dev verbs to calibrate on; train with data.dev_count"
            )
        dev = confidence.converted(run.model, run.dataset.dev)
        calibration = confidence.fit(dev)
        shares = confidence.cross_validated(dev)
        confidence.write(run.path, calibration)
    except (RunDirectoryError, confidence.CalibrationError) as error:
        raise InputError(str(error)) from error
    print("split\tpairs\tgreedy\treranked\tprobability\tcalibration_error")
    print(_row("dev", dev, shares))
    if run.dataset.test:
        test = confidence.converted(run.model, run.dataset.test)
        print(_row("test", test, [calibration.probabilities(answer)[0] for _, answer in test]))


def _row(split: str, converted: Converted, shares: Sequence[float]) -> str:
    from cvae import confidence, metrics

    right = confidence.correct(converted)
    greedy = [answer.greedy in pair.accepted for pair, answer in converted]
    numbers = (
        sum(greedy) / len(greedy),
        sum(right) / len(right),
        sum(shares) / len(shares),
        metrics.calibration_error(shares, right),
    )
    return "\t".join([split, str(len(right)), *(f"{number:.4f}" for number in numbers)])


if __name__ == "__main__":
    interrupt_ends_at_once("")  # what it writes is whole or absent
    sys.exit(main())
