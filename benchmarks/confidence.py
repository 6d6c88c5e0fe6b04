"""``python benchmarks/confidence.py RUN_DIR``: how far a run's confidence can be believed.

Draws the reliability diagram of docs/confidence.md and prints its tables: exact match by greedy
decoding and by reranking, the expected calibration error, and the answers for a few odd words. Dev
verbs are cross-validated by verb; the calibration that the test verbs get is that of all dev verbs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from cvae import confidence, evaluation, metrics, trained_run
from cvae.alphabet import TENSES
from cvae.confidence import Calibration, Converted
from cvae.data import pairs_of
from cvae.inflection import REGULAR_CLASSES, inflection_class
from cvae.reranking import rerank
from cvae.source_tense import infer_tenses
from cvae.trained_run import TrainedRun

ODD_WORDS = (
    *("walk", "travel", "abandon", "panic", "quiz", "be", "go"),
    *("frobnicate", "snorgle", "xqzt", "blorpf", "zzz"),
)
LONG = 11  # letters
WIDTHS = (1, 2, 4, 8, 16)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def widths(run: TrainedRun) -> str:
    """Exact match and processor time of greedy decoding and of each width."""
    rows = []
    for split in ("dev", "test"):
        pairs = pairs_of(getattr(run.dataset, split), include_same=False)
        wanted = [(pair.source, pair.source_tense, pair.target_tense) for pair in pairs]
        for width in WIDTHS:
            began = time.process_time()
            if width == 1:
                words = evaluation.convert(run.model, wanted, torch.device("cpu"))
            else:
                found = rerank(run.model, wanted, torch.device("cpu"), width=width)
                words = [answer.word for answer in found]
            seconds = time.process_time() - began
            right = [word in pair.accepted for word, pair in zip(words, pairs, strict=True)]
            cells = [
                sum(part) / len(part)
                for part in (
                    [ok for ok, pair in zip(right, pairs, strict=True) if keep(pair)]
                    for keep in (
                        lambda pair: pair.regular,
                        lambda pair: not pair.regular,
                        lambda pair: pair.regular and len(pair.source) >= LONG,
                    )
                )
            ]
            name = "greedy" if width == 1 else str(width)
            rows.append([split, name, *(f"{cell:.3f}" for cell in cells), f"{seconds:.1f}"])
    header = ["split", "candidates", "regular", "irregular", f"regular, {LONG} letters or more"]
    return table([*header, "processor seconds"], rows)


def errors(parts: dict[str, tuple[Converted, list[float]]]) -> str:
    rows = []
    for split, (found, shares) in parts.items():
        right = confidence.correct(found)
        rows.append(
            [
                split,
                f"{len(right):,}",
                f"{sum(right) / len(right):.4f}",
                f"{sum(shares) / len(shares):.4f}",
                f"{metrics.calibration_error(shares, right):.4f}",
                f"{metrics.calibration_error(shares, right, equal_mass=True):.4f}",
            ]
        )
    header = ["split", "n", "exact match", "mean probability"]
    return table([*header, "error, equal width", "error, equal mass"], rows)


def odd_words(run: TrainedRun, calibration: Calibration) -> str:
    rows = []
    asked = [(word, 0, 3) for word in ODD_WORDS]
    for (word, _, _), answer in zip(
        asked, rerank(run.model, asked, torch.device("cpu")), strict=True
    ):
        shares = calibration.probabilities(answer)
        cells = [
            f"{item.word} {share:.2f}"
            for item, share in zip(answer.candidates, shares, strict=True)
        ]
        rows.append([word, cells[0], cells[1] if len(cells) > 1 and shares[1] >= 0.05 else ""])
    return table(["present", "past", "second answer"], rows)


def source_tenses(run: TrainedRun) -> str:
    rows = []
    for split in ("dev", "test"):
        right: dict[str, list[bool]] = {"other words": [], "irregular pasts": []}
        known = run.dataset.tenses_of_words
        for verb in getattr(run.dataset, split):
            for tense, found in enumerate(infer_tenses(run.model, verb.preferred)):
                past = tense == TENSES.index("past")
                irregular = past and inflection_class(verb.preferred) >= REGULAR_CLASSES
                kind = "irregular pasts" if irregular else "other words"
                right[kind].append(found in known[verb.preferred[tense]])
        rows += [
            [split, kind, len(part), f"{sum(part) / len(part):.4f}"] for kind, part in right.items()
        ]
    return table(["split", "words", "n", "tense inferred right"], rows)


def draw(parts: dict[str, tuple[Converted, list[float]]], path: Path) -> None:
    """The reliability diagram: 15 bins of equal width, with the 95 % interval of each share."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.2, 4.0), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for (split, (found, shares)), marker in zip(parts.items(), "os", strict=False):
        bins = metrics.reliability(shares, confidence.correct(found))
        for part in bins:
            low, high = metrics.wilson_interval(round(part.accuracy * part.count), part.count)
            axes.plot([part.probability] * 2, [low, high], color="0.8", linewidth=1, zorder=1)
        axes.plot(
            [part.probability for part in bins],
            [part.accuracy for part in bins],
            marker,
            markersize=5,
            label=f"{split}, n = {len(shares):,}",
        )
    axes.set(
        xlabel="probability",
        ylabel="share of right answers",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description="How far a run's confidence can be believed.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/reliability.png"))
    options = parser.parse_args(arguments)
    run = trained_run.load(options.run_dir)
    dev = confidence.converted(run.model, run.dataset.dev)
    test = confidence.converted(run.model, run.dataset.test)
    calibration = confidence.fit(dev)
    parts = {
        "dev": (dev, confidence.cross_validated(dev)),
        "test": (test, [calibration.probabilities(answer)[0] for _, answer in test]),
    }
    sections = (errors(parts), odd_words(run, calibration), source_tenses(run), widths(run))
    print("\n\n".join(sections))
    draw(parts, options.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
