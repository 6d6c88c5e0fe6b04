"""Verbs for training and evaluation: the shipped table, and users' own files.

Nothing is ignored silently. If rows cannot be used, one :class:`DataError` names all of them.
Unusual but unambiguous input (capitals, commas, a header, empty lines, UTF-16) is accepted, with
one warning per file that says how it was read. Repeated rows are dropped with a warning.
"""

from __future__ import annotations

import codecs
import hashlib
import itertools
import json
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Literal, TypeVar

from cvae.alphabet import TENSES, WordError, read_word
from cvae.inflection import convert, is_regular

Forms = tuple[str, str, str, str]
"""The four forms of a verb, in the order of ``alphabet.TENSES``."""

Variants = tuple[str, ...]
"""The accepted spellings of one form, preferred first; never empty."""

SHOWN_PROBLEMS: Final = 20
"""How many bad rows the text of a :class:`DataError` lists; the rest are counted."""

_MARKS: Final = {
    codecs.BOM_UTF8: "UTF-8",
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_NO_TEXT: Final = {
    b"PK\x03\x04": "is a spreadsheet or another zip archive; export it as text",
    b"\x1f\x8b": "is compressed (gzip); decompress it first",
    b"%PDF": "is a PDF; export it as text",
}
_BLANKS: Final = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_HEADER_WORDS: Final = frozenset(
    {"simple", "present", "third", "rd", "person", "singular", "progressive", "continuous"}
    | {"participle", "gerund", "ing", "past", "preterite", "infinitive", "base", "lemma", "verb"}
    | {"form", "tense", "word", "source", "target", "input", "output", "sp", "tp", "pg", "p"}
)
"""Words that occur in column names; no verb has all four of its forms among them."""

TABLE_COLUMNS: Final = (*TENSES, "regular", "commonness", "split", "common_split")

REPORT_CONVERSIONS: Final = (
    ("abandon", 0, "abandoned", 3),
    ("abet", 0, "abetting", 2),
    ("begin", 0, "begins", 1),
    ("expend", 0, "expends", 1),
    ("sent", 3, "sends", 1),
    ("split", 0, "splitting", 2),
    ("flared", 3, "flare", 0),
    ("functioning", 2, "function", 0),
    ("functioning", 2, "functioned", 3),
    ("healing", 2, "heals", 1),
)
"""The report's test: (source, source tense, target, target tense).

All its verbs are training verbs, so these ten measure fit, not generalisation.
"""

REPORT_TENSES: Final = tuple((source, target) for _, source, _, target in REPORT_CONVERSIONS)


class DataError(ValueError):
    """Raised for bad data; ``problems`` has one "file:line: reason" for each bad row."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: Final = tuple(problems)
        shown = list(self.problems[:SHOWN_PROBLEMS])
        if len(self.problems) > len(shown):
            shown.append(f"... and {len(self.problems) - len(shown)} more")
        if len(self.problems) == 1:
            super().__init__(shown[0])
        else:
            super().__init__("\n  ".join([f"{len(self.problems)} problems in the data:", *shown]))

    def __reduce__(self) -> tuple[type[DataError], tuple[tuple[str, ...]]]:
        # Errors of trials are pickled; by default, the message would be passed to __init__.
        return type(self), (self.problems,)


@dataclass(frozen=True)
class Paradigm:
    """The four forms of a verb, each with its accepted spellings, in the order of TENSES."""

    forms: tuple[Variants, Variants, Variants, Variants]
    regular: bool

    @property
    def preferred(self) -> Forms:
        """The first spelling of each form, which is used for training and as a source."""
        first, second, third, fourth = self.forms
        return first[0], second[0], third[0], fourth[0]

    def accepts(self, words: Sequence[str]) -> bool:
        """Whether ``words`` are these four forms, each in any accepted spelling."""
        return len(words) == len(TENSES) and all(
            word in variants for word, variants in zip(words, self.forms, strict=True)
        )


@dataclass(frozen=True)
class Pair:
    """A conversion to evaluate: a word and its tense, a target tense, the accepted answers."""

    source: str
    source_tense: int
    target_tense: int
    accepted: Variants
    regular: bool

    @property
    def target(self) -> str:
        """The preferred answer: the reference for BLEU and edit distance."""
        return self.accepted[0]


@dataclass(frozen=True)
class Dataset:
    """Training, dev and test verbs; no spelling of a held-out verb is in training.

    ``report_pairs`` are the report's ten conversions or the user's test file, usually of training
    verbs. ``known`` are all verbs that count as real, including the training verbs.
    """

    name: str
    train: tuple[Paradigm, ...]
    dev: tuple[Paradigm, ...]
    test: tuple[Paradigm, ...]
    report_pairs: tuple[Pair, ...]
    known: tuple[Paradigm, ...]

    @cached_property
    def known_verbs(self) -> frozenset[Forms]:
        """The preferred forms of every known verb."""
        return frozenset(paradigm.preferred for paradigm in self.known)

    @cached_property
    def _known_by_lemma(self) -> dict[str, list[Paradigm]]:
        index: dict[str, list[Paradigm]] = defaultdict(list)
        for paradigm in self.known:
            for lemma in paradigm.forms[0]:
                index[lemma].append(paradigm)
        return dict(index)

    @cached_property
    def digest(self) -> str:
        """A short text that is equal where all verbs and pairs are, in their order."""
        verbs = [[p.forms for p in part] for part in (self.train, self.dev, self.test)]
        pairs = [(p.source, p.source_tense, p.target_tense, p.accepted) for p in self.report_pairs]
        content = json.dumps([verbs, pairs])
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    @cached_property
    def tenses_of_words(self) -> dict[str, frozenset[int]]:
        """The tenses in which each spelling is a form of a known verb: *put* is a past, too."""
        found: dict[str, set[int]] = defaultdict(set)
        for paradigm in self.known:
            for tense, variants in enumerate(paradigm.forms):
                for word in variants:
                    found[word].add(tense)
        return {word: frozenset(tenses) for word, tenses in found.items()}

    def is_known(self, words: Sequence[str]) -> bool:
        """Whether ``words`` are the four forms of a known verb, each in any accepted spelling."""
        if len(words) != len(TENSES):
            return False
        candidates = self._known_by_lemma.get(words[0], [])
        return any(paradigm.accepts(words) for paradigm in candidates)


def pairs_of(
    paradigms: Sequence[Paradigm],
    *,
    include_same: bool = True,
    among: Sequence[Paradigm] | None = None,
) -> tuple[Pair, ...]:
    """Return all conversions of each paradigm: 16, or 12 without those to the same tense.

    Sources are preferred spellings; all listed spellings are accepted as answers. Where the same
    word in the same tense belongs to several verbs, their answers are accepted too, after the
    paradigm's own: *putting* is a form of *put* and of *putt*, and no model can tell which is
    meant. The pairs are ordered by paradigm, then source tense, then target tense.

    Args:
        among: the verbs that a source may belong to; None for ``paradigms``.
    """
    sharing: dict[tuple[str, int], list[Paradigm]] = defaultdict(list)
    for paradigm in paradigms if among is None else among:
        for tense, word in enumerate(paradigm.preferred):
            sharing[word, tense].append(paradigm)
    pairs = []
    for paradigm in paradigms:
        for source_tense, source in enumerate(paradigm.preferred):
            for target_tense, own in enumerate(paradigm.forms):
                if not include_same and source_tense == target_tense:
                    continue
                others = (other.forms[target_tense] for other in sharing[source, source_tense])
                accepted = tuple(dict.fromkeys(itertools.chain(own, *others)))
                pairs.append(Pair(source, source_tense, target_tense, accepted, paradigm.regular))
    return tuple(pairs)


def lemma_order(lemma: str) -> str:
    """Sort key for a fixed shuffle: held-out verbs are taken in this order, never at random."""
    return hashlib.sha256(lemma.encode()).hexdigest()


def linked_groups(word_sets: Sequence[Iterable[str]]) -> list[list[int]]:
    """Group the indices of ``word_sets`` that share words, directly or through other sets.

    The verbs of a group must not be split between training and held-out sets: *lie* and *lay*
    share the spelling *lay*. Groups and their members are in ascending order.
    """
    parent = list(range(len(word_sets)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first_with: dict[str, int] = {}
    for index, words in enumerate(word_sets):
        for word in words:
            low, high = sorted((root(first_with.setdefault(word, index)), root(index)))
            parent[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(word_sets)):
        groups[root(index)].append(index)
    return list(groups.values())


# --- Reading lines -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of a text file: its number, from 1, and its text, or the reason it cannot be read."""

    number: int
    text: str
    fault: str | None = None


def read_lines(content: bytes) -> tuple[list[Line], list[str]]:
    """Return the lines of a text file, and a note for each unusual property.

    UTF-8, with or without a byte order mark, and LF or CRLF line ends are usual. Blank lines at the
    end are dropped.

    Raises:
        ValueError: if the content is not text or its encoding is unknown; the message says what it
            is.
    """
    notes = []
    for beginning, what in _NO_TEXT.items():
        if content.startswith(beginning):
            raise ValueError(what)
    encoding = next((_MARKS[mark] for mark in _MARKS if content.startswith(mark)), "UTF-8")
    if encoding != "UTF-8":
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"begins as {encoding}, but is damaged at byte {error.start}; save it as UTF-8"
            ) from None
        notes.append(f"it is in {encoding}")
    content = content.removeprefix(codecs.BOM_UTF8)
    nul = content.find(b"\0")
    if nul >= 0:
        halves = (content[0::2].count(0), content[1::2].count(0))
        if max(halves) > len(content) / 4:
            raise ValueError("looks like UTF-16 without a byte order mark; save it as UTF-8")
        number = content.count(b"\n", 0, nul) + 1
        raise ValueError(
            f"is not a text file: line {number} contains a NUL character; save it as UTF-8 text"
        )
    if b"\r" in content and b"\n" not in content:
        content = content.replace(b"\r", b"\n")
        notes.append("its lines end in CR")
    lines = [line.rstrip(b"\r") for line in content.split(b"\n")]
    while lines and not lines[-1].strip(b" \t"):
        lines.pop()
    return [_line(number, line) for number, line in enumerate(lines, start=1)], notes


def _line(number: int, content: bytes) -> Line:
    try:
        return Line(number, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        byte = f"byte 0x{content[error.start]:02x} at position {error.start + 1}"
        return Line(number, "", f"not UTF-8: {byte}; save the file as UTF-8")


def _lines_of(path: Path, problems: list[str], notes: list[str]) -> list[Line]:
    """Return the lines of a file; add to ``problems`` if it cannot be read or is empty."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            # Reading a named pipe would block, and a device may have no end.
            problems.append(f"{path}: is not a regular file")
            return []
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        # ValueError: a path with a NUL character.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(f"{path}: cannot be read: {reason}")
        return []
    try:
        lines, unexpected = read_lines(content)
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return []
    notes += unexpected
    if not lines:
        problems.append(f"{path}: empty file")
    return lines


def _read_rows(path: Path, width: int, problems: list[str]) -> list[tuple[str, ...]]:
    """Return rows of ``width`` words; add faults to ``problems``.

    Words are separated by spaces, tabs, commas or semicolons.
    """
    number_name = {2: "two words (source target)", 4: "four words"}[width]
    notes: list[str] = []
    before = len(problems)
    lines = _lines_of(path, problems, notes)
    if lines and _is_header(lines[0].text, width):
        notes.append("line 1 is a header and is skipped")
        del lines[0]
    rows = []
    places: dict[str, list[int]] = defaultdict(list)  # line numbers by what was interpreted
    for line in lines:
        text, fault = _BLANKS.sub(" ", line.text).strip(" \t"), line.fault
        if text == "" and fault is None:
            places["empty lines are skipped"].append(line.number)
            continue
        cells = re.split(r"[ \t]*[,;][ \t]*|[ \t]+", text.rstrip(" \t,;"))
        if fault is None and len(cells) != width:
            fault = f"expected {number_name}, found {len(cells)}"
        if fault is None:
            words, faults = _words(cells)
            fault = "; ".join(faults) or None
        if fault is not None:
            problems.append(f"{path}:{line.number}: {fault}")
            continue
        rows.append(words)
        if list(words) != cells:
            places["capitals are read in lower case"].append(line.number)
        if re.search("[,;]", text):
            places["words are separated by commas or semicolons"].append(line.number)
        if _BLANKS.search(line.text):
            places["Unicode spaces are read as spaces"].append(line.number)
    if not rows and len(problems) == before:
        problems.append(f"{path}: contains no words")
    notes += [f"{what} ({_lines_named(numbers)})" for what, numbers in places.items()]
    if notes and not problems:
        warnings.warn(f"{path}: {'; '.join(notes)}", stacklevel=3)
    return rows


def _is_header(text: str, width: int) -> bool:
    """Whether a line holds column names and not a verb to train on."""
    names = re.findall("[a-z]+", text.lower())
    return len(names) >= width and len(set(names)) > 1 and _HEADER_WORDS.issuperset(names)


def _words(cells: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    words, faults = [], []
    for cell in cells:
        try:
            words.append(read_word(cell))
        except WordError as error:
            faults.append(str(error))
    return tuple(words), faults


def _lines_named(numbers: Sequence[int]) -> str:
    return f"line {numbers[0]}" + (f" and {len(numbers) - 1} more" if len(numbers) > 1 else "")


# --- The shipped table -------------------------------------------------------------------------


def default_table_path() -> Path:
    """Return the path of the shipped table: inside an installed package, or in the checkout.

    In a wheel it is ``cvae/_data/verbs.csv``, because this module already has the name
    ``cvae/data``.
    """
    package = Path(__file__).resolve().parent
    installed = package / "_data" / "verbs.csv"
    return installed if installed.is_file() else package.parent / "data" / "verbs.csv"


@dataclass(frozen=True)
class _TableRow:
    paradigm: Paradigm
    split: str
    common_split: str


def _parse_table_row(text: str) -> _TableRow | str:
    """Return the row in a line of the table, or a message that says what is wrong with it."""
    cells = text.split(",")
    if len(cells) != len(TABLE_COLUMNS):
        return f"expected {len(TABLE_COLUMNS)} columns, found {len(cells)}"
    first, second, third, fourth = (tuple(cell.split("/")) for cell in cells[:4])
    forms = (first, second, third, fourth)
    regular, commonness, split, common_split = cells[4:]
    spellings = [word for words in forms for word in words]
    read, faults = _words(spellings)
    if not faults and list(read) != spellings:
        faults.append("words must be in lower case")
    if regular not in ("0", "1"):
        faults.append(f"regular is {regular!a}, not 0 or 1")
    if not re.fullmatch("[0-9]{1,2}", commonness):
        faults.append(f"commonness is {commonness!a}, not a SCOWL level")
    for name, value, allowed in (
        ("split", split, ("train", "dev", "test")),
        ("common_split", common_split, ("train", "dev", "test", "")),
    ):
        if value not in allowed:
            faults.append(f"{name} is {value!a}, not one of {', '.join(allowed[:3])}")
    if faults:
        return "; ".join(faults)
    return _TableRow(Paradigm(forms, regular == "1"), split, common_split)


def _read_table(path: Path) -> tuple[_TableRow, ...]:
    """Read a table in the format of ``data/verbs.csv``.

    Raises:
        DataError: naming every bad row.
    """
    problems: list[str] = []
    rows: list[_TableRow] = []
    lines = _lines_of(path, problems, [])
    if lines and lines[0].text != ",".join(TABLE_COLUMNS):
        raise DataError([f"{path}:1: the columns must be {','.join(TABLE_COLUMNS)}"])
    if len(lines) == 1:
        problems.append(f"{path}: no verbs below the column names")
    for line in lines[1:]:
        row = line.fault or _parse_table_row(line.text)
        if isinstance(row, str):
            problems.append(f"{path}:{line.number}: {row}")
        else:
            rows.append(row)
    if problems:
        raise DataError(problems)
    return tuple(rows)


@cache
def _shipped_table() -> tuple[_TableRow, ...]:
    """The shipped table; cached because it does not change and a run reads it more than once."""
    return _read_table(default_table_path())


def _pairs(
    conversions: Iterable[tuple[str, int, str, int]], known: Sequence[Paradigm]
) -> tuple[Pair, ...]:
    """Turn conversions (source, source tense, target, target tense) into pairs.

    The other spellings and the regular flag come from the verb in ``known``. A conversion of an
    unknown verb accepts only its own target, and is regular if the rules give that target.
    """
    by_source: dict[tuple[str, int], list[Paradigm]] = defaultdict(list)
    for paradigm in known:
        for tense, variants in enumerate(paradigm.forms):
            for word in variants:
                by_source[word, tense].append(paradigm)
    pairs = []
    for source, source_tense, target, target_tense in conversions:
        accepted: Variants = (target,)
        regular = convert(source, source_tense, target_tense) == target
        for paradigm in by_source.get((source, source_tense), []):
            variants = paradigm.forms[target_tense]
            if target in variants:
                accepted = (target, *(word for word in variants if word != target))
                regular = paradigm.regular
                break
        pairs.append(Pair(source, source_tense, target_tense, accepted, regular))
    return tuple(pairs)


def load_table(name: Literal["common", "large"], path: str | Path | None = None) -> Dataset:
    """Return the shipped verbs: "large" is all of them, "common" about 1,200 for training.

    Args:
        name: the set. Both sets are columns of the same table, and no verb is a training verb of
            one set and a held-out verb of the other.
        path: another table in the format of ``data/verbs.csv``.

    Raises:
        DataError: if the table cannot be read, or ``name`` is neither set.
    """
    if name not in ("common", "large"):
        raise DataError([f"there is no verb set {name!r}; allowed: common, large"])
    rows = _shipped_table() if path is None else _read_table(Path(path))
    parts: dict[str, list[Paradigm]] = {"train": [], "dev": [], "test": [], "": []}
    for row in rows:
        parts[row.common_split if name == "common" else row.split].append(row.paradigm)
    known = tuple(row.paradigm for row in rows)
    return Dataset(
        name=name,
        train=tuple(parts["train"]),
        dev=tuple(parts["dev"]),
        test=tuple(parts["test"]),
        report_pairs=_pairs(REPORT_CONVERSIONS, known),
        known=known,
    )


# --- Users' files ------------------------------------------------------------------------------

_Row = TypeVar("_Row", bound=tuple[object, ...])


def _without_repeats(rows: Sequence[_Row], path: Path) -> list[_Row]:
    """Keep the first of repeated rows; warn once with the number of dropped rows."""
    distinct = list(dict.fromkeys(rows))
    if len(distinct) < len(rows):
        dropped = len(rows) - len(distinct)
        noun = "repeated row was" if dropped == 1 else "repeated rows were"
        warnings.warn(f"{path}: {dropped} {noun} dropped", stacklevel=3)
    return distinct


def _paradigm(words: tuple[str, ...]) -> Paradigm:
    first, second, third, fourth = words
    return Paradigm(((first,), (second,), (third,), (fourth,)), is_regular(words))


def _hold_out(
    paradigms: Sequence[Paradigm], dev_count: int, pairs: Sequence[Pair], path: Path
) -> tuple[tuple[Paradigm, ...], tuple[Paradigm, ...]]:
    """Return (train, dev) with ``dev_count`` verbs in dev that share no word with training.

    Groups are taken in the order of :func:`lemma_order`, so the split does not depend on the order
    of the file. Verbs of the test pairs stay in training, as in the report.
    """
    tested = {word for pair in pairs for word in (pair.source, *pair.accepted)}
    groups = linked_groups([paradigm.preferred for paradigm in paradigms])
    groups.sort(key=lambda group: min(lemma_order(paradigms[i].preferred[0]) for i in group))
    dev: set[int] = set()
    for group in groups:
        fits = len(dev) + len(group) <= dev_count
        if fits and not any(tested.intersection(paradigms[i].preferred) for i in group):
            dev.update(group)
    if len(dev) < dev_count or len(dev) == len(paradigms):
        raise DataError(
            [
                f"{path}: dev_count is {dev_count}, but only {len(dev)} of its {len(paradigms)} "
                "verbs can be held out: those of the test pairs, verbs that share a word with "
                "them, and at least one more stay in training"
            ]
        )
    indices = range(len(paradigms))
    return (
        tuple(paradigms[i] for i in indices if i not in dev),
        tuple(paradigms[i] for i in indices if i in dev),
    )


def _check_tenses(test_tenses: Sequence[Sequence[int]]) -> None:
    for number, tenses in enumerate(test_tenses):
        if len(tenses) != 2 or any(tense not in range(len(TENSES)) for tense in tenses):
            raise DataError(
                [f"test_tenses[{number}] is {list(tenses)}, not two of the tenses 0, 1, 2, 3"]
            )


def load_files(
    train_path: str | Path,
    test_path: str | Path | None = None,
    *,
    test_tenses: Sequence[Sequence[int]] = REPORT_TENSES,
    dev_count: int = 0,
) -> Dataset:
    """Return verbs from files in the format that is usual for this task.

    A UTF-8 byte order mark, CRLF line ends, trailing blank lines, and several spaces or tabs
    between words are accepted. UTF-16 with a byte order mark, CR line ends, a header, empty lines,
    Unicode spaces, commas or semicolons between words, and capitals are accepted with one warning
    per file. Repeated rows are dropped with one warning per file.

    Args:
        train_path: four words per line: simple present, third person, progressive, past.
        test_path: two words per line, source and target; None for the report's ten conversions.
        test_tenses: (source tense, target tense) of each line of the test file.
        dev_count: number of verbs to hold out for dev, chosen by a hash of the lemma.

    Raises:
        DataError: naming file, line and reason of every row that cannot be used (wrong number
            of words, a word that ``alphabet.read_word`` refuses, not UTF-8); or if a file cannot be
            read or is not text; or if ``test_tenses`` or ``dev_count`` do not match the files.
    """
    train_path = Path(train_path)
    _check_tenses(test_tenses)
    if dev_count < 0:
        raise DataError([f"dev_count is {dev_count}; it must be 0 or more"])
    problems: list[str] = []
    train_rows = _read_rows(train_path, 4, problems)
    test_rows: list[tuple[str, ...]] = []
    if test_path is not None:
        test_path = Path(test_path)
        before = len(problems)
        test_rows = _read_rows(test_path, 2, problems)
        # With bad rows, the count would only report the same fault again.
        if len(problems) == before and len(test_rows) != len(test_tenses):
            problems.append(
                f"{test_path}: {len(test_rows)} rows, but test_tenses has {len(test_tenses)}"
            )
    if problems:
        raise DataError(problems)

    train = [_paradigm(words) for words in _without_repeats(train_rows, train_path)]
    shipped = tuple(row.paradigm for row in _shipped_table())
    known = (*train, *shipped)
    if test_path is None:
        pairs = _pairs(REPORT_CONVERSIONS, known)
    else:
        rows = [
            (source, int(source_tense), target, int(target_tense))
            for (source, target), (source_tense, target_tense) in zip(
                test_rows, test_tenses, strict=True
            )
        ]
        pairs = _pairs(_without_repeats(rows, test_path), known)
    dev: tuple[Paradigm, ...] = ()
    kept = tuple(train)
    if dev_count:
        kept, dev = _hold_out(train, dev_count, pairs, train_path)
    return Dataset(name="files", train=kept, dev=dev, test=(), report_pairs=pairs, known=known)
