"""The schedules of a run as they are, from its resolved config: points to draw them by.

What a run records is coarser than its schedules: a cycle of the KL weight may be shorter than the
time between two evaluations, or than an epoch. A schedule is a function of progress, so it can be
drawn as that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cvae.schedules import (
    Schedule,
    ScheduleError,
    kl_weight_schedule,
    learning_rate_factor,
    step_lr_factor,
    teacher_forcing_schedule,
)

Config = Mapping[str, Any]
Points = list[tuple[float, float]]
"""(progress, value), from progress 0 to 1. Neighbours are joined by a straight line; a jump is two
points at almost the same progress."""

COLUMNS: Final = ("kl_weight", "teacher_forcing_ratio", "encoder_lr", "decoder_lr")
"""The schedules, by the names that they have in ``metrics.csv``."""

_TOLERANCE: Final = 0.002
"""How far the line may be from the schedule, as a share of the schedule's largest value."""

_CELLS: Final = 64
_CELLS_A_CYCLE: Final = 16
_MOST_CELLS: Final = 16_000
_HALVINGS: Final = 14  # of a cell around a corner or a jump


def schedule_points(config: Config) -> dict[str, Points]:
    """Return the points of each of ``COLUMNS``.

    A schedule that ``config`` does not describe, such as that of another version, is left out.
    """
    points: dict[str, Points] = {}
    for name, make in zip(COLUMNS, _MAKERS, strict=True):
        try:
            found = make(config)
        except (ScheduleError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
            continue
        if all(math.isfinite(value) for _, value in found):
            points[name] = found
    return points


def epoch_count(config: Config) -> int:
    """Return the epochs of the whole training; 0 where ``config`` does not say."""
    training = config.get("training")
    epochs = training.get("epochs") if isinstance(training, Mapping) else None
    return epochs if isinstance(epochs, int) and epochs > 0 else 0


def phases(config: Config) -> dict[str, float]:
    """Return the progress at which each phase starts, by its key in ``training``; in order.

    Only the phases that the model has: ``prior_start`` and ``partition_start`` with two levels,
    ``coverage_start`` where there are draws.
    """
    try:
        training = config["training"]
        names = ["prior_start", "partition_start"] if _has_two_levels(config) else []
        if training["coverage_draws"]:
            names.append("coverage_start")
        starts = {name: float(training[name]) for name in names}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    return {name: start for name, start in starts.items() if 0.0 <= start < 1.0}


def _has_two_levels(config: Config) -> bool:
    return bool(config["model"].get("word_latent_size"))


def _kl_weight(config: Config) -> Points:
    knobs = config["anneal"]
    cycles = knobs.get("cycle_count", 1)
    points = sampled(kl_weight_schedule(**knobs), cells=max(_CELLS, _CELLS_A_CYCLE * cycles))
    if not _has_two_levels(config):
        return points
    # The latent of a two-level model learns, under the whole schedule, in a part of the training.
    training = config["training"]
    first, last = float(training["prior_start"]), float(training["partition_start"])
    span = max(last - first, 1e-9)
    moved = [(first + progress * span, value) for progress, value in points]
    inside = [point for point in moved if 0.0 < point[0] < 1.0]
    start, end = points[0][1], points[-1 if first < 1.0 else 0][1]
    return _thinned([(0.0, start), *inside, (1.0, end)])


def _teacher_forcing(config: Config) -> Points:
    return sampled(teacher_forcing_schedule(**config["teacher_forcing"]), cells=_CELLS)


def _encoder_lr(config: Config) -> Points:
    optim, epochs = config["optim"], int(config["training"]["epochs"])
    step_epochs, gamma = int(optim["encoder_step_epochs"]), float(optim["encoder_step_gamma"])

    def rate(progress: float) -> float:
        epoch = min(epochs - 1, math.floor(progress * epochs + 1e-9))
        drop = step_lr_factor(epoch, step_epochs=step_epochs, gamma=gamma)
        return float(optim["encoder_lr"] * learning_rate_factor(optim["schedule"], progress) * drop)

    drops = epochs // step_epochs if step_epochs else 0
    return sampled(rate, cells=max(_CELLS, 4 * drops))


def _decoder_lr(config: Config) -> Points:
    optim = config["optim"]
    peak, schedule = float(optim["decoder_lr"]), str(optim["schedule"])
    return sampled(lambda progress: peak * learning_rate_factor(schedule, progress), cells=_CELLS)


_MAKERS: Final[tuple[Callable[[Config], Points], ...]] = (
    *(_kl_weight, _teacher_forcing, _encoder_lr, _decoder_lr),
)


def sampled(schedule: Schedule, *, cells: int) -> Points:
    """Return points that show ``schedule``, dense where it bends, both sides of every jump.

    Args:
        cells: parts of equal length that are looked into; enough of them to meet every cycle.
    """
    cells = min(cells, _MOST_CELLS)
    grid = [(i / cells, schedule(i / cells)) for i in range(cells + 1)]
    tolerance = _TOLERANCE * max(abs(value) for _, value in grid)
    points = grid[:1]
    for start, end in itertools.pairwise(grid):
        points += _refined(schedule, start, end, tolerance, _HALVINGS)
    return _thinned(points)


def _refined(
    schedule: Schedule,
    start: tuple[float, float],
    end: tuple[float, float],
    tolerance: float,
    halvings: int,
) -> Points:
    """Return the points after ``start``, up to ``end``."""
    middle = (start[0] + end[0]) / 2
    value = schedule(middle)
    if halvings == 0 or abs(value - (start[1] + end[1]) / 2) <= tolerance / 4:
        return [end]
    between = (middle, value)
    return [
        *_refined(schedule, start, between, tolerance, halvings - 1),
        *_refined(schedule, between, end, tolerance, halvings - 1),
    ]


def _thinned(points: Sequence[tuple[float, float]]) -> Points:
    """Return few of the points that show the same line: no other is farther off than allowed."""
    tolerance = _TOLERANCE * max(abs(value) for _, value in points)
    kept = [points[0]]
    lowest, highest = -math.inf, math.inf  # slopes of lines that pass by all points since kept[-1]
    for before, (x, y) in itertools.pairwise(points):
        run, rise = x - kept[-1][0], y - kept[-1][1]
        if not lowest <= rise / run <= highest:
            kept.append(before)
            run, rise = x - before[0], y - before[1]
            lowest, highest = -math.inf, math.inf
        lowest = max(lowest, (rise - tolerance) / run)
        highest = min(highest, (rise + tolerance) / run)
    return [*kept, points[-1]]
