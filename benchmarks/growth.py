"""``python benchmarks/growth.py``: how time and memory grow.

* The time of an epoch by number of verbs (random regular ones), hidden size, batch size and latent
  size, one at a time, for the one-level networks. The exponent is the
  slope of a straight line through the logarithms, with its standard error; 1 is proportional.
  Prior coverage is measured separately, because it compares each draw with each verb.
* Memory (resident set) over many small runs in one process.
* The time of one sweep with one and with two workers.

The figure of the first two is written beside the JSON file, or to ``--picture``.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import project
import trial_overhead
from scipy import stats

from cvae import experiment
from cvae.data import Paradigm

SMALL = ["model=single", "model.hidden_size=64", "model.encoder_hidden_size=64"]
NO_COVERAGE = ["training.coverage_draws=0"]
COVERAGE = ["training.coverage_start=0"]


def made_up_verbs(count: int) -> tuple[Paradigm, ...]:
    """Distinct regular verbs of random syllables, with the lengths of real verbs."""
    draw = random.Random(0)
    stems: dict[str, None] = {}
    while len(stems) < count:
        syllables = draw.choices((2, 3, 4), weights=(5, 4, 1))[0]
        stem = "".join(
            draw.choice("bcdfglmnprstv") + draw.choice("aeiou") for _ in range(syllables)
        )
        stems[stem + draw.choice("lnrt")] = None
    return tuple(
        Paradigm(((stem,), (stem + "s",), (stem + "ing",), (stem + "ed",)), True) for stem in stems
    )


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> dict[str, float]:
    """Exponent of seconds ~ size ** exponent, by least squares on logarithms."""
    fit = stats.linregress(*([math.log(value) for value in values] for values in (sizes, seconds)))
    return {"exponent": float(fit.slope), "standard_error": float(fit.stderr)}


def epoch_times(
    name: str, key: str, sizes: list[int], overrides: list[str], *, verbs: int, repeats: int
) -> dict[str, Any]:
    """One axis: seconds per epoch at each size."""
    rows = []
    for size in sizes:
        given = [*SMALL, *overrides]
        train = made_up_verbs(size if key == "verbs" else verbs)
        if key != "verbs":
            given.append(f"{key}={size}")
        if key == "model.hidden_size":
            given.append(f"model.encoder_hidden_size={size}")
        made = project.setup(given, train=train)
        # A large set needs no warm-up and no repetitions.
        few = key == "verbs" and size >= 10_000
        if few:
            times = [measuring.seconds(made.trainer.train_epoch)]
        else:
            (times,) = measuring.alternate([made.trainer.train_epoch], repeats)
        rows.append({"size": size, "seconds": measuring.summary(times)})
    medians = [row["seconds"]["median"] for row in rows]
    return {"axis": name, "key": key, "rows": rows, **slope(sizes, medians)}


def resident_megabytes() -> float:
    """Memory of this process that is in use, in MB; Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory_over_runs(runs: int) -> dict[str, Any]:
    """Resident memory after each of many small complete runs."""
    logging.getLogger("cvae").setLevel(logging.ERROR)
    megabytes = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        given = [*trial_overhead.few_verbs(directory), "training.epochs=1"]
        config = project.compose(given)
        for run in range(runs):
            experiment.run({**config, "seed": run}, directory / str(run), [])
            gc.collect()
            megabytes.append(resident_megabytes())
    settled = megabytes[len(megabytes) // 5 :]  # caches and pools fill at first
    fit = stats.linregress(range(len(settled)), settled)
    return {
        "runs": runs,
        "megabytes": [round(value, 1) for value in megabytes],
        "megabytes_after_a_fifth": settled[0],
        "megabytes_at_the_end": settled[-1],
        "kilobytes_a_run": float(fit.slope) * 1e3,
        "standard_error": float(fit.stderr) * 1e3,
    }


def sweep_times(trials: int, repeats: int, *, toy: bool) -> dict[str, Any]:
    """Seconds of one sweep with one and two workers, measured alternately."""
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeats):
        for workers, found in times.items():
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory)
                seconds = trial_overhead.run_sweep(
                    path,
                    trials=trials,
                    workers=workers,
                    overrides=trial_overhead.few_verbs(path) if toy else ["debug=smoke"],
                    extra=[],
                )
                found.append(seconds)
    return {
        "trials": trials,
        "one_worker_seconds": measuring.summary(times[1]),
        "two_workers_seconds": measuring.summary(times[2]),
        "one_over_two": measuring.ratio(times[1], times[2]),
    }


def measure(toy: bool, picture: Path | None) -> dict[str, Any]:
    """All axes, the memory and the sweeps."""
    verbs, repeats = (30, 2) if toy else (600, 3)
    axes = [
        ("verbs", "verbs", [1000, 3162, 10_000, 31_623, 100_000], NO_COVERAGE),
        ("verbs, prior coverage", "verbs", [1000, 2154, 4642, 10_000], COVERAGE),
        ("hidden size", "model.hidden_size", [64, 128, 256, 512], NO_COVERAGE),
        ("batch size", "training.batch_size", [16, 64, 256, 1024], NO_COVERAGE),
        ("latent size", "model.latent_size", [2, 8, 32, 128], NO_COVERAGE),
    ]
    if toy:
        toys = {"verbs": [20, 40, 80], "model.hidden_size": [8, 16, 32]}
        axes = [(name, key, toys.get(key, [2, 4, 8]), given) for name, key, _, given in axes]
    result = {
        "axes": [
            epoch_times(name, key, sizes, given, verbs=verbs, repeats=repeats)
            for name, key, sizes, given in axes
        ],
        "memory": memory_over_runs(5 if toy else 200),
        "sweep": sweep_times(2 if toy else 8, 1 if toy else 3, toy=toy),
    }
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(result, picture)
    return result


def draw(result: dict[str, Any], path: Path) -> None:
    """A PNG with one panel per axis and one for the memory."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    panels = figure.subplots(2, 3).flat
    for panel, axis in zip(panels, result["axes"], strict=False):
        sizes = [row["size"] for row in axis["rows"]]
        middle = [row["seconds"]["median"] for row in axis["rows"]]
        ends = [
            [row["seconds"]["median"] - row["seconds"]["low"] for row in axis["rows"]],
            [row["seconds"]["high"] - row["seconds"]["median"] for row in axis["rows"]],
        ]
        panel.errorbar(sizes, middle, yerr=ends, fmt="o-", capsize=3)
        panel.set(xscale="log", yscale="log", xlabel=axis["axis"], ylabel="seconds an epoch")
        panel.set_title(
            f"exponent {axis['exponent']:.2f} ± {axis['standard_error']:.2f}", fontsize=10
        )
        # At least a factor of ten, so that a flat curve looks flat.
        centre = (min(middle) * max(middle)) ** 0.5
        reach = max(10.0, 2.0 * max(middle) / min(middle)) ** 0.5
        panel.set_ylim(centre / reach, centre * reach)
        panel.xaxis.set_major_locator(FixedLocator(sizes))
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        for side in (panel.xaxis, panel.yaxis):
            side.set_minor_locator(NullLocator())
            side.set_major_formatter(plain)
        panel.grid(True, alpha=0.25)
    panel = figure.axes[5]
    megabytes = result["memory"]["megabytes"]
    panel.plot(range(1, len(megabytes) + 1), megabytes)
    panel.set(
        xlabel="runs in one process", ylabel="resident memory, MB", ylim=(0, 1.15 * max(megabytes))
    )
    panel.set_title(f"{result['memory']['kilobytes_a_run']:.0f} kB a run", fontsize=10)
    panel.grid(True, alpha=0.25)
    figure.savefig(path, dpi=110)


def show(result: dict[str, Any]) -> str:
    """The tables for ``docs/performance.md``."""
    first = measuring.table(
        ["an epoch's time against", "sizes", "seconds", "exponent", "standard error"],
        [
            [
                axis["axis"],
                " ".join(f"{row['size']:,}" for row in axis["rows"]),
                " ".join(f"{row['seconds']['median']:.2f}" for row in axis["rows"]),
                f"{axis['exponent']:.2f}",
                f"{axis['standard_error']:.2f}",
            ]
            for axis in result["axes"]
        ],
    )
    memory, sweep = result["memory"], result["sweep"]
    second = measuring.table(
        ["runs in one process", "MB after a fifth", "MB at the end", "kB a run (standard error)"],
        [
            [
                memory["runs"],
                f"{memory['megabytes_after_a_fifth']:.0f}",
                f"{memory['megabytes_at_the_end']:.0f}",
                f"{memory['kilobytes_a_run']:.0f} ({memory['standard_error']:.0f})",
            ]
        ],
    )
    third = measuring.table(
        ["trials", "one worker, s", "two workers, s", "one / two"],
        [
            [
                sweep["trials"],
                measuring.spread(sweep["one_worker_seconds"], digits=1),
                measuring.spread(sweep["two_workers_seconds"], digits=1),
                measuring.spread(sweep["one_over_two"]),
            ]
        ],
    )
    return f"{first}\n\n{second}\n\n{third}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file and the picture."""
    parser = argparse.ArgumentParser(description="How time and memory grow.")
    parser.add_argument("--picture", type=Path, help="where the PNG goes")
    known, _ = parser.parse_known_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    shipped = None if "--toy" in given else measuring.RESULTS / "growth.png"
    return measuring.command(
        "growth", measure, show, parser, arguments, picture=known.picture or shipped
    )


if __name__ == "__main__":
    sys.exit(main())
