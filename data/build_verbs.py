"""Build verbs.csv, the verb table, from three published packages.

    python data/build_verbs.py WHEEL WORDNET_DEB SCOWL_DEB

The three files are the PyPI wheel pyinflect 0.5.1, and the Debian packages wordnet-base 1:3.0-37
and scowl 2020.12.07-2; each must have the SHA-256 below. The package `cvae` must be installed.
The table is committed, so nobody needs this script to use it; it says how the table came about.
The same inputs give the same bytes. README.md describes the columns.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import lzma
import re
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cvae.data import TABLE_COLUMNS, lemma_order, linked_groups
from cvae.inflection import is_regular

PYINFLECT_SHA256: Final = "94f052d48939bd4748942d807b2b87f15dcb94acb32b99d7162dba5d37188ea8"
WORDNET_SHA256: Final = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
SCOWL_SHA256: Final = "de692546df9b169f2cbdf4d8d88111a374733a9c382b820a6f943914ca705718"

LEVELS: Final = (10, 20, 35, 40)
"""The SCOWL levels used: 10 is the most common words; 40 is still ordinary English."""

REPORT_VERBS: Final = (
    "abandon", "abet", "begin", "expend", "send", "split", "flare", "function", "heal",
)  # fmt: skip
"""The verbs of the report's ten conversions, which measure fit: they must be training verbs."""

DROPPED: Final = {
    # No four forms: the present is am, are and is, the past was and were, so "be" is none of
    # the forms that the columns ask for.
    "be": "special row",
    # Modals have no progressive and no third person; AGID mixes them with the full verbs of
    # the same spelling (can a fish, will a fortune).
    **dict.fromkeys(("can", "may", "must", "shall", "will", "ought", "beware"), "modal"),
    # Abuse of groups of people, which a generator has no need to learn.
    **dict.fromkeys(("fag", "gyp", "welsh"), "slur"),
}

# Rows put right by hand: (third person, progressive, past); None keeps AGID's. AGID's order of
# forms is not a preference between senses, and the wheel lost AGID's marks for doubtful forms.
CORRECTIONS: Final[dict[str, tuple[str | None, str | None, str | None]]] = {
    # The first past belonged to another sense or is archaic; the usual one comes first.
    "abide": (None, None, "abided/abode"),
    "bide": (None, None, "bided/bode"),
    "cleave": (None, None, "clove/cleft/cleaved"),  # to split; to adhere is regular
    "lie": (None, None, "lay/lied"),
    "light": (None, None, "lit/lighted"),
    "relay": (None, None, "relayed/relaid"),
    "ring": (None, None, "rang/ringed"),
    "spit": (None, None, "spat/spit/spitted"),
    "sweat": (None, None, "sweated/sweat"),
    "tear": (None, None, "tore/teared"),
    "wind": (None, None, "wound/winded"),
    # Forms of another verb: bidding is not biding, a dyed cloth is not dying.
    "acquit": (None, "acquitting", "acquitted"),
    "bid": ("bids", "bidding", "bid/bade"),
    "dye": (None, "dyeing", None),
    "format": (None, "formatting", "formatted"),
    "read": (None, "reading", None),
    "recur": ("recurs", "recurring", "recurred"),
    "ski": ("skis", None, None),
    # AGID's script took the ending for a strong verb: cor|set, pro|fit, fil|let.
    "befit": (None, None, "befitted"),
    "benefit": (None, None, "benefited/benefitted"),
    "corset": (None, None, "corseted"),
    "fillet": (None, None, "filleted"),
    "outfit": (None, None, "outfitted"),
    "profit": (None, None, "profited"),
    "unfit": (None, None, "unfitted"),
    # A spelling that no dictionary has.
    "quiz": ("quizzes", None, None),
    # A usual form that AGID lacks.
    "knit": (None, None, "knitted/knit"),
    # The second person (thou dost) is not the third, and no tense of ours.
    "do": ("does/doth", None, "did"),
    "have": ("has/hath", None, "had"),
}

_SHORT_PREFIXES: Final = ("a", "be", "in", "re", "un", "up")
"""Prefixes of fewer than three letters that carry a strong verb along: awake, beset, inlay."""


class BuildError(ValueError):
    """A source that is not the file the table is built from."""


@dataclass(frozen=True)
class Verb:
    """One row before it is split: ``forms`` has four tuples of variants, preferred first."""

    forms: tuple[tuple[str, ...], ...]
    commonness: int

    @property
    def lemma(self) -> str:
        return self.forms[0][0]

    @property
    def preferred(self) -> tuple[str, ...]:
        return tuple(variants[0] for variants in self.forms)

    @property
    def regular(self) -> bool:
        return is_regular(self.preferred)

    @property
    def words(self) -> frozenset[str]:
        return frozenset(word for variants in self.forms for word in variants)


# --- Reading the sources -----------------------------------------------------------------------


def read_checked(path: Path, sha256: str, what: str) -> bytes:
    """Return the bytes of ``path``.

    Raises:
        BuildError: if it cannot be read or its SHA-256 is not ``sha256``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BuildError(f"{path}: cannot read {what}: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BuildError(f"{path}: not {what}: its SHA-256 is {found}, not {sha256}")
    return content


def debian_files(package: bytes) -> dict[str, bytes]:
    """Return path and content of the regular files in a .deb: an ar archive with data.tar.xz."""
    magic, header_size = b"!<arch>\n", 60
    if not package.startswith(magic):
        raise BuildError("not a Debian package: no ar header")
    position = len(magic)
    while position + header_size <= len(package):
        header = package[position : position + header_size]
        size = int(header[48:58])
        position += header_size
        if header[:16].rstrip(b" /") == b"data.tar.xz":
            data = lzma.decompress(package[position : position + size])
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                return {
                    member.name.removeprefix("./"): stream.read()
                    for member in archive.getmembers()
                    if member.isfile() and (stream := archive.extractfile(member)) is not None
                }
        position += size + size % 2  # members are padded to an even length
    raise BuildError("not a Debian package that this script can read: no data.tar.xz")


def wordnet_verbs(files: Mapping[str, bytes]) -> frozenset[str]:
    """Return the verbs of WordNet's index and of its list of irregular forms."""
    index = files["usr/share/wordnet/index.verb"].decode("ascii")
    exceptions = files["usr/share/wordnet/verb.exc"].decode("ascii")
    # Lines that start with a space are the licence.
    verbs = {line.split()[0] for line in index.splitlines() if not line.startswith(" ")}
    verbs.update(lemma for line in exceptions.splitlines() for lemma in line.split()[1:])
    return frozenset(verbs)


def scowl_levels(files: Mapping[str, bytes]) -> dict[str, int]:
    """Return each word's SCOWL level, from the lists for all English and for American."""
    levels: dict[str, int] = {}
    for level in sorted(LEVELS, reverse=True):
        for category in ("american", "english"):
            content = files[f"usr/share/dict/scowl/{category}-words.{level}"]
            levels.update(dict.fromkeys(content.decode("latin-1").split(), level))
    return levels


# --- Cleaning ----------------------------------------------------------------------------------


def drop_misread_variants(lemma: str, tense: int, variants: Sequence[str]) -> tuple[str, ...]:
    """Drop repeated variants and those that are forms of another verb, one in -e.

    AGID marks *staring* under *star* as "likely an inflection of a similar word, generally one
    ending in e"; the wheel lost the mark. Such a form is the lemma with a bare ending although
    English doubles the last consonant (star > staring, quit > quiting), or has -es where
    English has -s (sell > selles), or -eed (raze > razeed). The first form always stays.
    """
    kept = list(dict.fromkeys(variants))
    first = kept[0]
    bare = lemma + ("", "es", "ing", "ed")[tense]
    if tense == 1:
        misread = not re.search(r"(?:[sxzoi]|ch|sh)$", lemma)
    else:
        syllables = len(re.findall("[aeiouy]+", lemma.replace("qu", "q").removeprefix("y")))
        doubled = first.startswith(lemma + lemma[-1]) or re.fullmatch(
            r"(?:[^aeiou]*|.*qu)[aeiouy][bdfgklmnprtvz]", lemma
        )
        misread = bool(syllables == 1 and doubled) or (tense == 3 and lemma.endswith("e"))
    return tuple(word for word in kept if word == first or not (misread and word == bare))


def read_verbs(
    inflections: str, is_verb: frozenset[str], levels: Mapping[str, int]
) -> tuple[list[Verb], Counter[str]]:
    """Return the verbs to ship, sorted by lemma, and how many rows each step dropped."""
    verbs: list[Verb] = []
    dropped: Counter[str] = Counter()
    corrected: set[str] = set()
    for line in inflections.splitlines():
        lemma, part_of_speech, *fields = line.split(",")
        if part_of_speech != "V":
            continue
        if lemma in DROPPED:
            dropped[DROPPED[lemma]] += 1
            continue
        # AGID's order is past, past participle, progressive, third person; special rows differ.
        if len(fields) != 4:
            dropped["not four forms"] += 1
            continue
        if lemma not in is_verb:
            dropped["no verb of WordNet"] += 1
            continue
        fixes = (None, *CORRECTIONS.get(lemma, (None, None, None)))
        corrected.update({lemma} & CORRECTIONS.keys())
        given = (lemma, fields[3], fields[2], fields[0])
        forms = tuple(
            drop_misread_variants(lemma, tense, listed.split("/")) if fix is None
            else tuple(fix.split("/"))
            for tense, (listed, fix) in enumerate(zip(given, fixes, strict=True))
        )  # fmt: skip
        unknown = max(LEVELS) + 1
        # A form is as common as its most common spelling: SCOWL lists one of abode and abided.
        commonness = max(min(levels.get(word, unknown) for word in variants) for variants in forms)
        if commonness == unknown:
            dropped[f"a form beyond SCOWL {max(LEVELS)}"] += 1
            continue
        if not all(re.fullmatch("[a-z]{2,16}", word) for words in forms for word in words):
            dropped["not 2 to 16 letters a to z"] += 1
            continue
        verbs.append(Verb(forms, commonness))
    if missing := CORRECTIONS.keys() - corrected:
        raise BuildError(f"corrections for verbs that AGID lacks: {', '.join(sorted(missing))}")
    return sorted(verbs, key=lambda verb: verb.lemma), dropped


# --- The split ---------------------------------------------------------------------------------

HELD_OUT: Final = {
    # (common, irregular): verbs for dev, and as many for test. "Common" is SCOWL <= 20.
    (True, False): 100,
    (True, True): 18,
    (False, False): 210,
    (False, True): 8,
}
COMMON_SET_HELD_OUT_RARER: Final = 100
"""Of the rarer regular held-out verbs, how many the common set's dev takes, and its test."""

COMMON_SET_TRAIN: Final = 1200
"""Training verbs of the common set."""


def families(verbs: Sequence[Verb]) -> list[list[Verb]]:
    """Group the verbs that must not be apart, so that no test verb is half known from training.

    Two verbs belong together if they share any spelling (lie, lay; find, found), or if both are
    irregular and the forms of one are those of the other behind a prefix (go, undergo, forgo).
    Regular relatives (cover, discover) may be apart: they share a stem, not a pattern.
    Families come in the order of the hash of their first lemma.
    """
    irregular = {verb.preferred: verb.lemma for verb in verbs if not verb.regular}

    def links(verb: Verb) -> Iterable[str]:
        yield from sorted(verb.words)
        if verb.regular:
            return
        # With a sign that is in no word, the base is a link like a shared spelling.
        yield f"={verb.lemma}"
        for cut in range(1, len(verb.lemma) - 1):
            prefix = verb.lemma[:cut]
            carries = len(prefix) >= 3 or prefix in _SHORT_PREFIXES
            if carries and all(form.startswith(prefix) for form in verb.preferred):
                base = irregular.get(tuple(form[cut:] for form in verb.preferred))
                if base is not None:
                    yield f"={base}"

    groups = linked_groups([list(links(verb)) for verb in verbs])
    found = [[verbs[index] for index in group] for group in groups]
    return sorted(found, key=lambda family: lemma_order(min(v.lemma for v in family)))


def assign_splits(verbs: Sequence[Verb]) -> dict[str, tuple[str, str]]:
    """Return ``(split, common_split)`` by lemma; ``common_split`` is empty outside that set.

    Families go to dev and test in the order of their first lemma's hash, until the numbers in
    HELD_OUT are reached in each stratum, so that common and rarer, regular and irregular verbs
    all stand in each part. The common set's dev and test are parts of the whole table's, and
    its training verbs are training verbs there too: no verb is a test verb of one set and a
    training verb of the other.
    """
    split = {verb.lemma: "train" for verb in verbs}
    taken: Counter[tuple[str, tuple[bool, bool]]] = Counter()
    for family in families(verbs):
        if any(verb.lemma in REPORT_VERBS for verb in family):
            continue
        stratum = (
            any(verb.commonness <= 20 for verb in family),
            any(not verb.regular for verb in family),
        )
        for part in ("test", "dev"):
            # A family that would overshoot stays in training: one large family (stand,
            # understand, withstand) must not fill a whole part.
            if taken[part, stratum] + len(family) <= HELD_OUT[stratum]:
                taken[part, stratum] += len(family)
                split.update((verb.lemma, part) for verb in family)
                break
    common = {verb.lemma: "" for verb in verbs}
    by_order = sorted(verbs, key=lambda verb: lemma_order(verb.lemma))
    for part in ("dev", "test"):
        rarer = 0
        for verb in by_order:
            if split[verb.lemma] != part:
                continue
            # Irregular verbs are too few to leave one out.
            if verb.commonness > 20 and verb.regular:
                rarer += 1
                if rarer > COMMON_SET_HELD_OUT_RARER:
                    continue
            common[verb.lemma] = part
    # The report's verbs first, then the most common; level 35 fills up in the order of the hash.
    trainable = sorted(
        (verb for verb in by_order if split[verb.lemma] == "train"),
        key=lambda verb: (verb.lemma not in REPORT_VERBS, max(verb.commonness, 20)),
    )
    for verb in trainable[:COMMON_SET_TRAIN]:
        common[verb.lemma] = "train"
    return {lemma: (split[lemma], common[lemma]) for lemma in split}


# --- Writing -----------------------------------------------------------------------------------


def table_text(verbs: Sequence[Verb]) -> str:
    """Return the table as CSV, with "\\n" at the end of each line."""
    splits = assign_splits(verbs)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(TABLE_COLUMNS)
    for verb in verbs:
        writer.writerow(
            [
                *("/".join(variants) for variants in verb.forms),
                int(verb.regular),
                verb.commonness,
                *splits[verb.lemma],
            ]
        )
    return stream.getvalue()


def summary(verbs: Sequence[Verb], dropped: Mapping[str, int]) -> Iterable[str]:
    """Yield the lines that the script prints at its end."""
    splits = assign_splits(verbs)
    variants = sum(len(words) > 1 for verb in verbs for words in verb.forms)
    irregular = sum(not verb.regular for verb in verbs)
    yield f"{len(verbs)} verbs, {irregular} irregular; {variants} forms with variants"
    for reason, count in sorted(dropped.items()):
        yield f"  {count:6d} rows dropped: {reason}"
    for column, name in enumerate(("large", "common")):
        for part in ("train", "dev", "test"):
            chosen = [verb for verb in verbs if splits[verb.lemma][column] == part]
            levels = Counter(verb.commonness for verb in chosen)
            yield (
                f"{name:7s}{part:6s}{len(chosen):5d} verbs,"
                f"{sum(not verb.regular for verb in chosen):4d} irregular; by commonness "
                + ", ".join(f"{level}: {levels[level]}" for level in LEVELS)
            )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the verb table from its sources.")
    parser.add_argument("wheel", type=Path, help="the PyPI wheel pyinflect 0.5.1")
    parser.add_argument("wordnet", type=Path, help="the Debian package wordnet-base 1:3.0-37")
    parser.add_argument("scowl", type=Path, help="the Debian package scowl 2020.12.07-2")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("verbs.csv"), help="the table"
    )
    options = parser.parse_args(arguments)
    try:
        wheel = read_checked(options.wheel, PYINFLECT_SHA256, "the wheel pyinflect 0.5.1")
        wordnet = read_checked(options.wordnet, WORDNET_SHA256, "wordnet-base 1:3.0-37")
        scowl = read_checked(options.scowl, SCOWL_SHA256, "scowl 2020.12.07-2")
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            inflections = archive.read("pyinflect/infl.csv").decode("utf-8")
        verbs, dropped = read_verbs(
            inflections,
            wordnet_verbs(debian_files(wordnet)),
            scowl_levels(debian_files(scowl)),
        )
        options.output.write_text(table_text(verbs), encoding="ascii", newline="\n")
    except (BuildError, OSError) as error:
        print(f"build_verbs: {error}", file=sys.stderr)
        return 2
    for line in summary(verbs, dropped):
        print(line)
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
