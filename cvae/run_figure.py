"""A run's figure, ``curves.png`` and the same as PDF and SVG: its losses, schedules and scores.

It is drawn at its final size, 6.3 inches wide with 8 point text, so that it goes into a thesis as
it is. Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart;
curves in one panel also differ in their line style.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cvae import run_schedules

if TYPE_CHECKING:
    # matplotlib takes half a second to import, and most of a program never draws.
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, float | int | None]

FORMATS: Final = ("png", "pdf", "svg")

BLACK, ORANGE, SKY_BLUE, GREEN, BLUE, VERMILION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"),
)
"""The colours of Okabe and Ito, without their yellow, which is too light for a line on white."""

_GRAY: Final = "#767676"


@dataclass(frozen=True)
class _Curve:
    """One curve.

    Attributes:
        column: of the rows.
        label: its name where its panel shows several.
        steps: whether it is drawn from ``losses.csv``, as the background of its panel.
    """

    column: str
    label: str = ""
    colour: str = BLUE
    style: str = "-"
    steps: bool = False


@dataclass(frozen=True)
class _Panel:
    """One panel.

    Attributes:
        title: shown above it; it names the only curve, or what all of them have in common.
        curves: those that it may show.
        highest: end of the vertical axis, or the largest value if that is higher.
        which: whether a curve that is alone has to be named, in the title.
        log: whether the vertical axis is logarithmic.
    """

    title: str
    curves: tuple[_Curve, ...]
    highest: float | None = None
    which: bool = False
    log: bool = False


_PANELS: Final = (
    _Panel(
        "Cross-entropy, training (nats per word)",
        (
            _Curve("cross_entropy", "steps", SKY_BLUE, steps=True),
            _Curve("cross_entropy", "mean of an epoch"),
        ),
        log=True,
    ),
    _Panel(
        "BLEU-4 of conversions",
        (
            _Curve("bleu4", "the report's ten pairs", GREEN, "--"),
            _Curve("seen_bleu4", "sample of training verbs", ORANGE, "-."),
            _Curve("dev_bleu4", "dev verbs"),
        ),
        1.0,
        which=True,
    ),
    _Panel(
        "KL of z, training (nats per word)",
        (_Curve("kl", colour=SKY_BLUE, steps=True), _Curve("kl")),  # named in the panel above
    ),
    _Panel(
        "Gaussian score, draws for selection",
        (
            _Curve("dev_gaussian_score", "score"),
            _Curve("dev_gaussian_variety", "variety", VERMILION, "--"),
        ),
        1.0,
    ),
    _Panel("KL weight", (_Curve("kl_weight", colour=BLACK),)),
    _Panel("Objective, as selection sees it", (_Curve("dev_objective", colour=VERMILION),), 1.0),
    _Panel("Teacher forcing ratio", (_Curve("teacher_forcing_ratio", colour=BLACK),), 1.0),
    _Panel(
        "Learning rate",
        (
            _Curve("encoder_lr", "encoder", BLACK),
            _Curve("decoder_lr", "decoder", VERMILION, "--"),
        ),
    ),
)

_PHASES: Final = {
    "prior_start": "z starts to learn",
    "partition_start": "z comes to rest",
    "coverage_start": "prior coverage starts",
}
_LETTERS: Final = "abc"

_WIDTH, _HEIGHT = 6.3, 7.6  # inches
_DPI: Final = 200
_TITLE_PAD: Final = 11.0  # points: room for the names of the phases
_MARGINS: Final = {
    "left": 0.09,
    "right": 0.925,
    "bottom": 0.09,
    "top": 0.955,
    "wspace": 0.36,
    "hspace": 0.36,
}
"""Shares of the figure; of a panel the two between the panels."""

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.formatter.use_mathtext": True,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 8.0,
    # Text stays text in a PDF, to be searched and set in the document's way.
    "pdf.fonttype": 42,
    # Without it the identifiers in an SVG are random.
    "svg.hashsalt": "cvae",
}


def pictures(
    metrics_rows: Sequence[Row],
    *,
    epoch_rows: Sequence[Row] = (),
    loss_rows: Sequence[Row] = (),
    config: Mapping[str, Any] | None = None,
    kept_epoch: float | None = None,
    formats: Sequence[str] = FORMATS,
) -> dict[str, bytes]:
    """Draw a run's figure; the content of the file by its format.

    Eight panels over the epochs: cross-entropy, KL, KL weight, teacher forcing ratio and learning
    rates, BLEU-4, Gaussian score and the objective. A value that is missing or not finite leaves a
    gap, a lone value between gaps shows as a dot, and a panel without any value says so. The same
    rows give the same bytes.

    Args:
        metrics_rows: the rows of ``metrics.csv``, in order; none at all is fine.
        epoch_rows: the rows of ``epochs.csv``.
        loss_rows: the rows of ``losses.csv``; the losses of single steps behind the epochs' means.
        config: the run's resolved configuration. Its schedules are drawn as they are, not as an
            evaluation or an epoch saw them, and its phases are marked.
        kept_epoch: the epoch whose checkpoint was kept, to be marked.
        formats: some of ``FORMATS``.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found: dict[str, bytes] = {}
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph in a PDF
    with matplotlib.rc_context(_STYLE):
        figure = _drawn(metrics_rows, epoch_rows, loss_rows, config or {}, kept_epoch)
        for kind in formats:
            picture = io.BytesIO()
            if kind == "png":
                # Not savefig, which would draw once more before it draws. No version of
                # matplotlib in the file: it would change the bytes.
                canvas = FigureCanvasAgg(figure)
                canvas.print_png(picture, metadata={"Software": None})  # type: ignore[no-untyped-call]
            else:
                dates = {"CreationDate": None} if kind == "pdf" else {"Date": None}
                figure.savefig(picture, format=kind, metadata=dates)
            found[kind] = picture.getvalue()
    return found


def _drawn(
    metrics_rows: Sequence[Row],
    epoch_rows: Sequence[Row],
    loss_rows: Sequence[Row],
    config: Mapping[str, Any],
    kept_epoch: float | None,
) -> Figure:
    # The objects themselves instead of pyplot: no window system, no state shared with a caller.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI)
    # Margins by hand: a layout that measures its texts would draw everything once more.
    grid = figure.subplots(4, 2, sharex=True, gridspec_kw=_MARGINS)
    epochs = run_schedules.epoch_count(config)
    schedules = run_schedules.schedule_points(config) if epochs else {}
    starts = run_schedules.phases(config) if epochs else {}
    for axes, panel in zip(grid.flat, _PANELS, strict=True):
        lines = []
        curves = [curve for curve in panel.curves if _counts(curve, config)]
        for curve in curves:
            if curve.column in schedules:
                points = schedules[curve.column]
                lines.append(([p * epochs for p, _ in points], [v for _, v in points], False))
                continue
            rows = loss_rows if curve.steps else epoch_rows
            if not (curve.steps or any(row.get(curve.column) is not None for row in rows)):
                rows = metrics_rows
            xs = _column(rows, "epoch")
            if curve.column in ("cross_entropy", "kl") and not curve.steps:
                xs = [x - 0.5 for x in xs]  # a mean stands in the middle of its epoch
            lines.append((xs, _column(rows, curve.column), True))
        _draw(axes, replace(panel, curves=tuple(curves)), lines)
        for start in starts.values():
            axes.axvline(start * epochs, color=_GRAY, linewidth=0.6, linestyle=(0, (1, 2)))
        if kept_epoch is not None:
            axes.axvline(kept_epoch, color=_GRAY, linewidth=0.6, linestyle=(0, (5, 2)))
    for axes in grid[0]:
        _name_phases(axes, [start * epochs for start in starts.values()], kept_epoch)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
        if epochs:
            axes.set_xlim(0, epochs)
    key = [f"{letter}: {_PHASES[name]}" for letter, name in zip(_LETTERS, starts, strict=False)]
    if kept_epoch is not None:
        key.append(f"kept: checkpoint of epoch {kept_epoch:g}")
    figure.text(0.5, 0.014, ";  ".join(key), ha="center", va="bottom", color="#333333")
    return figure


def _counts(curve: _Curve, config: Mapping[str, Any]) -> bool:
    """Whether the run has a use for this curve: the variety only where the objective counts it."""
    counted = config.get("objective", {}).get("generation")
    return curve.column != "dev_gaussian_variety" or counted == "variety"


def _draw(
    axes: Axes, panel: _Panel, lines: Sequence[tuple[list[float], list[float], bool]]
) -> None:
    axes.set_title(panel.title, loc="left", pad=_TITLE_PAD)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, pad=2)
    drawn: list[tuple[_Curve, list[float]]] = []
    ends: list[tuple[float, float, str]] = []
    for curve, (xs, ys, measured) in zip(panel.curves, lines, strict=True):
        shown = [i for i, (x, y) in enumerate(zip(xs, ys, strict=True)) if _finite(x, y)]
        values = [ys[i] for i in shown]
        if not shown or any(values == others for _, others in drawn):
            # Without dev verbs, training verbs stand in for them: the same curve once more.
            continue
        drawn.append((curve, values))
        if not curve.steps:
            ends.append((xs[shown[-1]], values[-1], curve.colour))
        axes.plot(
            xs,
            ys,
            color=curve.colour,
            linestyle=curve.style,
            label=curve.label,
            linewidth=0.7 if curve.steps else 1.1,
            marker="" if curve.steps else "o",
            markersize=2.2,
            markevery=_markers(shown) if measured else [],
        )
    if not drawn:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=_GRAY)
        axes.set_yticks([])
        return
    if len(drawn) == 1 and panel.which:
        axes.set_title(f"{panel.title}, {drawn[0][0].label}", loc="left", pad=_TITLE_PAD)
    if len(drawn) > 1 and drawn[0][0].label:
        axes.legend(loc="best", handlelength=2.2, labelspacing=0.25, edgecolor="none")
    _scale(axes, panel, [value for _, values in drawn for value in values])
    _annotate(axes, ends, share=panel.highest == 1.0)


def _scale(axes: Axes, panel: _Panel, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if panel.log and min(values) > 0.0:
        axes.set_yscale("log")
        few = max(values) < 300.0 * min(values)  # more numbers would stand in one another
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        # From zero, so that panels of different runs compare; a margin, so that no line is cut.
        # The sum of a pair as objective may be above 1.
        high = max(panel.highest or 0.0, *values) or 1.0
        axes.set_ylim(-0.03 * high, 1.03 * high)
    # Never so wide that a number reaches into the next panel.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value, digits=3)))


def _annotate(axes: Axes, ends: Sequence[tuple[float, float, str]], *, share: bool) -> None:
    """Write the last value of each curve, (x, y, colour), beside its end, none over another."""
    gap = 8.5 / (72.0 * axes.get_position().height * _HEIGHT)
    place = math.inf
    to_axes = axes.transScale + axes.transLimits
    marks = [(to_axes.transform((x, value))[1], value, colour) for x, value, colour in ends]
    for y, value, colour in sorted(marks, reverse=True):
        place = min(y, place - gap)
        text = f"{value:.3f}" if share else _short(value)
        axes.text(1.012, place, text, transform=axes.transAxes, va="center", color=colour)


def _name_phases(axes: Axes, starts: Sequence[float], kept_epoch: float | None) -> None:
    """Write the letter of each phase above its line, and a word above the kept checkpoint's."""
    names = list(zip(_LETTERS, starts, strict=False))
    if kept_epoch is not None:
        names.append(("kept", kept_epoch))
    for name, x in names:
        axes.annotate(
            name,
            (x, 1.0),
            (0, 1),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color="#333333",
        )


def _short(value: float, *, digits: int = 2) -> str:
    """A number of at most seven characters: three digits, or ``digits`` far from 1."""
    if 1e3 <= value < 1e5:
        return f"{value:.0f}"
    return f"{value:.{3 if 0.1 <= value < 1e3 else digits}g}"


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


def _finite(*values: float) -> bool:
    return all(map(math.isfinite, values))
