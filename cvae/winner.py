"""The run that a directory stands for: itself, or the winner of the study that it holds.

A search writes its best trial into ``optimization_results.yaml`` beside the trials, by a name
relative to its own directory: so a study may be copied and moved, and none of its database is
needed. Where that file names no trial, as that of the stock sweeper, the trials' own results are
compared.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

WEIGHTS: Final = "weights.safetensors"
BEST: Final = "optimization_results.yaml"

_OF_A_RUN: Final = frozenset({"result.json", "unfinished.json", "checkpoint.safetensors", WEIGHTS})
_OF_A_STUDY: Final = frozenset({BEST, "multirun.yaml", "study.db"})
_TRIAL: Final = re.compile(r"trial_\d{5,}(?:_\d+)?")
_RUNNING: Final = "running or interrupted"
_LARGEST: Final = 16 * 2**20
_SHOWN: Final = 5
_DEEPEST: Final = 4  # levels below a directory at which studies and runs are looked for


class WinnerError(ValueError):
    """A directory that stands for no one run; the message is one line."""


@dataclass(frozen=True)
class Winner:
    """The best trial of a study.

    Attributes:
        directory: of the trial's run, below the study's.
        note: one line that says which trial it is.
    """

    directory: Path
    note: str


def run_of(path: Path) -> tuple[Path, str | None]:
    """Return the directory of the run to use, and a line to tell if it is not ``path`` itself.

    A path that holds neither a run nor a study is returned as it is: who reads it will say.

    Raises:
        WinnerError: if there are several to choose from, or none yet.
    """
    kind = _kind(path)
    if kind == "study":
        found = winner_of(path)
        return found.directory, found.note
    below = list(_below(path)) if kind is None else []
    if below:
        studies = [directory for directory, kind in below if kind == "study"]
        what, several = ("study", "studies") if studies else ("run", "runs")
        shown = studies or [directory for directory, _ in below]
        raise WinnerError(
            f"{path}: holds {len(shown)} {what if len(shown) == 1 else several}: "
            f"{_listed(map(str, shown))}; name one"
        )
    return path, None


def among(runs: Sequence[Path]) -> int | None:
    """Return the place in ``runs`` of their study's winner; None unless all are of one study."""
    studies = {_study_at(parent) for parent in {run.parent for run in runs}}
    study = studies.pop() if len(studies) == 1 else None
    if study is None:
        return None
    try:
        winner = winner_of(study).directory
    except WinnerError:
        return None
    same = (i for i, run in enumerate(runs) if run.name == winner.name)
    return next((i for i in same if runs[i].resolve() == winner.resolve()), None)


def _study_at(directory: Path) -> Path | None:
    """The directory, or the nearest above it, that is a study's."""
    return next((d for d in [directory, *directory.parents][:_DEEPEST] if _is_study(d)), None)


def winner_of(study: Path) -> Winner:
    """Return the winner of the study in this directory.

    Raises:
        WinnerError: if there is none: no trial is complete, there are several directions, or the
            trial is not there.
    """
    told = _read(study / BEST)
    name = told.get("best_directory")
    if isinstance(name, str) and name:
        directory = _located(study, name)
        if directory is None or not os.path.exists(directory / WEIGHTS):
            raise WinnerError(
                f"{study}: its winner, {name}, is not there with its {WEIGHTS}; "
                "name the directory of another trial"
            )
        return Winner(directory, _note(study, directory, *_value(told)))
    solutions = told.get("solutions")
    if isinstance(solutions, list) and solutions:
        raise _no_single(study, [_solution(study, entry) for entry in solutions])
    return _best_of_results(study)


# --- What a study says ---------------------------------------------------------------------------


def _value(told: dict[str, Any]) -> tuple[float | None, int]:
    """The winner's value, and the number of runs that it is the mean of."""
    confirmed = told.get("confirmed")
    for entry in confirmed if isinstance(confirmed, list) else []:
        if isinstance(entry, dict) and entry.get("trial") == told.get("best_trial"):
            mean, values = entry.get("mean"), entry.get("values")
            if isinstance(mean, int | float) and isinstance(values, list):
                return float(mean), len(values)
    value = told.get("best_value")
    return (float(value) if isinstance(value, int | float) else None), 1


def _solution(study: Path, entry: object) -> str:
    """One Pareto-optimal trial: its directory and its values."""
    told = entry if isinstance(entry, dict) else {}
    name, values = told.get("directory"), told.get("values")
    directory = _located(study, name) if isinstance(name, str) else None
    numbers = values if isinstance(values, list) else []
    shown = ", ".join(f"{value:.4g}" for value in numbers if isinstance(value, int | float))
    return f"{directory or name or told.get('number')} ({shown})"


def _no_single(study: Path, solutions: list[str]) -> WinnerError:
    return WinnerError(
        f"{study}: has several directions and so no single winner; name a trial, "
        f"Pareto-optimal are {_listed(solutions)}"
    )


def _located(study: Path, name: str) -> Path | None:
    """A trial's directory below the study's, wherever that is now; former versions stored paths."""
    parts = Path(os.path.normpath(name)).parts
    if Path(name).is_absolute():
        ends = [study.joinpath(*parts[start:]) for start in range(1, len(parts))]
        return next((end for end in ends if os.path.isdir(end)), None)
    return None if parts[:1] in ((os.pardir,), ()) else study.joinpath(*parts)


def _best_of_results(study: Path) -> Winner:
    """The winner by what the runs themselves have written; a run's objective is to be maximised."""
    statuses: list[str] = []
    reason = ""
    best: tuple[float, Path] | None = None
    pairs = []
    for directory in (below for below, kind in _below(study) if kind == "run"):
        result = _read(directory / "result.json") or _read(directory / "unfinished.json")
        statuses.append(str(result.get("status", _RUNNING)))
        reason = str(result.get("reason") or reason)
        objective = result.get("objective")
        value = objective.get("value") if isinstance(objective, dict) else None
        if statuses[-1] != "complete":
            continue
        if isinstance(value, list):
            pairs.append(_solution(study, {"directory": directory.name, "values": value}))
        elif isinstance(value, int | float) and (best is None or value > best[0]):
            best = float(value), directory
    if pairs:
        raise WinnerError(
            f"{study}: has several directions and so no single winner; name a trial, "
            f"complete are {_listed(pairs)}"
        )
    if best is None:
        counts = ", ".join(
            f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)
        )
        reason = "; the last reason: " + " ".join(reason.split())[:200] if reason else ""
        trials = f"of its {len(statuses)} trials none is complete ({counts}{reason})"
        advice = "wait for its search, or continue it"
        if statuses and _RUNNING not in statuses:
            advice = f"python -m cvae.compare {shlex.quote(str(study))} shows all"
        raise WinnerError(
            f"{study}: has no winner: {trials if statuses else 'it has no trial yet'}; {advice}"
        )
    return Winner(best[1], _note(study, best[1], best[0], 1))


def _note(study: Path, directory: Path, value: float | None, runs: int) -> str:
    number = "" if value is None else f"objective {value:.4f}"
    number += f", the mean of {runs} runs" if number and runs > 1 else ""
    name = os.path.relpath(directory, study)
    return f"{study}: using its winner, {name}{f' ({number})' if number else ''}"


# --- Directories ---------------------------------------------------------------------------------


def _kind(path: Path) -> str | None:
    """What ``path`` is: a run, a study, or neither."""
    try:
        with os.scandir(path) as entries:
            names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except (OSError, ValueError):  # who reads it will say
        return None
    if not _OF_A_RUN.isdisjoint(names) or names.get(".hydra", False):
        return "run"
    trials = any(is_dir and _TRIAL.fullmatch(name) for name, is_dir in names.items())
    return "study" if trials or not _OF_A_STUDY.isdisjoint(names) else None


def _is_study(path: Path) -> bool:
    return any(os.path.exists(path / name) for name in _OF_A_STUDY)


def _below(path: Path, levels: int = _DEEPEST) -> Iterator[tuple[Path, str]]:
    """Yield studies and runs below ``path``, in natural order; not those inside one another."""
    try:
        with os.scandir(path) as entries:
            # Links are not followed: a link to a parent would make the walk endless.
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except (OSError, ValueError):
        return
    for name in sorted((name for name in names if name[0] != "."), key=_natural):
        kind = _kind(path / name)
        if kind is None and _TRIAL.fullmatch(name):
            kind = "run"  # it has not begun, or was killed before it wrote anything
        if kind is not None:
            yield path / name, kind
        elif levels > 1:
            yield from _below(path / name, levels - 1)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which ``trial_2`` comes before ``trial_10``."""
    pieces = re.split(r"(\d+)", name)
    return [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces]


def _listed(texts: Iterable[str]) -> str:
    every = list(texts)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more


def _read(path: Path) -> dict[str, Any]:
    """A mapping from a file of JSON or YAML; an empty one where there is none to be read."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
            return {}
        text = path.read_text(encoding="utf-8")
        read = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}
