"""The page's data about what is known more finely than a run's evaluations are apart.

The schedules as they are, from the run's configuration, and the losses over a few steps each. An
annealing cycle may be shorter than the time between two evaluations, which then show it wrongly.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from cvae import results, run_schedules

LOSSES: Final = ("cross_entropy", "kl")
AXES: Final = ("step", "epoch", "progress", "seconds")

_NUMBER_BUDGET: Final = 1_000_000  # in all curves: about 7 MB of text
_MOST_POINTS, _LEAST_POINTS = 250, 20


def read(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the fine curves of each run by its position in ``frame``, from ``results.load``.

    ``points`` holds by column (``kl_weight``, ``teacher_forcing_ratio``, ``encoder_lr``,
    ``decoder_lr``, ``cross_entropy``, ``kl``) a list of [progress, value], to be joined by straight
    lines. ``scale`` has by x axis its value at progress 1: an x is ``scale[axis] * progress``. A
    schedule is drawn to where the run came. A run that was never evaluated, or whose files are
    damaged or of an older version, lacks what they do not tell.
    """
    runs = list(frame["run"])
    evaluations = _by_run(results.read_curves(runs)[0])
    losses = _by_run(results.read_curves(runs, results.CURVE_FILES["losses"])[0])
    room = _NUMBER_BUDGET // (4 * max(1, len(losses)))
    most = min(_MOST_POINTS, max(_LEAST_POINTS, room))
    fine: dict[str, dict[str, Any]] = {}
    for row, table in evaluations.items():
        last = table.iloc[-1]
        reached = float(last.get("progress", math.nan))
        if not 0.0 < reached <= 1.0:
            continue
        lines: dict[str, run_schedules.Points] = {
            column: _until(reached, points)
            for column, points in run_schedules.schedule_points(
                results.configuration(runs[row])
            ).items()
        }
        if row in losses and {"progress", *LOSSES} <= set(losses[row].columns):
            recorded = losses[row]
            shown = np.unique(np.linspace(0, len(recorded) - 1, most).round().astype(int))
            for column in LOSSES:
                pairs = recorded[["progress", column]].to_numpy(dtype=float)[shown]
                lines[column] = [(x, y) for x, y in pairs.tolist() if math.isfinite(x + y)]
        scale = {axis: float(last.get(axis, math.nan)) / reached for axis in AXES}
        fine[str(row)] = {
            "scale": {k: float(f"{v:.6g}") for k, v in scale.items() if math.isfinite(v)},
            "points": {
                column: [[round(x, 6), float(f"{y:.4g}")] for x, y in points]
                for column, points in lines.items()
            },
        }
    return fine


def _by_run(table: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(row): part for row, part in table.groupby("_row")}


def _until(reached: float, points: run_schedules.Points) -> run_schedules.Points:
    """Return the points up to progress ``reached``, with one there."""
    xs, ys = zip(*points, strict=True)
    end = (reached, float(np.interp(reached, xs, ys)))
    return [*(point for point in points if point[0] < reached), end]
