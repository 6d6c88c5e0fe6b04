"""``python -m cvae.compare PATH...``: a leaderboard of runs, and files to take elsewhere.

python -m cvae.compare multirun/latent_size
python -m cvae.compare multirun outputs --by dev_exact_match --top 5
python -m cvae.compare multirun --csv runs.csv --parquet runs.parquet --html report.html
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cvae.terminal import (
    ArgumentParser,
    InputError,
    exit_code_of,
    interrupt_ends_at_once,
    interrupt_is_late,
    interrupt_raises,
    visible,
)

if TYPE_CHECKING:
    # pandas takes most of a second to import: --help and a wrong flag need not wait for it.
    import pandas as pd

_WIDTH_UNKNOWN: Final = 80
_WIDEST: Final = 160
_NARROWEST: Final = 40
_REASONS_SHOWN: Final = 10
# Not "bleu4": that is the name of the ten pairs' BLEU-4.
_SHORT: Final = {
    "objective_bleu4": "obj_bleu4",
    "objective_gaussian_score": "obj_gauss",
    "objective_gaussian_variety": "obj_variety",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0, or 2 with one line of explanation)."""
    options = _parser().parse_args(arguments)
    return exit_code_of("cvae.compare", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    from cvae.results import ResultsError

    try:
        _compare(options)
    except ResultsError as error:
        raise InputError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m cvae.compare",
        description="Show a leaderboard of runs, and write all of them to files.",
        epilog="Every run found is counted and written, failed ones too; ranked are complete ones.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a run, a sweep, or any directory above them"
    )
    parser.add_argument(
        "--by",
        default=None,
        metavar="COL",
        help="numeric column to rank by (default: objective; for a pair, the Pareto front first)",
    )
    parser.add_argument(
        "--top", type=_positive, default=20, metavar="N", help="rows shown (default: 20)"
    )
    parser.add_argument("--csv", metavar="FILE", help="write every run as CSV")
    parser.add_argument("--parquet", metavar="FILE", help="write every run as Parquet")
    parser.add_argument("--html", metavar="FILE", help="write the self-contained report page")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _compare(options: argparse.Namespace) -> None:
    from cvae import report_page, results  # noqa: F401  (imported before an interrupt may raise)

    interrupt_raises()  # a file may be half written from here on
    frame = results.load(*options.paths)
    if options.by is not None:
        results.require_columns(frame, [options.by], numeric=True)
    width = _WIDTH_UNKNOWN
    if sys.stdout.isatty():
        width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    print(leaderboard(frame, by=options.by, top=options.top, width=width))
    _write(frame, options)


def _write(frame: pd.DataFrame, options: argparse.Namespace) -> None:
    from cvae import report_page, results

    if options.csv:
        results.write_atomically(options.csv, lambda path: frame.to_csv(path, index=False))
        print(f"wrote {options.csv}")
    if options.parquet:
        try:
            import pyarrow  # noqa: F401  (pandas' own message about it has six lines)
        except ImportError:
            raise results.ResultsError(
                "--parquet needs pyarrow, which is not installed: pip install pyarrow"
            ) from None
        results.write_atomically(
            options.parquet, lambda path: frame.to_parquet(path, index=False, engine="pyarrow")
        )
        print(f"wrote {options.parquet}")
    if options.html:
        report_page.write(frame, options.html)
        print(f"wrote {options.html}")


# --------------------------------------------------------------------------------------------
# The leaderboard


def leaderboard(
    frame: pd.DataFrame, *, by: str | None = None, top: int = 20, width: int = _WIDTH_UNKNOWN
) -> str:
    """Return the text of the leaderboard, no line wider than ``width`` but for paths.

    Shown are the value ranked by, the objective and its parts, and as many of the keys that
    vary as fit; those that do not fit are named below the table.
    """
    from cvae import repeat, results, winner

    lines = [*textwrap.wrap(_counts(frame), width), ""]
    try:
        ranked, title = _rank(frame, by, top)
    except results.ResultsError as error:
        lines += textwrap.wrap(f"no leaderboard: {error}", width)
    else:
        lines += [*textwrap.wrap(title, width), "", *_table(frame, ranked, by, width)]
        lines += _repeated(frame, by or "objective", width)
        chosen = None if by else winner.among([results.directory_of(run) for run in frame["run"]])
        what, first = "best run ", ranked.iloc[0]
        if chosen is not None:  # it may be another: a search may repeat its best trials
            what, first = "winner   ", frame.iloc[chosen]
        lines += ["", f"{what}  {first['run']}"]
        again = repeat.command_of(
            results.directory_of(first["run"]), first["overrides"], here=Path.cwd()
        )
        lines += [f"run again  {again}"]
    lines += _not_complete(frame, width)
    # Names of keys, metrics and directories may hold anything, too.
    return "\n".join(visible(line) for line in lines)


def _counts(frame: pd.DataFrame) -> str:
    from cvae.results import STATUSES, about_repeats, repeats

    counts = frame["status"].value_counts()
    parts = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    sweeps = frame["sweep"].nunique()
    again = repeats(frame)
    confirming = int(frame["confirms"].count())
    return (
        f"{len(frame)} run{'s' * (len(frame) != 1)} in {sweeps} "
        f"director{'y' if sweeps == 1 else 'ies'}: {parts}"
        + (f"; {confirming} of them repeat the best under other seeds" if confirming else "")
        + (f"; {about_repeats(again)}" if again.any() else "")
    )


def _rank(frame: pd.DataFrame, by: str | None, top: int) -> tuple[pd.DataFrame, str]:
    """Return the rows to show, best first, and the line that says by what they are ranked."""
    from cvae import results

    frame = results.own_trials(frame)
    complete = frame[frame["status"] == "complete"]
    pair = by is None and complete["objective"].isna().all()
    if pair and complete[results.PARETO[0]].notna().any():
        front = results.pareto(frame)
        rest = complete.drop(front.index).sort_values(
            results.PARETO[0], ascending=False, kind="stable"
        )
        what = "Gaussian score" if results.pair(frame) == results.PARETO else "Gaussian variety"
        title = f"the Pareto front of BLEU-4 and {what} ({len(front)} runs) first"
        ranked = front if rest.empty else _concat(front, rest)
        return ranked.head(top), title
    column = by or "objective"
    ranked = results.best(frame, top, column)
    which = "lower" if results.lower_is_better(column) else "higher"
    shown = f"best {len(ranked)} of {len(complete)} complete" if top < len(complete) else "complete"
    return ranked, f"{shown}, by {column} ({which} is better)"


def _repeated(frame: pd.DataFrame, by: str, width: int) -> list[str]:
    """Return a line for each trial that a search repeated under other seeds, the best mean first.

    These repeats are no trials of their own: a search makes them to see whether its best are.
    """
    import pandas as pd

    from cvae import results

    # As in the table: a trial that goes on under another number keeps its directory's name.
    names = pd.Series(results.labels(frame), index=frame.index)
    complete = frame[frame["status"] == "complete"].dropna(subset=[by])
    found = []
    for (sweep, number), repeats in complete.groupby(["sweep", "confirms"]):
        trial = complete[(complete["sweep"] == sweep) & (complete["trial"] == number)]
        values = [float(value) for value in (*trial[by], *repeats[by])]
        mean = sum(values) / len(values)
        name = names[trial.index[0]] if len(trial) else number
        told = ", ".join(
            f"{_cut(names[row], 24)} {format_value(float(value))}"
            for row, value in repeats[by].items()
        )
        line = f"  {_cut(str(name), 24)}  mean {format_value(mean)} of {len(values)} seeds: {told}"
        found.append((mean, line if len(line) <= width else line[: width - 3] + "..."))
    if not found or complete["confirms"].notna().all():
        return []
    found.sort(key=lambda pair: pair[0], reverse=not results.lower_is_better(by))
    return ["", f"repeated under other seeds, by the mean of {by}", *(line for _, line in found)]


def _concat(front: pd.DataFrame, rest: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([front, rest])


def _table(frame: pd.DataFrame, ranked: pd.DataFrame, by: str | None, width: int) -> list[str]:
    from cvae import results

    labels = results.labels(frame)
    columns: list[tuple[str, list[str], bool]] = [
        ("#", [str(i + 1) for i in range(len(ranked))], True),
        ("trial", [_cut(labels[i], min(24, width - 32)) for i in ranked.index], False),
    ]
    measures = [] if by is None else [by]
    measures += [c for c in ("objective", *results.PARTS) if c not in measures]
    for column in measures:
        if ranked[column].notna().any():
            candidate = (_SHORT.get(column, column), _cells(ranked[column]), True)
            # What they are ranked by is shown at any width.
            if len(columns) == 2 or _total_width([*columns, candidate]) <= width:
                columns.append(candidate)
    keys = [key for key in _by_importance(frame, by) if key not in measures]
    if frame["seed"].nunique() > 1 and "seed" not in measures:
        keys.append("seed")
    short = _short_names(keys)
    left_out: list[str] = []
    for key in keys:
        cells = [_cut(cell, 20) for cell in _cells(ranked[key])]
        right = frame[key].dtype.kind in "iuf"
        candidate = (short[key], cells, right)
        if _total_width([*columns, candidate]) <= width:
            columns.append(candidate)
        else:
            left_out.append(key)
    seconds = ("seconds", [_seconds(value) for value in ranked["seconds"]], True)
    if by != "seconds" and _total_width([*columns, seconds]) <= width:
        columns.append(seconds)
    lines = _format(columns)
    if left_out:
        lines += textwrap.wrap(
            f"varied too, but too wide to show: {', '.join(left_out)}",
            width,
            break_long_words=False,
        )
    return lines


def _by_importance(frame: pd.DataFrame, by: str | None) -> list[str]:
    """Return the varied keys, those that matter most first: not all fit beside each other."""
    from cvae import results

    keys = results.varied(frame)
    complete = frame[frame["status"] == "complete"]
    column = by or ("objective" if complete["objective"].notna().any() else results.PARETO[0])
    if complete[column].isna().all():
        return keys
    distinct = frame[~results.repeats(frame)]
    order = list(results.importance(distinct, column)["parameter"])
    return [*order, *(key for key in keys if key not in order)]


def _cells(column: pd.Series[Any]) -> list[str]:
    import pandas as pd

    return ["-" if pd.isna(value) else format_value(value) for value in column]


def format_value(value: object) -> str:
    """Return ``value`` as short as it stays readable: four digits of a float."""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if value and not 1e-3 <= abs(value) < 1e6:
            return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
        # Small numbers are rates and weights: four decimals would cut their digits off.
        return f"{value:.4f}" if 0.1 <= abs(value) < 10 or not value else f"{value:.5g}"
    return visible(str(value))


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"


def _cut(text: str, width: int) -> str:
    # The end tells trials and paths apart, the beginning seldom does.
    return text if len(text) <= width else "~" + text[len(text) - width + 1 :]


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the last part of each dotted key, or the key where that is not enough."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: end if last.count(end) == 1 else key for key, end in zip(keys, last, strict=True)}


def _total_width(columns: Sequence[tuple[str, list[str], bool]]) -> int:
    return sum(_column_width(name, cells) for name, cells, _ in columns) + 2 * (len(columns) - 1)


def _column_width(name: str, cells: Sequence[str]) -> int:
    return max(len(name), *(len(cell) for cell in cells))


def _format(columns: Sequence[tuple[str, list[str], bool]]) -> list[str]:
    aligned = []
    for name, cells, right in columns:
        width = _column_width(name, cells)
        column = [cell.rjust(width) if right else cell.ljust(width) for cell in (name, *cells)]
        aligned.append([column[0], "-" * width, *column[1:]])
    return ["  ".join(row).rstrip() for row in zip(*aligned, strict=True)]


def _not_complete(frame: pd.DataFrame, width: int) -> list[str]:
    """Return one line for each run that is not complete, up to a limit that is stated."""
    from cvae import results

    labels = results.labels(frame)
    rest = frame[frame["status"] != "complete"]
    if rest.empty:
        return []
    shown = rest.head(_REASONS_SHOWN)
    lines = ["", "not complete"]
    for index, row in shown.iterrows():
        reason = row["reason"] if isinstance(row["reason"], str) else ""
        line = f"  {_cut(labels[index], 24)}  {row['status']}  {visible(reason)}".rstrip()
        lines.append(line if len(line) <= width else line[: width - 3] + "...")
    if len(rest) > len(shown):
        lines.append(f"  and {len(rest) - len(shown)} more; --csv and --html have all")
    return lines


if __name__ == "__main__":
    interrupt_ends_at_once("")
    try:
        sys.exit(main())
    finally:
        interrupt_is_late()
