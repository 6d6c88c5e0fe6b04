"""One self-contained HTML page over a table of runs: opened from disk, without any network.

The page is made of the files in ``report_assets`` (markup, style, and behaviour in modules) and
plotly.js, which draws the figures. Everything that comes from a run directory is data.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cvae import fine_curves, offline_page, repeat, results, run_details, studies, winner
from cvae.alphabet import TENSES

X_COLUMNS: Final = ("step", "epoch", "progress", "seconds")
PANELS: Final = (
    "cross_entropy",
    "kl",
    "kl_weight",
    "teacher_forcing_ratio",
    "dev_objective",
    "dev_bleu4",
    "seen_bleu4",
    "dev_gaussian_score",
    "dev_gaussian_variety",
    "dev_exact_match",
    "bleu4",
)
"""The columns of ``metrics.csv`` that have a figure, where any run has them."""

NAMES: Final = {
    "cross_entropy": "Cross-entropy (nats per word)",
    "kl": "KL (nats per word)",
    "kl_weight": "KL weight",
    "teacher_forcing_ratio": "Teacher forcing ratio",
    "dev_objective": "Objective, as selection sees it",
    "bleu4": "BLEU-4, the report's ten pairs",
    "dev_bleu4": "BLEU-4, dev verbs",
    "seen_bleu4": "BLEU-4, sample of training verbs",
    "exact_match": "Exact match, the report's ten pairs",
    "dev_exact_match": "Exact match, dev verbs",
    "gaussian_score": "Gaussian score, reported draws",
    "dev_gaussian_score": "Gaussian score, draws for selection",
    "gaussian_variety": "Gaussian variety, reported draws",
    "dev_gaussian_variety": "Gaussian variety, draws for selection",
    "gaussian_distinct": "Distinct training rows hit",
    "active_units": "Active units",
    "confirms": "Repeats the trial",
    "mutual_information": "Mutual information (nats)",
}
"""What a column is in words: the same wherever the page names it."""

_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=const |let |function |async )", re.MULTILINE)
_NUMBER_BUDGET: Final = 2_000_000  # in all curves: about 14 MB of text
_MOST_POINTS, _LEAST_POINTS = 200, 20
_DETAILED_RUNS: Final = 1000
_STUDY_BUDGET: Final = 200_000  # reported values of all trials
_CELL: Final = 4000  # letters of a text cell: a reason may be a traceback
_SHOWN_AT_FIRST: Final = ("dev_exact_match", "seed", "seconds")


def write(frame: pd.DataFrame, path: results.Paths, *, title: str = "Runs compared") -> None:
    """Write the report page over ``frame`` (from ``results.load``) to ``path``, atomically.

    Curves, conversions and samples are read from the run directories that ``frame`` names. What
    was left out to keep the page small is said on the page.

    Raises:
        ResultsError: if the file cannot be written, or ``frame`` is no table of runs.
    """
    page = render(frame, title=title)
    results.write_atomically(path, lambda target: _write_text(target, page))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def render(frame: pd.DataFrame, *, title: str = "Runs compared") -> str:
    """Return the page as text."""
    if "run" not in frame.columns or "status" not in frame.columns:
        raise results.ResultsError("the page needs a table from cvae.results.load")
    if frame.empty:
        raise results.ResultsError("the table has no runs: there is nothing to show")
    frame = frame.reset_index(drop=True)
    return offline_page.fill(
        _asset("report.html"),
        title=title,
        style=_asset("report.css"),
        data=page_data(frame, title),
        behaviour=_behaviour(),
    )


def _asset(name: str) -> str:
    return files("cvae").joinpath("report_assets", name).read_text(encoding="utf-8")


def _behaviour() -> str:
    """Return the modules of the page as one script: a page on a disk may import nothing.

    Each module comes after those that it imports, in one block: a name defined twice is an error.
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        text = _asset(f"{name}.js")
        for imported in _IMPORT.findall(text):
            if imported not in texts:
                add(imported)
        texts[name] = _EXPORT.sub("", _IMPORT.sub("", text))

    add("main")
    return '"use strict";\n{\n' + "\n".join(texts.values()) + "}\n"


# --------------------------------------------------------------------------------------------
# The data of the page


def page_data(frame: pd.DataFrame, title: str) -> dict[str, Any]:
    """Return all that the page shows, as plain lists and dictionaries."""
    notes: list[str] = []
    again = results.repeats(frame)
    if again.any():
        notes.append(f"{results.about_repeats(again)}; the importance counts each once")
    target, target_label = _target(frame)
    detailed = _detailed(frame, target, notes)
    by_run = {row: str(frame["run"].iloc[row]) for row in detailed}
    found = studies.read(frame)
    notes += found.notes
    return {
        "title": title,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "labels": list(results.labels(frame)),
        "columns": _columns(frame),
        "names": {**NAMES, **_objective_names(frame)},
        "varied": results.varied(frame),
        "target": target,
        "targetLabel": target_label,
        "curves": _curves(frame, notes),
        "fine": fine_curves.read(frame),
        "spaces": {key: space for key, space in found.spaces.items() if key in frame.columns},
        "studyTrials": _study_trials(found, notes),
        "runs": _times(frame),
        "groups": _groups(frame),
        "conversions": run_details.read(by_run, "conversions.csv", run_details.conversions, notes),
        "samples": run_details.read(by_run, "samples.csv", run_details.samples, notes),
        "latent": run_details.latent_maps(by_run, _best(frame, target), notes),
        "configurations": run_details.configurations(by_run),
        "detailed": len(detailed) < len(frame) and len(detailed),
        "importance": _importance(frame[~again], target),
        "front": _front(frame),
        "pair": list(results.pair(frame)),
        "commands": _commands(frame, by_run),
        "best": _best(frame, target),
        "statuses": [s for s in results.STATUSES if (frame["status"] == s).any()],
        "tenses": list(TENSES),
        "notes": notes,
    }


def _target(frame: pd.DataFrame) -> tuple[str, str]:
    """Return the column that the page ranks and explains: BLEU-4 where the objective is a pair."""
    if frame["objective"].notna().any() or frame[results.PARETO[0]].isna().all():
        return "objective", "objective"
    return results.PARETO[0], "objective_bleu4 (these runs have a pair as objective)"


def _objective_names(frame: pd.DataFrame) -> dict[str, str]:
    """Return the names of the objective's parts: BLEU-4 is that of dev verbs or of seen ones."""
    kinds = {"unseen": "dev verbs", "seen": "sample of training verbs"}
    bleu4, counted = frame[results.PARETO[0]], "objective.conversions"
    if counted in frame.columns:
        named = [kinds[kind] for kind in kinds if (frame[counted] == kind).any()]
    else:
        named = [
            kinds[kind]
            for kind, metric in (("unseen", "dev_bleu4"), ("seen", "seen_bleu4"))
            if metric in frame.columns and np.isclose(bleu4, frame[metric]).any()
        ]
        if len(named) > 1:  # without dev verbs both are measured on the same ones
            configs = map(results.configuration, frame["run"].astype(str))
            objectives = (config.get("objective") for config in configs)
            known = next((o for o in objectives if isinstance(o, dict)), {})
            named = [kinds.get(str(known.get("conversions")), kinds["unseen"])]
    which = " or ".join(named) or "as the objective counts it"
    return {
        "objective": "Objective",
        results.PARETO[0]: f"BLEU-4, {which} (objective)",
        results.PARETO[1]: "Gaussian score, draws for selection (objective)",
        results.PARTS[2]: "Gaussian variety, draws for selection (objective)",
    }


def _study_trials(found: studies.Studies, notes: list[str]) -> list[dict[str, Any]]:
    """Return the trials of the studies, with as many reported values as the page can hold."""
    numbers = sum(len(trial.values) for trial in found.trials)
    most = max(2, _STUDY_BUDGET // max(1, len(found.trials)))
    if numbers > _STUDY_BUDGET:
        notes.append(f"reported values are thinned to {most} a trial")
    trials = []
    for trial in found.trials:
        steps = np.array(sorted(trial.values))
        if numbers > _STUDY_BUDGET and len(steps) > most:
            steps = steps[np.linspace(0, len(steps) - 1, most).round().astype(int)]
        trials.append(
            {
                "row": trial.row,
                "number": trial.number,
                "state": trial.state,
                "started": trial.started,
                "ended": trial.ended,
                "worker": trial.worker,
                "continues": trial.continues,
                "steps": [int(step) for step in steps],
                "values": [_short(trial.values[int(step)]) for step in steps],
            }
        )
    return trials


def _times(frame: pd.DataFrame) -> list[list[Any]]:
    """Return for each run when it started, in seconds since 1970, and how long it took."""
    if "started_at" not in frame.columns:
        return [[None, None]] * len(frame)
    started = pd.to_datetime(frame["started_at"], utc=True, errors="coerce")
    return [
        [None if pd.isna(start) else start.timestamp(), _plain(seconds)]
        for start, seconds in zip(started, frame["seconds"], strict=True)
    ]


def _groups(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the configurations with their runs and means, if any has runs of several seeds."""
    keys = results.varied(frame)
    measures = [*_measures(frame), "seconds"]
    measures = [name for name in measures if frame[name].notna().any()]
    if frame["seed"].nunique() < 2 or not measures:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a note says what is repeated
            table = results.aggregate(frame, keys, measures)
    except results.ResultsError:
        return []
    places = [0] * len(frame)
    if keys:
        numbered = table[keys].assign(_place=range(len(table)))
        places = list(frame[keys].merge(numbered, on=keys, how="left")["_place"])
    rows: list[list[int]] = [[] for _ in range(len(table))]
    for row, place in enumerate(places):
        rows[int(place)].append(row)
    if all(frame["seed"].iloc[some].nunique() < 2 for some in rows if len(some) > 1):
        return []
    ends = ("mean", "std", "n", "low", "high")
    # A single run says it all in its own row.
    return [
        {
            "rows": some,
            "measures": {
                measure: [_plain(line[f"{measure}_{end}"]) for end in ends] for measure in measures
            }
            if len(some) > 1
            else {},
        }
        for some, line in zip(rows, table.to_dict("records"), strict=True)
        if some
    ]


def _measures(frame: pd.DataFrame) -> list[str]:
    return ["objective", *results.PARTS, *results.metrics(frame)]


def _best(frame: pd.DataFrame, target: str) -> list[int]:
    """Return the rows that are shown first: the winner, where there is one, and the best."""
    try:
        best = [int(row) for row in results.best(frame, 3, target).index]
    except results.ResultsError:
        return [0]  # nothing is complete: show why
    chosen = winner.among([results.directory_of(run) for run in frame["run"]])
    return best if chosen is None else [chosen, *(row for row in best if row != chosen)][:3]


def _commands(frame: pd.DataFrame, by_run: Mapping[int, str]) -> dict[str, str]:
    """Return the command that repeats each of these runs."""
    if "overrides" not in frame.columns:
        return {}
    overrides = frame["overrides"].fillna("")  # an empty text, once the table was a CSV file
    return {
        str(row): repeat.command_of(results.directory_of(run), overrides.iloc[row])
        for row, run in by_run.items()
    }


def _front(frame: pd.DataFrame) -> list[int]:
    try:
        return [int(row) for row in results.pareto(frame).index]
    except results.ResultsError:
        return []


def _importance(frame: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    try:
        table = results.importance(frame, target)
    except results.ResultsError:
        return []
    return [
        {"parameter": parameter, "importance": _plain(share), "noise": _plain(noise), "n": int(n)}
        for parameter, share, noise, n in zip(
            table["parameter"], table["importance"], table["noise"], table["n"], strict=True
        )
    ]


def _columns(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return every column of the table with its kind, its values and whether it is shown."""
    parameters, metrics = results.parameters(frame), results.metrics(frame)
    varied = results.varied(frame)
    order = [
        "status",
        "reason",
        "confirms",
        "objective",
        *results.PARTS,
        *parameters,
        "seed",
        *metrics,
        "seconds",
    ]
    order += [c for c in frame.columns if c not in order]
    columns = []
    for name in order:
        if name not in frame.columns:
            continue
        values = frame[name]
        if pd.api.types.is_datetime64_any_dtype(values):
            values = values.dt.strftime("%Y-%m-%d %H:%M:%S")
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        empty = bool(values.isna().all())
        shown = name in ("status", "objective", *results.PARTS, *_SHOWN_AT_FIRST)
        if name in parameters:
            shown = name in varied[:8]
        shown |= name == "confirms"  # a repeat of a search's best trial shall not pass for a trial
        columns.append(
            {
                "name": name,
                "kind": "number" if numeric else "text",
                "group": "parameter"
                if name in parameters
                else "metric"
                if name in metrics
                else "run",
                "shown": shown and not empty,
                "lower": results.lower_is_better(name),
                "values": [_plain(value) for value in values],
            }
        )
    return columns


def _plain(value: Any) -> bool | int | float | str | None:
    """Return a value that JSON has: no NaN, no infinity, floats to six digits, texts cut."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        # Beyond 2**53 JavaScript would silently show another number.
        return int(value) if abs(int(value)) < 2**53 else str(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    text = str(value)
    return text if len(text) <= _CELL else text[:_CELL] + " ..."


def _curves(frame: pd.DataFrame, notes: list[str]) -> dict[str, Any]:
    table, damage = results.read_curves(list(frame["run"]))
    notes += [message + " (curves left out)" for message in list(damage.values())[:5]]
    if len(damage) > 5:
        notes.append(f"and {len(damage) - 5} more damaged metrics.csv")
    present = [c for c in PANELS if c in table.columns and table[c].notna().any()]
    panels = [{"title": NAMES[column], "column": column} for column in present]
    xs = [c for c in X_COLUMNS if c in table.columns and table[c].notna().any()]
    names = [*xs, *(panel["column"] for panel in panels)]
    runs: dict[str, list[list[float | None]]] = {}
    if not names:
        return {"x": xs, "panels": panels, "columns": names, "runs": runs, "points": 0}
    per_run = _NUMBER_BUDGET // (max(1, table["_row"].nunique()) * len(names))
    points = min(_MOST_POINTS, max(_LEAST_POINTS, per_run))
    numbers = table[names].to_numpy(dtype=float)
    rows = table["_row"].to_numpy(dtype=int)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    thinned = 0
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        block = numbers[start:end]
        if len(block) > points:
            block = block[np.linspace(0, len(block) - 1, points).round().astype(int)]
            thinned += 1
        runs[str(rows[start])] = [[_short(v) for v in column] for column in block.T]
    if thinned:
        notes.append(f"curves of {thinned} runs are thinned to {points} evaluations each")
    return {"x": xs, "panels": panels, "columns": names, "runs": runs}


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    if value.is_integer() and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.4g}")


def _detailed(frame: pd.DataFrame, target: str, notes: list[str]) -> list[int]:
    """Return the rows whose conversions, samples and configurations go into the page."""
    if len(frame) <= _DETAILED_RUNS:
        return list(range(len(frame)))
    order = frame[target].where(frame["status"] == "complete")
    ranked = order.sort_values(ascending=results.lower_is_better(target), kind="stable")
    notes.append(
        f"conversions, samples and configurations are those of the best {_DETAILED_RUNS:,} runs"
    )
    return [int(row) for row in ranked.index[:_DETAILED_RUNS]]
