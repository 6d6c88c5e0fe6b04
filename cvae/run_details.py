"""What single runs have to show: conversions, sampled paradigms, the whole configuration."""

from __future__ import annotations

import base64
import csv
import difflib
import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

from cvae import conversion_errors, results
from cvae.alphabet import TENSES

DEV_ROWS: Final = 15
"""Wrong conversions of dev verbs that are kept of each run."""

KINDS: Final = ("irregular", "regular")
"""By the column ``regular``, 0 or 1."""

_SAMPLE_ROWS: Final = 12
_CELL: Final = 4000  # letters of a text cell: a reason may be a traceback
_REPORT_ROWS: Final = 1000
_WORD: Final = 100  # letters of a word that are compared: their number counts squared
_SPELLINGS: Final = 5
_SETTING: Final = 300  # letters of a value of the configuration
_MOST_SETTINGS: Final = 1000
_UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error)

_PICTURES: Final = 8
_PICTURE_BYTES: Final = 1_000_000
_PNG: Final = b"\x89PNG\r\n\x1a\n"

Segment = tuple[str, str]


def read(
    by_run: Mapping[int, str], name: str, digest: Callable[[Any], dict[str, Any]], notes: list[str]
) -> dict[str, dict[str, Any]]:
    """Return the digest of the table ``name`` of each run that has one; damage goes into ``notes``.

    ``by_run`` maps rows of the table to the runs' directories.
    """
    found: dict[str, dict[str, Any]] = {}
    damaged = []
    for row, run in by_run.items():
        path = results.directory_of(run) / name
        try:
            text = StringIO(results.read_text(path), newline="")
            found[str(row)] = digest(csv.DictReader(text, strict=True))
        except FileNotFoundError:
            continue
        except _UNREADABLE:
            damaged.append(str(path))
    notes += [f"{path}: is damaged (left out)" for path in damaged[:5]]
    if len(damaged) > 5:
        notes.append(f"and {len(damaged) - 5} more damaged {name}")
    return found


# --------------------------------------------------------------------------------------------
# Conversions


def conversions(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return the report's conversions, some wrong ones of the dev verbs, and the dev counts.

    ``accuracy`` has, for each source tense, target tense and regularity, how many dev conversions
    are right and how many there are; ``lengths`` the same by the number of letters of the source.
    """
    report: list[list[Any]] = []
    wrong: list[Mapping[str, str]] = []
    lemma: dict[tuple[str, str], str] = {}
    of_dev: list[conversion_errors.Conversion] = []
    for row in rows:
        correct = _is_true(row["correct"])
        if row["split"] == "report":
            if len(report) < _REPORT_ROWS:
                report.append(_conversion(row, of_dev=False, correct=correct))
            continue
        tenses = TENSES[_place(row["source_tense"])], TENSES[_place(row["target_tense"])]
        kind = KINDS[_regular(row)]
        of_dev.append((row["source"], *tenses, kind, int(correct), 0.0))
        if tenses[1] == TENSES[0]:
            lemma[row["source"], row["source_tense"]] = row["target"]
        elif tenses[0] == TENSES[0]:
            lemma[row["target"], row["target_tense"]] = row["source"]
        if not correct:
            wrong.append(row)
    shown = [_conversion(row, of_dev=True, correct=False) for row in _spread(wrong, lemma)]
    return {
        "rows": report + shown,
        "dev": len(of_dev),
        "wrong": len(wrong),
        **_accuracy(conversion_errors.tally(of_dev)),
    }


def _accuracy(found: conversion_errors.Tally) -> dict[str, list[list[int]]]:
    cells = [
        [TENSES.index(source), TENSES.index(target), KINDS.index(kind), count.correct, count.total]
        for (source, target, kind), count in found.tenses.items()
    ]
    lengths: dict[int, list[int]] = {}
    for (_, letters), count in found.lengths.items():
        right, total = lengths.get(letters, (0, 0))
        lengths[letters] = [right + count.correct, total + count.total]
    return {
        "accuracy": sorted(cells),
        "lengths": [[letters, *counts] for letters, counts in sorted(lengths.items())],
    }


def _conversion(row: Mapping[str, str], *, of_dev: bool, correct: bool) -> list[Any]:
    letters: Sequence[Segment] = (
        [("=", row["prediction"][:_CELL])] if correct else align(row["target"], row["prediction"])
    )
    return [
        int(of_dev),
        row["source"][:_CELL],
        _tense(row["source_tense"]),
        _tense(row["target_tense"]),
        row["target"][:_CELL],
        int(correct),
        letters,
        _regular(row),
    ]


def _spread(
    wrong: Sequence[Mapping[str, str]], lemma: Mapping[tuple[str, str], str]
) -> list[Mapping[str, str]]:
    """Return ``DEV_ROWS`` rows, spread over verbs, tense pairs and regularity.

    The file lists the twelve conversions of one verb after another: its first wrong rows are all
    of one or two verbs. The same file always gives the same rows.
    """
    strata: dict[tuple[int, str, str], list[Mapping[str, str]]] = {}
    for row in wrong:
        pair = (row["source_tense"], row["target_tense"])
        strata.setdefault((_regular(row), *pair), []).append(row)
    chosen: list[Mapping[str, str]] = []
    used: Counter[str] = Counter()

    def verb(row: Mapping[str, str]) -> str:
        if _place(row["source_tense"]) == 0:
            return row["source"]
        return lemma.get((row["source"], row["source_tense"]), row["source"])

    turn = 0
    while len(chosen) < min(DEV_ROWS, len(wrong)):
        # Regular and irregular ones in turn, and of each the tense pairs in turn.
        keys = sorted(key for key in strata if strata[key])
        kinds = sorted({key[0] for key in keys})
        of_kind = [key for key in keys if key[0] == kinds[turn % len(kinds)]]
        candidates = strata[of_kind[turn // len(kinds) % len(of_kind)]]
        # Golden-ratio steps: the rows come from all of the alphabet.
        start = int(turn * 0.618034 % 1 * len(candidates))
        order = [(start + i) % len(candidates) for i in range(len(candidates))]
        place = min(order, key=lambda i: used[verb(candidates[i])])
        row = candidates.pop(place)
        used[verb(row)] += 1
        chosen.append(row)
        turn += 1
    return chosen


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "1.0", "true")


def _regular(row: Mapping[str, str]) -> int:
    return int(_is_true(row.get("regular") or "1"))


def _tense(text: str) -> str:
    """Return the tense's name, whether the file has the name or the number."""
    return TENSES[int(text)] if text in ("0", "1", "2", "3") else text[:_CELL]


def _place(text: str) -> int:
    return TENSES.index(_tense(text))


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


# --------------------------------------------------------------------------------------------
# Samples


def samples(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return the first sampled paradigms, and the shares over all that the run kept."""
    kept: list[list[Any]] = []
    count = hits = real = 0
    for row in rows:
        in_training, is_real = _is_true(row["training_row"]), _is_true(row["real_verb"])
        count, hits, real = count + 1, hits + in_training, real + is_real
        if len(kept) < _SAMPLE_ROWS:
            forms = [row[tense][:_CELL] for tense in TENSES]
            kept.append([row["draw"][:_CELL], *forms, int(in_training), int(is_real)])
    return {"rows": kept, "count": count, "training": hits, "real": real}


# --------------------------------------------------------------------------------------------
# Configurations


def configurations(by_run: Mapping[int, str]) -> dict[str, Any]:
    """Return every setting of each run, with the versions and the commit that it ran with.

    ``common`` has the value of each key that most runs share, ``runs`` what is different in each
    (None where a run has no such key), ``unresolved`` the rows whose run left no result: what Hydra
    wrote before it began still has ``${...}``.
    """
    found: dict[int, dict[str, str]] = {}
    unresolved = []
    for row, run in by_run.items():
        directory = results.directory_of(run)
        about = _result(directory)
        if not about.get("config"):
            about = {**about, "config": results.read_yaml(directory / ".hydra" / "config.yaml")}
            unresolved.append(row)
        settings: dict[str, str] = {}
        for name, part in (("", about["config"]), ("versions", about.get("versions"))):
            if isinstance(part, dict):
                _flatten(name, part, settings)
        if isinstance(about.get("git_commit"), str):
            settings["git_commit"] = about["git_commit"][:_SETTING]
        if settings:
            found[row] = settings
    counts: dict[str, Counter[str]] = {}
    for settings in found.values():
        for key, text in settings.items():
            counts.setdefault(key, Counter())[text] += 1
    common = {key: values.most_common(1)[0][0] for key, values in counts.items()}
    differing: dict[str, dict[str, str | None]] = {}
    for row, settings in found.items():
        differing[str(row)] = {
            key: settings.get(key) for key, text in common.items() if settings.get(key) != text
        }
    return {"common": common, "runs": differing, "unresolved": unresolved}


def _result(directory: Path) -> dict[str, Any]:
    try:
        about = json.loads(results.read_text(directory / "result.json"))
    except (OSError, ValueError, RecursionError):
        return {}  # the table says why
    return about if isinstance(about, dict) else {}


def _flatten(name: str, value: object, into: dict[str, str]) -> None:
    """Fill ``into`` with the leaves of nested dictionaries, by dotted key."""
    waiting = [(name, value)]
    while waiting and len(into) < _MOST_SETTINGS:
        name, value = waiting.pop()
        if isinstance(value, dict):
            inner = [(f"{name}.{key}" if name else str(key), v) for key, v in value.items()]
            waiting += reversed(inner)
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            into[name[:_SETTING]] = text[:_SETTING]


# --------------------------------------------------------------------------------------------
# Maps of the latent space


def latent_maps(
    by_run: Mapping[int, str], best: Sequence[int], notes: list[str]
) -> list[dict[str, Any]]:
    """Return the maps that ``cvae.explore`` has drawn of these runs, of the best ones first."""
    pictures: list[dict[str, Any]] = []
    order = [*(row for row in best if row in by_run), *(row for row in by_run if row not in best)]
    for row in order:
        try:
            content = (results.directory_of(by_run[row]) / "latent.png").read_bytes()
        except OSError:
            continue
        if not content.startswith(_PNG) or len(content) > _PICTURE_BYTES:
            notes.append(f"{by_run[row]}/latent.png: is no map of the latent space (left out)")
        elif len(pictures) == _PICTURES:
            notes.append(f"maps of the latent space are those of {_PICTURES} runs")
            break
        else:
            picture = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
            command = f"python -m cvae.explore {shlex.quote(by_run[row])}"
            pictures.append({"row": row, "command": command, "picture": picture})
    return pictures
