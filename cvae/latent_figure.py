"""``latent.png``: the map of the latent space as a still picture.

On the left the whole plane, on the right a part of it in which the verbs can be read.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cvae.colouring import Colouring, paler
from cvae.data import Paradigm
from cvae.latent_planes import usual_plane
from cvae.latent_space import (
    WHOLE,
    LatentMap,
    Places,
    Window,
    decode_window,
    draw_map,
    neighbourhood,
    row_latents,
    summary,
    widest_places,
)
from cvae.model import ConditionalVAE

if TYPE_CHECKING:
    # matplotlib takes half a second to import, and most of a program never draws.
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS_READABLE: Final = 32
"""How many training rows the part that is drawn larger holds, if all parts are equal."""

_INK: Final = "#1d2126"
_LONGEST: Final = 16  # letters of a label
_WARNING: Final = "#b3261e"
_MARGINS: Final = {"left": 0.055, "right": 0.985, "bottom": 0.2, "top": 0.82, "wspace": 0.14}


PNG: Final = "latent.png"
_DETAIL: Final = 0.7  # places of the larger part, along a side, for each of the whole plane's


def title(model: ConditionalVAE, data_name: str, seed: object) -> str:
    """What the map is of."""
    units = f"{model.latent_size} unit{'s' * (model.latent_size != 1)}"
    levels = "a one-level" if model.prior is None else "a two-level"
    return f"The latent space of {levels} model (z of {units}, data {data_name}, seed {seed})"


def of_model(
    model: ConditionalVAE,
    rows: Sequence[Paradigm],
    title: str,
    *,
    places: int,
    colouring: Colouring,
) -> bytes:
    """Draw a coarse map of a model's usual plane, as a run leaves it; ``draw``.

    Args:
        model: on the CPU.
        rows: the training rows.
        places: along a side of the plane; squared, of a line.
    """
    encoded = row_latents(model, rows)
    plane = usual_plane(encoded.latents.mean)
    power = 3 - len(plane.axes)
    seen = draw_map(model, rows, encoded, plane, side=places**power)
    part = max(1, round(_DETAIL * places)) ** power
    return draw(
        seen,
        colouring,
        title,
        lambda window: decode_window(model, plane, seen.paradigms, window, part),
    )


def draw(
    seen: LatentMap,
    colouring: Colouring,
    title: str,
    decode: Callable[[Window], Places],
) -> bytes:
    """Draw the map as a PNG.

    Args:
        title: of the picture, such as the run's.
        decode: decodes a part of the plane, as ``latent_space.decode_window`` does.
    """
    # The objects themselves instead of pyplot: no window system, no state shared with a caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    window = detail_window(seen)
    figure = Figure(figsize=(10.0, 6.1), dpi=120)
    canvas = FigureCanvasAgg(figure)
    whole, detail = figure.subplots(1, 2, gridspec_kw=_MARGINS)
    _draw_panel(whole, seen, colouring, seen.places, WHOLE)
    places = decode(window)
    _draw_panel(detail, seen, colouring, places, window)
    _label_regions(detail, seen, places, window)
    _outline(whole, window)
    whole.set_title(
        "the whole plane" if len(seen.plane.axes) == 2 else "the whole line", fontsize=9.5
    )
    part = "the same" if window == WHOLE else "the outlined part"
    detail.set_title(f"{part}: what each region decodes to", fontsize=9.5)
    figure.text(_MARGINS["left"], 0.955, title, fontsize=11.5, fontweight="bold", color=_INK)
    figure.text(_MARGINS["left"], 0.918, summary(seen), fontsize=9, color=_INK)
    said = [seen.warning or "", seen.plane.elsewhere, neighbourhood(seen)]
    colour = _WARNING if seen.warning else _INK
    figure.text(_MARGINS["left"], 0.886, "; ".join(filter(None, said)), fontsize=9, color=colour)
    _legend(figure, seen, colouring, np.union1d(seen.places, places))
    picture = io.BytesIO()
    # Without the version that matplotlib would add, the same map gives the same file.
    canvas.print_png(picture, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return picture.getvalue()


def detail_window(seen: LatentMap) -> Window:
    """The part around the middle of the prior in which some ``ROWS_READABLE`` rows would lie."""
    share = min(1.0, ROWS_READABLE / max(1, seen.rows_met))
    half = 0.5 * share ** (1.0 / len(seen.plane.axes))
    vertical = (0.5 - half, 0.5 + half) if len(seen.plane.axes) == 2 else (0.0, 1.0)
    return (0.5 - half, 0.5 + half, *vertical)


def _draw_panel(
    axes: Axes, seen: LatentMap, colouring: Colouring, places: Places, window: Window
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    left, right, bottom, top = window
    known = np.array([to_rgb(colour) for colour in colouring.colours])
    unknown = np.array([to_rgb(paler(colour)) for colour in colouring.colours])
    category = np.array([colouring.category(forms) for forms in seen.paradigms.forms])
    pixels = np.where(
        (places < seen.paradigms.row_count)[..., None],
        known[category[places]],
        unknown[category[places]],
    )
    axes.imshow(pixels, extent=window, origin="lower", aspect="auto", interpolation="nearest")
    detailed = window != WHOLE or seen.rows_met <= ROWS_READABLE
    if (
        detailed or places.shape[1] / max(1, seen.rows_met) ** 0.5 > 6.0
    ):  # else they hide the colours
        lines = LineCollection(list(borders(places, window)), colors="white", linewidths=0.9)
        axes.add_collection(lines)
    rows = _on_plane(seen.rows)
    size = 10.0 if detailed else max(0.8, min(6.0, 2400.0 / len(rows)))
    axes.scatter(rows[:, 0], rows[:, 1], s=size, color=_INK, linewidths=0, zorder=3)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    _label_axis(axes.xaxis, seen.plane.axes[0], (left, right))
    if len(seen.plane.axes) == 2:
        _label_axis(axes.yaxis, seen.plane.axes[1], (bottom, top))
    else:
        axes.set_yticks([])


def _on_plane(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (rows, 2); on a line they are staggered, so that near ones can be told apart."""
    if quantiles.shape[1] == 2:
        return quantiles
    steps = 0.08 + 0.84 * (np.argsort(np.argsort(quantiles[:, 0])) % 7) / 6.0
    return np.column_stack([quantiles[:, 0], steps])


def _label_axis(axis: Any, name: str, span: tuple[float, float]) -> None:
    ticks = z_ticks(*span)
    axis.set_ticks([quantile for quantile, _ in ticks], [text for _, text in ticks], fontsize=8)
    axis.set_label_text(f"{name}, spaced by prior quantile", fontsize=9)


def z_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round values of z between two quantiles: their quantile and their text."""
    from matplotlib.ticker import MaxNLocator
    from scipy.special import ndtr, ndtri

    if high - low > 0.9:
        values = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]
    else:
        values = list(
            MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(ndtri(low), ndtri(high))
        )
    shown = [(float(ndtr(value)), value) for value in values]
    return [(place, f"{value:g}") for place, value in shown if low <= place <= high]


def borders(places: Places, window: Window) -> NDArray[np.float64]:
    """Lines between places that decode to different paradigms; (lines, 2 ends, 2 coordinates)."""
    left, right, bottom, top = window
    height, width = places.shape
    x = np.linspace(left, right, width + 1)
    y = np.linspace(bottom, top, height + 1)
    row, column = np.nonzero(places[:, 1:] != places[:, :-1])
    upright = np.stack([x[column + 1], y[row], x[column + 1], y[row + 1]], axis=1)
    row, column = np.nonzero(places[1:] != places[:-1])
    level = np.stack([x[column], y[row + 1], x[column + 1], y[row + 1]], axis=1)
    return np.concatenate([upright, level]).reshape(-1, 2, 2)


def _label_regions(axes: Axes, seen: LatentMap, places: Places, window: Window) -> None:
    """Write each region's verb where it is widest, the largest first, as far as there is room.

    What is no training row stands in italics.
    """
    from matplotlib.patheffects import withStroke

    left, right, bottom, top = window
    height, width = places.shape
    halo = [withStroke(linewidth=1.8, foreground="white", alpha=0.85)]
    taken: list[tuple[float, float, float]] = []
    for number, row, column, depth in sorted(widest_places(places), key=lambda place: -place[3]):
        text = seen.paradigms.forms[number][0] or "(empty)"
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 3] + "..."
        x, y = (column + 0.5) / width, (row + 0.5) / height
        if height == 1:
            half, room, y = 0.015, 0.0, 0.5
        else:
            half, room = 0.0075 * len(text), 0.032
            x = min(max(x, half), 1.0 - half)
        if depth < 1.5 or any(
            abs(x - other) < half + reach and abs(y - level) <= room
            for other, level, reach in taken
        ):
            continue
        taken.append((x, y, half))
        axes.text(
            left + (right - left) * x,
            bottom + (top - bottom) * y,
            text,
            fontsize=7.5,
            ha="center",
            va="center",
            rotation=0 if height > 1 else 90,
            style="normal" if number < seen.paradigms.row_count else "italic",
            color=_INK,
            path_effects=halo,
            clip_on=True,
            zorder=4,
        )


def _outline(axes: Axes, window: Window) -> None:
    if window == WHOLE:
        return
    from matplotlib.patches import Rectangle

    left, right, bottom, top = window
    for colour, width in (("white", 3.0), (_INK, 1.4)):
        axes.add_patch(
            Rectangle(
                (left, bottom),
                right - left,
                top - bottom,
                fill=False,
                edgecolor=colour,
                linewidth=width,
                zorder=5,
            )
        )


def _legend(figure: Figure, seen: LatentMap, colouring: Colouring, drawn: Places) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    present = {colouring.category(seen.paradigms.forms[number]) for number in drawn}
    handles: list[Any] = [
        Patch(color=colouring.colours[category], label=colouring.labels[category])
        for category in sorted(present)
    ]
    if drawn.max() >= seen.paradigms.row_count:
        handles.append(Patch(color=paler("#505050"), label="pale: no training row"))
    handles.append(
        Line2D([], [], marker="o", color=_INK, lw=0, ms=3.5, label="a row's posterior mean")
    )
    columns = 5 if len(handles) <= 12 else 14
    figure.legend(
        handles=handles,
        title=colouring.title,
        loc="lower left",
        bbox_to_anchor=(_MARGINS["left"] - 0.01, 0.0),
        ncols=columns,
        fontsize=8.5,
        title_fontsize=9,
        alignment="left",
        frameon=False,
        handlelength=1.1,
        columnspacing=1.3,
    )
