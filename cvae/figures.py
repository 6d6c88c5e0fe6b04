"""``curves.png``: the report's figure over training, from ``metrics.csv`` and ``epochs.csv``."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # matplotlib takes half a second to import, and most of a program never draws.
    from matplotlib.axes import Axes

Row = Mapping[str, float | int | None]


@dataclass(frozen=True)
class _Panel:
    """One panel.

    Attributes:
        title: shown above it.
        curves: (column, colour, legend) of each curve that it may show.
        highest: end of the vertical axis; None for the largest value.
    """

    title: str
    curves: tuple[tuple[str, str, str], ...]
    highest: float | None = None


_TRAINING, _DEV, _REPORT, _SCHEDULE = "tab:blue", "tab:orange", "tab:green", "tab:gray"

_PANELS: Final = (
    _Panel("Cross-entropy (nats per word)", (("cross_entropy", _TRAINING, "training"),)),
    _Panel("KL (nats per word)", (("kl", _TRAINING, "training"),)),
    _Panel("KL weight", (("kl_weight", _SCHEDULE, "schedule"),)),
    _Panel("Teacher forcing ratio", (("teacher_forcing_ratio", _SCHEDULE, "schedule"),), 1.0),
    _Panel("BLEU-4", (("bleu4", _REPORT, "ten pairs"), ("dev_bleu4", _DEV, "dev pairs")), 1.0),
    _Panel(
        "Gaussian score",
        (("gaussian_score", _REPORT, "draws"), ("dev_gaussian_score", _DEV, "dev draws")),
        1.0,
    ),
)

_MARGINS: Final = {
    "left": 0.045,
    "right": 0.99,
    "bottom": 0.075,
    "top": 0.95,
    "wspace": 0.16,
    "hspace": 0.17,
}
"""Shares of the figure; of a panel the two between the panels."""


def curves(metrics_rows: Sequence[Row], epoch_rows: Sequence[Row] = ()) -> bytes:
    """Draw the report's figure: six panels over the epochs, as a PNG.

    Cross-entropy, KL, KL weight, teacher forcing ratio, BLEU-4 and Gaussian score. A value that
    is missing or not finite leaves a gap, a lone value between gaps shows as a dot, and a panel
    without any value says so.

    Args:
        metrics_rows: the rows of ``metrics.csv``, in order; none at all is fine.
        epoch_rows: the rows of ``epochs.csv``. What they hold is drawn from them: an annealing
            cycle may be shorter than the time between two evaluations.
    """
    # The objects themselves instead of pyplot: no window system, no state shared with a caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12.0, 6.4), dpi=110)
    canvas = FigureCanvasAgg(figure)
    # Margins by hand: a layout that measures its texts would draw everything once more.
    grid = figure.subplots(2, 3, sharex=True, gridspec_kw=_MARGINS)
    every_epoch = {name for row in epoch_rows for name in row}
    for axes, panel in zip(grid.flat, _PANELS, strict=True):
        of_epochs = all(name in every_epoch for name, _, _ in panel.curves)
        _draw(axes, panel, epoch_rows if of_epochs else metrics_rows)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    picture = io.BytesIO()
    # Without the version that matplotlib would add, the same rows give the same file.
    # Not savefig, which would also draw once more before it draws.
    canvas.print_png(picture, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return picture.getvalue()


def _draw(axes: Axes, panel: _Panel, rows: Sequence[Row]) -> None:
    epochs = _column(rows, "epoch")
    axes.set_title(panel.title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    largest = 0.0
    drawn = 0
    for name, colour, label in panel.curves:
        values = _column(rows, name)
        shown = [
            index
            for index, (epoch, value) in enumerate(zip(epochs, values, strict=True))
            if math.isfinite(epoch) and math.isfinite(value)
        ]
        if not shown:
            continue
        drawn += 1
        largest = max(largest, *(values[index] for index in shown))
        axes.plot(
            epochs,
            values,
            color=colour,
            label=label,
            linewidth=1.6,
            marker="o",
            markersize=3.5,
            markevery=_markers(shown),
        )
    if not drawn:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="gray")
        axes.set_yticks([])
        return
    if len(panel.curves) > 1:
        axes.legend(fontsize=9, frameon=False, loc="best")
    # Never so wide that a number reaches into the next panel.
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    # From zero, so that panels of different runs compare; a margin, so that no line is cut.
    high = panel.highest or largest or 1.0
    axes.set_ylim(-0.03 * high, 1.03 * high)


def _markers(shown: Sequence[int]) -> list[int]:
    """Which points get a dot: all of a few, else those that no line joins to another."""
    if len(shown) <= 30:
        return list(shown)
    present = set(shown)
    return [index for index in shown if not {index - 1, index + 1} & present]


def _column(rows: Sequence[Row], name: str) -> list[float]:
    """A column as floats, NaN where it has no finite value."""
    values = []
    for row in rows:
        value = row.get(name)
        values.append(float(value) if value is not None and math.isfinite(value) else math.nan)
    return values
