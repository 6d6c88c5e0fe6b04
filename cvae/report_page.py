"""One self-contained HTML page over a table of runs: opened from disk, without any network.

The page is made of four files beside this module (markup, style, behaviour) and plotly.js, which
draws the figures. Everything that comes from a run directory is data: it travels as one block
of JSON in which ``<`` cannot occur, reaches the document as text only, and the page's own
Content-Security-Policy lets no script run but the ones written here (by their hash) and lets
nothing be loaded.
"""

from __future__ import annotations

import base64
import csv
import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cvae import repeat, results, winner

TENSES: Final = ("simple_present", "third_person", "progressive", "past")
X_COLUMNS: Final = ("step", "epoch", "progress", "seconds")
PANELS: Final = (
    ("Cross-entropy (nats per word)", ("cross_entropy",)),
    ("KL (nats per word)", ("kl",)),
    ("KL weight", ("kl_weight",)),
    ("Teacher forcing ratio", ("teacher_forcing_ratio",)),
    ("BLEU-4", ("bleu4", "dev_bleu4")),
    ("Gaussian score", ("gaussian_score", "dev_gaussian_score")),
)
"""The report's figure: each panel's title, and the columns of ``metrics.csv`` it may show; the
first one that any run has is shown."""

_NUMBER_BUDGET: Final = 2_000_000  # in all curves: about 14 MB of text
_MOST_POINTS, _LEAST_POINTS = 200, 20
_DETAILED_RUNS: Final = 1000
_DEV_ROWS: Final = 15
_SAMPLE_ROWS: Final = 12
_CELL: Final = 4000  # letters of a text cell: a reason may be a traceback
_REPORT_ROWS: Final = 1000
_WORD: Final = 100  # letters of a word that are compared: their number counts squared
_SPELLINGS: Final = 5
_SHOWN_AT_FIRST: Final = ("dev_exact_match", "seed", "seconds")

Segment = tuple[str, str]


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
    from plotly.offline import get_plotlyjs  # late: it reads 5 MB

    if "run" not in frame.columns or "status" not in frame.columns:
        raise results.ResultsError("the page needs a table from cvae.results.load")
    if frame.empty:
        raise results.ResultsError("the table has no runs: there is nothing to show")
    frame = frame.reset_index(drop=True)
    plotly, behaviour = get_plotlyjs().replace("</script", "<\\/script"), _asset("report.js")
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in (plotly, behaviour))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": _escape(title),
        "style": _asset("report.css"),
        "data": _json(page_data(frame, title)),
        "plotly": plotly,
        "behaviour": behaviour,
    }
    page = _asset("report.html")
    for name, text in parts.items():
        # From the end, and in the template's order: a run that writes "%%plotly%%" into its
        # data stands before the real placeholder, so it is never the one replaced.
        before, _, after = page.rpartition(f"%%{name}%%")
        page = before + text + after
    return page


def _asset(name: str) -> str:
    return files("cvae").joinpath("report_assets", name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _escape(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def _json(data: object) -> str:
    """Return JSON that may stand in a ``script`` element: nothing in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


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
    return {
        "title": title,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "labels": list(results.labels(frame)),
        "columns": _columns(frame),
        "varied": results.varied(frame),
        "target": target,
        "targetLabel": target_label,
        "curves": _curves(frame, notes),
        "conversions": _details(by_run, "conversions.csv", _conversions, notes),
        "samples": _details(by_run, "samples.csv", _samples, notes),
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
    order = ["status", "objective", *results.PARTS, *parameters, "seed", *metrics, "seconds"]
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
    panels = []
    for title, candidates in PANELS:
        present = [c for c in candidates if c in table.columns and table[c].notna().any()]
        if present:
            shown = title if len(candidates) == 1 else f"{title} ({present[0]})"
            panels.append({"title": shown, "column": present[0]})
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


# --------------------------------------------------------------------------------------------
# Conversions and samples


def _detailed(frame: pd.DataFrame, target: str, notes: list[str]) -> list[int]:
    """Return the rows whose conversions and samples go into the page."""
    if len(frame) <= _DETAILED_RUNS:
        return list(range(len(frame)))
    order = frame[target].where(frame["status"] == "complete")
    ranked = order.sort_values(ascending=results.lower_is_better(target), kind="stable")
    notes.append(f"conversions and samples are those of the best {_DETAILED_RUNS:,} runs")
    return [int(row) for row in ranked.index[:_DETAILED_RUNS]]


def _details(
    by_run: Mapping[int, str], name: str, digest: Any, notes: list[str]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    damaged = []
    for row, run in by_run.items():
        path = results.directory_of(run) / name
        try:
            text = StringIO(results.read_text(path), newline="")
            found[str(row)] = digest(csv.DictReader(text, strict=True))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
            damaged.append(str(path))
    notes += [f"{path}: is damaged (left out)" for path in damaged[:5]]
    if len(damaged) > 5:
        notes.append(f"and {len(damaged) - 5} more damaged {name}")
    return found


def _conversions(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return the report's ten conversions and the first wrong ones of the dev set."""
    kept: list[list[Any]] = []
    count = wrong = wrong_kept = 0
    for row in rows:
        correct = row["correct"].strip().lower() in ("1", "1.0", "true")
        of_dev = row["split"] != "report"
        if of_dev:
            count += 1
            wrong += not correct
            if correct or wrong_kept >= _DEV_ROWS:
                continue
            wrong_kept += 1
        elif len(kept) >= _REPORT_ROWS:
            continue
        letters: Sequence[Segment] = (
            [("=", row["prediction"][:_CELL])]
            if correct
            else align(row["target"], row["prediction"])
        )
        kept.append(
            [
                int(of_dev),
                row["source"][:_CELL],
                _tense(row["source_tense"]),
                _tense(row["target_tense"]),
                row["target"][:_CELL],
                int(correct),
                letters,
            ]
        )
    return {"rows": kept, "dev": count, "wrong": wrong}


def _tense(text: str) -> str:
    """Return the tense's name, whether the file has the name or the number."""
    return TENSES[int(text)] if text in ("0", "1", "2", "3") else text[:_CELL]


def align(target: str, prediction: str) -> list[Segment]:
    """Return the letters of ``prediction`` marked against ``target``, in order.

    Each piece is ``=`` (as in the target), ``x`` (wrong or too much) or ``-`` (missing: letters
    of the target). Of several accepted targets, separated by ``|`` or ``/``, the most similar
    one is taken.

    >>> align("splitting", "spliting")
    [('=', 'split'), ('-', 't'), ('=', 'ing')]
    >>> align("abandoned", "abandons")
    [('=', 'abandon'), ('x', 's'), ('-', 'ed')]
    """
    prediction = prediction[:_WORD]
    spellings = target[:_CELL].replace("/", "|").split("|")[:_SPELLINGS]
    accepted = [word.strip()[:_WORD] for word in spellings]
    matchers = [
        difflib.SequenceMatcher(None, word, prediction, autojunk=False) for word in accepted
    ]
    nearest = max(range(len(matchers)), key=lambda i: matchers[i].ratio())
    pieces: list[Segment] = []
    for kind, a, b, c, d in matchers[nearest].get_opcodes():
        if kind == "equal":
            pieces.append(("=", prediction[c:d]))
            continue
        if d > c:
            pieces.append(("x", prediction[c:d]))
        if b > a:
            pieces.append(("-", accepted[nearest][a:b]))
    return pieces


def _samples(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return the first sampled paradigms, and the shares over all that the run kept."""
    kept: list[list[Any]] = []
    count = hits = real = 0
    for row in rows:
        in_training, is_real = (
            row[name].strip().lower() in ("1", "1.0", "true")
            for name in ("training_row", "real_verb")
        )
        count, hits, real = count + 1, hits + in_training, real + is_real
        if len(kept) < _SAMPLE_ROWS:
            forms = [row[tense][:_CELL] for tense in TENSES]
            kept.append([row["draw"][:_CELL], *forms, int(in_training), int(is_real)])
    return {"rows": kept, "count": count, "training": hits, "real": real}
