"""Figures over a table of runs, for notebooks: Plotly figures from ``results.load``.

Each function takes a table (or some of its rows) and returns a figure, which a notebook shows, and
``figure.write_html(path)`` saves. Only complete runs count where a value is compared. ``training``
draws the figure of one run for print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cvae import conversion_errors, results, run_figure, run_schedules, studies

if TYPE_CHECKING:
    # It takes half a second to import.
    from plotly.graph_objects import Figure

COLOURS: Final = (
    *(run_figure.BLUE, run_figure.VERMILION, run_figure.GREEN, run_figure.ORANGE),
    *(run_figure.PURPLE, run_figure.SKY_BLUE, run_figure.BLACK),
)
DASHES: Final = ("solid", "dash", "dot", "dashdot")

_STATUS_MARKS: Final = {
    "complete": ("circle", run_figure.BLUE),
    "pruned": ("triangle-down", run_figure.ORANGE),
    "diverged": ("diamond", run_figure.VERMILION),
    "failed": ("x", run_figure.VERMILION),
    "interrupted": ("circle-open", run_figure.BLACK),
    "unreadable": ("square-open", run_figure.BLACK),
}
"""Symbol and colour by status. A trial that goes on under another number is interrupted."""

_ALONG: Final = ("epoch", "step", "progress")
_LOG_FROM: Final = 50.0  # without a study, a key whose ends are this far apart gets a log axis
_PLACES: Final = 64  # of a contour, along each side
_FEWEST: Final = 4  # trials without which a contour says nothing
_REACH: Final = 2.0  # bandwidths from the nearest trial, beyond which no contour is drawn

_Places = np.ndarray[Any, np.dtype[np.float64]]


def history(runs: pd.DataFrame, by: str = "objective") -> Figure:
    """Draw ``by`` of every trial in their order, and the best so far.

    Repeats of a search's best trials under other seeds are drawn, and are not among the best.
    A trial that is neither complete nor pruned stands below the others; hover says why. (A diverged
    one has the worst value that there is, beside which the others would look alike.)
    """
    import plotly.graph_objects as go

    results.require_columns(runs, [by], numeric=True)
    runs = runs.sort_values("trial", kind="stable")
    numbers = runs["trial"].astype("float64")
    if numbers.isna().any() or numbers.duplicated().any():  # of no search, or of several
        numbers = pd.Series(np.arange(len(runs), dtype=float), index=runs.index)
    complete = runs["status"] == "complete"
    values = runs[by].astype("float64").where(complete | (runs["status"] == "pruned"))
    measured = values.dropna()
    span = measured.max() - measured.min() if len(measured) else 0.0
    below = (measured.min() if len(measured) else 0.0) - 0.06 * (span or 1.0)
    figure = go.Figure(layout=_layout("trial", by))
    about = _about(runs)
    for status, (symbol, colour) in _STATUS_MARKS.items():
        own = (runs["status"] == status).to_numpy(dtype=bool)
        if own.any():
            figure.add_scatter(
                x=numbers[own],
                y=values[own].fillna(below),
                mode="markers",
                name=status,
                marker={"symbol": symbol, "color": colour, "size": 8},
                text=[text for text, shown in zip(about, own, strict=True) if shown],
                hoverinfo="text",
            )
    repeat = runs["confirms"].notna() if "confirms" in runs else ~complete
    ends = values.where(complete & ~repeat)
    best = ends.cummin() if results.lower_is_better(by) else ends.cummax()
    best = best.ffill()
    line = {"color": run_figure.BLACK, "width": 1.5, "shape": "hv"}
    figure.add_scatter(x=numbers, y=best, mode="lines", name="best so far", line=line)
    return figure


def curves(
    runs: pd.DataFrame,
    column: str = "dev_objective",
    *,
    by: Sequence[str] | str | None = None,
    along: str = "epoch",
) -> Figure:
    """Draw ``column`` over training: a line for each configuration, the mean over its seeds.

    The band is the 95 % interval of the mean (``results.aggregate``), where there are two runs or
    more. Exact repeats count once. Schedules (``kl_weight``, ``teacher_forcing_ratio``,
    ``encoder_lr``, ``decoder_lr``) are drawn as they are, from the configuration; losses as finely
    as the runs recorded them.

    Args:
        by: the columns that make a configuration; by default every varied key.
        along: epoch, step or progress, at which the runs of a configuration meet.

    Raises:
        ResultsError: if no run has the column, none is complete, or ``along`` is none of these.
    """
    import plotly.graph_objects as go

    keys = [by] if isinstance(by, str) else list(results.varied(runs) if by is None else by)
    if along not in _ALONG:
        raise results.ResultsError(f"along is {along!r}: choose from {', '.join(_ALONG)}")
    complete = runs[(runs["status"] == "complete") & ~results.repeats(runs, keys)]
    if complete.empty:
        raise results.ResultsError(f"none of the {len(runs)} runs is complete: nothing to draw")
    figure = go.Figure(layout=_layout(along, column))
    for i, (name, xs, table) in enumerate(_lines(complete, column, keys, along)):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        if "low" in table and table["low"].notna().any():
            figure.add_scatter(
                x=[*xs, *xs[::-1]],
                y=[*table["high"].fillna(table["mean"]), *table["low"].fillna(table["mean"])[::-1]],
                fill="toself",
                fillcolor=_transparent(colour),
                line={"width": 0},
                hoverinfo="skip",
                legendgroup=name,
                showlegend=False,
            )
        figure.add_scatter(
            x=xs,
            y=table["mean"],
            mode="lines" if len(xs) > 1 else "markers",
            name=name,
            legendgroup=name,
            line={"color": colour, "dash": dash, "width": 2},
        )
    return figure


def _lines(
    runs: pd.DataFrame, column: str, keys: list[str], along: str
) -> list[tuple[str, np.ndarray[Any, Any], pd.DataFrame]]:
    """Return for each configuration its name, its places along training and its mean and band."""
    if column in run_schedules.COLUMNS and along in ("epoch", "progress"):
        lines = _schedule_lines(runs, column, keys, along)
        if lines:
            return lines
    table = results.curves(runs, of="losses")
    if column not in table.columns or set(table["run"]) < set(runs["run"]):
        table = results.curves(runs)  # of another column, or of some runs that are older
    summary = results.aggregate(table, [*keys, along], column).dropna(subset=[f"{column}_mean"])
    names = {f"{column}_{end}": end for end in ("mean", "low", "high")}
    return [
        (name, part[along].to_numpy(dtype=float), part.rename(columns=names))
        for name, part in _groups(summary.sort_values(along, kind="stable"), keys)
    ]


def _schedule_lines(
    runs: pd.DataFrame, column: str, keys: list[str], along: str
) -> list[tuple[str, np.ndarray[Any, Any], pd.DataFrame]]:
    lines = []
    for name, part in _groups(runs, keys):
        config = results.configuration(str(part["run"].iloc[0]))
        points = run_schedules.schedule_points(config).get(column)
        length = run_schedules.epoch_count(config) if along == "epoch" else 1
        if points and length:
            xs, values = np.array(points).T
            lines.append((name, xs * length, pd.DataFrame({"mean": values})))
    return lines


def _groups(table: pd.DataFrame, keys: list[str]) -> list[tuple[str, pd.DataFrame]]:
    if not keys:
        return [("all runs", table)]
    return [
        (", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True)), part)
        for values, part in table.groupby(keys, dropna=False, sort=True, observed=True)
    ]


def pareto(runs: pd.DataFrame, by: Sequence[str] | None = None) -> Figure:
    """Draw the complete runs by two columns, with the front that none of them beats.

    Args:
        by: the two columns; by default those of ``results.pair``.
    """
    import plotly.graph_objects as go

    first, second = results.pair(runs) if by is None else by
    front = results.pareto(runs, (first, second))
    complete = runs[runs["status"] == "complete"]
    figure = go.Figure(layout=_layout(first, second))
    figure.add_scatter(
        x=complete[first],
        y=complete[second],
        mode="markers",
        name="complete runs",
        marker={"color": run_figure.SKY_BLUE, "size": 7},
        text=_about(complete),
        hoverinfo="text",
    )
    figure.add_scatter(
        x=front[first],
        y=front[second],
        mode="lines+markers",
        name="Pareto front",
        line={"color": run_figure.VERMILION, "width": 1.5},
        marker={"size": 9},
        text=_about(front),
        hoverinfo="text",
    )
    return figure


def importance(runs: pd.DataFrame, by: str = "objective") -> Figure:
    """Draw how much of the variation of ``by`` each key explains, and what mere noise reaches."""
    import plotly.graph_objects as go

    table = results.importance(runs, by)[::-1]
    figure = go.Figure(layout=_layout(f"share of the variation of {by}", ""))
    figure.add_bar(
        x=table["importance"],
        y=table["parameter"],
        orientation="h",
        name="importance",
        marker={"color": run_figure.BLUE},
    )
    figure.add_scatter(
        x=table["noise"],
        y=table["parameter"],
        mode="markers",
        name="noise: below it means nothing",
        marker={"symbol": "line-ns-open", "size": 18, "color": run_figure.BLACK},
    )
    return figure


def slices(
    runs: pd.DataFrame, by: str = "objective", parameters: Sequence[str] | None = None
) -> Figure:
    """Draw ``by`` of the complete runs against each parameter (by default every varied key).

    A parameter of a study lies on the interval, and the scale, that the study draws it from.
    """
    from plotly.subplots import make_subplots

    keys = list(results.varied(runs) if parameters is None else parameters)
    results.require_columns(runs, keys)
    results.require_columns(runs, [by], numeric=True)
    if not keys:
        raise results.ResultsError("no key varies over these runs: there is nothing to draw")
    complete = runs[runs["status"] == "complete"]
    figure = make_subplots(rows=1, cols=len(keys), shared_yaxes=True)
    about = _about(complete)
    spaces = studies.read(runs).spaces
    for place, key in enumerate(keys, start=1):
        axis = _Axis.of(complete, key, spaces.get(key))
        figure.add_scatter(
            x=axis.places(complete[key]),
            y=complete[by],
            mode="markers",
            marker={"color": run_figure.BLUE, "opacity": 0.7},
            text=about,
            hoverinfo="text",
            showlegend=False,
            row=1,
            col=place,
        )
        figure.update_xaxes(title=key, **axis.layout(), row=1, col=place)
    figure.update_yaxes(title=by, row=1, col=1)
    figure.update_layout(template="plotly_white")
    return figure


def rank(runs: pd.DataFrame, across: str, up: str, by: str = "objective") -> Figure:
    """Draw the complete runs by two parameters, coloured by their rank in ``by``.

    Equal values have equal ranks: 1 for the best run, 0 for the worst.
    """
    complete, spaces = _of_two(runs, across, up, by)
    ranks = complete[by].rank(ascending=not results.lower_is_better(by)) - 1
    colours = ranks / max(1, len(complete) - 1)
    bar = {
        "title": {"text": f"rank in {by}"},
        "tickvals": [0, 0.5, 1],
        "ticktext": ["worst", "median", "best"],
    }
    figure = _scatter_of_two(complete, across, up, spaces)
    figure.update_traces(marker={"color": colours, "cmin": 0, "cmax": 1, "colorbar": bar})
    return figure


def contour(runs: pd.DataFrame, across: str, up: str, by: str = "objective") -> Figure:
    """Draw ``by`` over the plane of two numeric parameters, with the complete runs on it.

    The surface is the Nadaraya-Watson estimate with a Gaussian kernel, on the scales that the study
    draws the parameters from (logarithmic ones too), with Scott's bandwidth for evenly spread
    trials. Where no run is near, it is left out.

    Raises:
        ResultsError: if a parameter is not numeric or does not vary, or fewer than four complete
            runs have both.
    """
    complete, spaces = _of_two(runs, across, up, by)
    axes = []
    for key in (across, up):
        axis = _Axis.of(complete, key, spaces.get(key))
        if not axis.numeric:
            raise results.ResultsError(
                f"a contour needs two numeric parameters, not choices; {key} is none: take "
                "figures.rank"
            )
        if not axis.low < axis.high:
            raise results.ResultsError(f"{key} does not vary: there is no plane to draw")
        axes.append(axis)
    if len(complete) < _FEWEST:
        raise results.ResultsError(
            f"a contour needs {_FEWEST} complete runs with {across}, {up} and {by}; "
            f"there are {len(complete)}"
        )
    shares = np.linspace(0.0, 1.0, _PLACES)
    points = [
        axis.shares(complete[key].to_numpy(dtype=float))
        for axis, key in zip(axes, (across, up), strict=True)
    ]
    values = complete[by].to_numpy(dtype=float)
    lower = results.lower_is_better(by)
    figure = _scatter_of_two(complete, across, up, spaces)
    figure.add_contour(
        x=axes[0].values(shares),
        y=axes[1].values(shares),
        z=_surface(points[0], points[1], values, shares),
        name="contour",
        colorscale="Viridis",
        reversescale=lower,
        zmin=values.min(),
        zmax=values.max(),
        ncontours=12,
        line={"width": 0.5, "color": "white"},
        colorbar={"title": {"text": by}},
        hoverinfo="skip",
    )
    figure.data = figure.data[::-1]  # the runs lie on the surface
    shades = {"color": values, "cmin": values.min(), "cmax": values.max(), "reversescale": lower}
    figure.update_traces(marker={**shades, "showscale": False}, selector={"type": "scatter"})
    return figure


def _of_two(
    runs: pd.DataFrame, across: str, up: str, by: str
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Return the complete runs that have all three columns, and the spaces of their studies."""
    results.require_columns(runs, [across, up])
    results.require_columns(runs, [by], numeric=True)
    complete = runs[runs["status"] == "complete"].dropna(subset=[across, up, by])
    if complete.empty:
        raise results.ResultsError(f"no complete run has {across}, {up} and {by}")
    return complete, studies.read(runs).spaces


def _scatter_of_two(
    complete: pd.DataFrame, across: str, up: str, spaces: dict[str, dict[str, Any]]
) -> Figure:
    import plotly.graph_objects as go

    figure = go.Figure(layout=_layout(across, up))
    axes = [_Axis.of(complete, key, spaces.get(key)) for key in (across, up)]
    figure.add_scatter(
        x=axes[0].places(complete[across]),
        y=axes[1].places(complete[up]),
        mode="markers",
        name="complete runs",
        marker={"size": 10, "colorscale": "Viridis", "line": {"width": 1, "color": "white"}},
        text=_about(complete),
        hoverinfo="text",
    )
    figure.update_xaxes(**axes[0].layout())
    figure.update_yaxes(**axes[1].layout())
    return figure


def _surface(x: _Places, y: _Places, values: _Places, shares: _Places) -> _Places:
    """Return the smoothed values at (len(shares), len(shares)) places, rows up; NaN far from all.

    ``report_assets/contour.js`` has the same for the page, where filters change what counts.
    """
    bandwidth = len(values) ** (-1 / 6) / math.sqrt(12)
    distance = ((shares[None, :, None] - x) ** 2 + (shares[:, None, None] - y) ** 2) / bandwidth**2
    weights = np.exp(-distance / 2)
    smoothed = (weights * values).sum(axis=2) / weights.sum(axis=2)
    return np.where(distance.min(axis=2) <= _REACH**2, smoothed, np.nan)


@dataclass(frozen=True)
class _Axis:
    """Where the values of a parameter lie: on its study's interval, else on that of the values.

    What a study chooses from a list are categories in its order, also where they are numbers.
    """

    numeric: bool
    choices: tuple[Any, ...] = ()
    log: bool = False
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, complete: pd.DataFrame, key: str, space: dict[str, Any] | None) -> _Axis:
        values = complete[key]
        choices = tuple((space or {}).get("choices", ()))
        if not pd.api.types.is_numeric_dtype(values) or values.dtype == bool or choices:
            return cls(numeric=False, choices=choices)
        low, high = float(values.min()), float(values.max())
        log = low > 0 and high / low >= _LOG_FROM
        if space is not None:
            low, high, log = min(low, space["low"]), max(high, space["high"]), space["log"]
        return cls(numeric=True, log=log and low > 0, low=low, high=high)

    def layout(self) -> dict[str, Any]:
        """Return what Plotly's layout needs; ticks of a long logarithmic axis are its powers."""
        if not self.numeric:
            order = {"categoryorder": "array", "categoryarray": [*map(_category, self.choices)]}
            return {"type": "category", **(order if self.choices else {})}
        if not self.log:
            return {"type": "linear"}
        return {"type": "log", **({"dtick": 1} if self.high / self.low >= 10 else {})}

    def places(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Return the values as Plotly takes them."""
        return values if self.numeric else values.map(_category)

    def shares(self, values: _Places) -> _Places:
        """Return how far along the axis each value lies, in [0, 1]."""
        low, high, along = self._scaled(values)
        return (along - low) / (high - low)

    def values(self, shares: _Places) -> _Places:
        """Return the value at each share of the axis."""
        if self.log:
            return self.low * (self.high / self.low) ** shares
        return self.low + (self.high - self.low) * shares

    def _scaled(self, values: _Places) -> tuple[float, float, _Places]:
        if self.log:
            return math.log(self.low), math.log(self.high), np.log(values)
        return self.low, self.high, values


def _category(value: Any) -> str:
    # A column with a gap has floats where the study chose integers.
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else str(value)


def tenses(conversions: pd.DataFrame, *, split: str = "dev") -> Figure:
    """Draw accuracy by source and target tense, of regular and irregular verbs apart.

    Args:
        conversions: from ``results.conversions``.
        split: report, dev or test.
    """
    from plotly.subplots import make_subplots

    of_split = conversions[conversions["split"] == split]
    wanted = (("regular", 1), ("irregular", 0))
    kinds = [kind for kind, flag in wanted if (of_split["regular"] == flag).any()]
    figure = make_subplots(rows=1, cols=max(1, len(kinds)), subplot_titles=kinds, shared_yaxes=True)
    for place, kind in enumerate(kinds, start=1):
        table = conversion_errors.accuracy_by_tense(conversions, kind, split=split)
        names = [str(tense).replace("_", " ") for tense in table.columns]
        figure.add_heatmap(
            x=names,
            y=names,
            z=table.to_numpy(dtype=float),
            texttemplate="%{z:.3f}",
            zmin=0.0,
            zmax=1.0,
            colorscale="Cividis",  # for any colour vision
            hovertemplate="from %{y} to %{x}: %{z:.3f}<extra></extra>",
            showscale=place == len(kinds),
            row=1,
            col=place,
        )
        figure.update_xaxes(title="to", row=1, col=place)
    figure.update_yaxes(autorange="reversed")
    figure.update_yaxes(title="from", row=1, col=1)
    figure.update_layout(template="plotly_white")
    return figure


def lengths(conversions: pd.DataFrame, *, split: str = "dev") -> Figure:
    """Draw accuracy by the length of the source word; ``conversions`` as in ``tenses``."""
    import plotly.graph_objects as go

    table = conversion_errors.accuracy_by_length(conversions, split=split)
    figure = go.Figure(layout=_layout("letters of the source word", f"accuracy, {split}"))
    for i, (kind, part) in enumerate(table.groupby("kind", sort=False)):
        figure.add_scatter(
            x=part["letters"],
            y=part["accuracy"],
            mode="lines+markers",
            name=str(kind),
            line={"color": COLOURS[i], "dash": DASHES[i]},
            customdata=part[["conversions", "wrong"]],
            hovertemplate="%{x} letters: %{y:.3f} (%{customdata[1]} of %{customdata[0]} wrong)",
        )
    figure.update_yaxes(range=[-0.03, 1.03])
    return figure


def training(run: results.Paths, formats: Sequence[str] = run_figure.FORMATS) -> dict[str, bytes]:
    """Draw the figure of one run for print; the content of the file by its format.

    A run draws it itself when it ends, a trial of a search only as PNG.

    Raises:
        ResultsError: if the directory is no run, or a file in it is damaged.
    """
    frame = results.load(run)
    if len(frame) != 1:
        raise results.ResultsError(f"{run}: holds {len(frame)} runs; name one")
    directory = str(frame["run"].iloc[0])
    rows: dict[str, list[dict[str, Any]]] = {}
    for grain, name in results.CURVE_FILES.items():
        table, damage = results.read_curves([directory], name)
        if damage:
            raise results.ResultsError(damage[0])
        rows[grain] = table.astype(object).where(table.notna(), None).to_dict("records")
    config = results.configuration(directory)
    return run_figure.pictures(
        rows["evaluations"],
        epoch_rows=rows["epochs"],
        loss_rows=rows["losses"],
        config=config,
        kept_epoch=_kept_epoch(rows["evaluations"], config),
        formats=formats,
    )


def _kept_epoch(rows: Sequence[dict[str, Any]], config: dict[str, Any]) -> float | None:
    seen = [row for row in rows if row.get("dev_objective") is not None]
    if not seen:
        return None
    last = config.get("evaluation", {}).get("keep") == "last"
    kept = seen[-1] if last else max(seen, key=lambda row: float(row["dev_objective"]))
    return float(kept["epoch"])


def _layout(x: str, y: str) -> dict[str, Any]:
    return {"template": "plotly_white", "xaxis": {"title": x}, "yaxis": {"title": y}}


def _about(runs: pd.DataFrame) -> list[str]:
    """Return what hover shows of each run: its name, what varies, its scores and why it ended."""
    names = [
        "status",
        "confirms",
        "objective",
        *results.PARETO,
        *results.varied(runs),
        "seed",
        "reason",
    ]
    shown = [name for name in dict.fromkeys(names) if name in runs.columns]
    texts = []
    for label, (_, row) in zip(results.labels(runs), runs[shown].iterrows(), strict=True):
        facts = [f"{name}: {_short(value)}" for name, value in row.items() if not pd.isna(value)]
        texts.append("<br>".join([f"<b>{_escape(label)}</b>", *map(_escape, facts)]))
    return texts


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else f"{value!s:.80}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"
