"""The committed verb table: its content, its split, and the script that builds it."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cvae.data import REPORT_CONVERSIONS, TABLE_COLUMNS, Paradigm, default_table_path, load_table
from cvae.inflection import is_regular

DATA = Path(__file__).parent.parent / "data"
SETS = ("common", "large")
REPORT_VERBS = {
    "abandon", "abet", "begin", "expend", "send", "split", "flare", "function", "heal",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (DATA / "verbs.csv").open(encoding="ascii", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The build script, which is outside the package, as a module."""
    spec = importlib.util.spec_from_file_location("build_verbs", DATA / "build_verbs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module by name.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


@pytest.fixture(scope="module")
def verbs(script: ModuleType, rows: list[dict[str, str]]) -> list:  # type: ignore[type-arg]
    """The rows of the table as the script has them before the split."""
    return [
        script.Verb(
            tuple(tuple(row[column].split("/")) for column in TABLE_COLUMNS[:4]),
            int(row["commonness"]),
        )
        for row in rows
    ]


def words_of(paradigms: tuple[Paradigm, ...]) -> set[str]:
    return {word for paradigm in paradigms for variants in paradigm.forms for word in variants}


def test_the_tests_read_the_table_of_the_checkout_or_the_same_one() -> None:
    assert default_table_path().read_bytes() == (DATA / "verbs.csv").read_bytes()


def test_columns_order_and_characters(rows: list[dict[str, str]]) -> None:
    assert tuple(rows[0]) == TABLE_COLUMNS
    lemmas = [row["simple_present"] for row in rows]
    assert lemmas == sorted(lemmas)
    assert len(set(lemmas)) == len(lemmas) >= 4700
    for row in rows:
        for column in TABLE_COLUMNS[:4]:
            variants = row[column].split("/")
            assert len(set(variants)) == len(variants), row
            assert all(re.fullmatch("[a-z]{2,16}", word) for word in variants), row
        assert row["commonness"] in ("10", "20", "35", "40")


def test_the_flag_is_the_rules_definition(rows: list[dict[str, str]]) -> None:
    for row in rows:
        preferred = [row[column].split("/")[0] for column in TABLE_COLUMNS[:4]]
        assert row["regular"] == str(int(is_regular(preferred))), row


@pytest.mark.parametrize(
    ("name", "counts", "irregular"),
    [("large", (4381, 336, 336), (185, 25, 25)), ("common", (1200, 225, 225), (121, 25, 25))],
)
def test_counts(name: str, counts: tuple[int, ...], irregular: tuple[int, ...]) -> None:
    dataset = load_table(name)  # type: ignore[arg-type]
    parts = (dataset.train, dataset.dev, dataset.test)
    assert tuple(len(part) for part in parts) == counts
    assert tuple(sum(not p.regular for p in part) for part in parts) == irregular


@pytest.mark.parametrize("name", SETS)
def test_no_spelling_is_in_two_parts(name: str) -> None:
    dataset = load_table(name)  # type: ignore[arg-type]
    train, dev, test = map(words_of, (dataset.train, dataset.dev, dataset.test))
    assert not train & dev
    assert not train & test
    assert not dev & test


def test_no_verb_is_trained_on_in_one_set_and_held_out_in_the_other(
    rows: list[dict[str, str]],
) -> None:
    for row in rows:
        assert row["common_split"] in ("", row["split"]), row
    # Nor is any of its spellings.
    common, large = load_table("common"), load_table("large")
    assert not words_of(common.train) & (words_of(large.dev) | words_of(large.test))


def test_held_out_verbs_of_the_common_set_are_half_common(rows: list[dict[str, str]]) -> None:
    for part in ("dev", "test"):
        chosen = [row for row in rows if row["common_split"] == part]
        common = sum(int(row["commonness"]) <= 20 for row in chosen)
        assert 0.4 <= common / len(chosen) <= 0.6
    training = [row for row in rows if row["common_split"] == "train"]
    assert sum(int(row["commonness"]) <= 20 for row in training) / len(training) > 0.8


@pytest.mark.parametrize("name", SETS)
def test_the_reports_verbs_are_training_verbs_in_its_order(name: str) -> None:
    dataset = load_table(name)  # type: ignore[arg-type]
    trained = {paradigm.preferred for paradigm in dataset.train}
    assert {forms[0] for forms in trained} >= REPORT_VERBS
    found = [(p.source, p.source_tense, p.target, p.target_tense) for p in dataset.report_pairs]
    assert found == list(REPORT_CONVERSIONS)
    for pair in dataset.report_pairs:
        assert any(
            forms[pair.source_tense] == pair.source and forms[pair.target_tense] == pair.target
            for forms in trained
        ), pair
    assert [pair.regular for pair in dataset.report_pairs] == [
        True, True, False, True, False, False, True, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lemma", "column", "cell"),
    [
        ("travel", "past", "traveled/travelled"),
        ("ring", "past", "rang/ringed"),
        ("tear", "past", "tore/teared"),
        ("wind", "past", "wound/winded"),
        ("light", "past", "lit/lighted"),
        ("lie", "past", "lay/lied"),
        ("relay", "past", "relayed/relaid"),
        ("star", "past", "starred"),
        ("rag", "progressive", "ragging"),
        ("stop", "progressive", "stopping"),
        ("sell", "third_person", "sells"),
        ("kidnap", "past", "kidnapped/kidnaped"),
        ("do", "third_person", "does/doth"),
        ("dive", "past", "dived/dove"),
    ],
)
def test_known_cells(rows: list[dict[str, str]], lemma: str, column: str, cell: str) -> None:
    (row,) = [row for row in rows if row["simple_present"] == lemma]
    assert row[column] == cell


def test_modals_and_be_are_left_out(rows: list[dict[str, str]]) -> None:
    absent = {"be", "can", "may", "must", "shall", "will", "ought", "beware"}
    assert not absent & {row["simple_present"] for row in rows}


def test_the_split_never_changes(rows: list[dict[str, str]]) -> None:
    """Otherwise results of different versions could not be compared."""
    text = "\n".join(
        f"{row['simple_present']} {row['split']} {row['common_split']}" for row in rows
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "1aba88513d11e4961438f75e0061268e81378f35c4bb8c9b3937a94bfef1e806"


def test_the_script_makes_the_committed_table_from_its_rows(
    script: ModuleType,
    verbs: list,  # type: ignore[type-arg]
) -> None:
    assert script.table_text(verbs) == (DATA / "verbs.csv").read_text(encoding="ascii")
    # The result does not depend on the order of the input.
    assert script.assign_splits(verbs[::-1]) == script.assign_splits(verbs)


def test_families_hold_shared_spellings_and_prefixed_irregulars(
    script: ModuleType,
    verbs: list,  # type: ignore[type-arg]
) -> None:
    families = {
        verb.lemma: {relative.lemma for relative in family}
        for family in script.families(verbs)
        for verb in family
    }
    assert families["lie"] >= {"lie", "lay", "overlay", "underlie"}
    assert families["found"] == {"find", "found"}
    assert families["undergo"] == {"go", "undergo", "forgo", "forego"}
    assert families["abandon"] == {"abandon"}


def test_forms_of_another_verb_are_dropped_and_spellings_kept(script: ModuleType) -> None:
    drop = script.drop_misread_variants
    assert drop("star", 3, ["starred", "stared"]) == ("starred",)
    assert drop("quit", 2, ["quitting", "quiting"]) == ("quitting",)
    assert drop("sell", 1, ["sells", "selles"]) == ("sells",)
    assert drop("raze", 3, ["razed", "razeed"]) == ("razed",)
    assert drop("travel", 3, ["traveled", "travelled"]) == ("traveled", "travelled")
    assert drop("bus", 2, ["busing", "bussing"]) == ("busing", "bussing")
    assert drop("echo", 1, ["echoes", "echos"]) == ("echoes", "echos")
    assert drop("wed", 3, ["wedded", "wed", "wedded"]) == ("wedded", "wed")


def debian_package(script: ModuleType, files: dict[str, bytes]) -> bytes:
    """A Debian package: an ar archive with a version, control and data."""
    import lzma
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    package = b"!<arch>\n"
    for name, content in (
        ("debian-binary", b"2.0"),
        ("data.tar.xz", lzma.compress(stream.getvalue())),
    ):
        package += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        package += content + b"\n" * (len(content) % 2)
    return package


def test_the_script_reads_debian_packages(script: ModuleType) -> None:
    files = {"usr/share/a": b"one", "usr/share/b": b""}
    assert script.debian_files(debian_package(script, files)) == files
    with pytest.raises(script.BuildError, match="no ar header"):
        script.debian_files(b"PK")
    with pytest.raises(script.BuildError, match=r"no data\.tar\.xz"):
        script.debian_files(b"!<arch>\n")


@pytest.mark.parametrize("given", ["wrong content", "missing", "directory"])
def test_a_wrong_source_ends_the_script_with_one_line_and_code_2(
    tmp_path: Path, given: str
) -> None:
    wheel = tmp_path / "wheel.whl"
    if given == "wrong content":
        wheel.write_bytes(b"not a wheel")
    if given == "directory":
        wheel.mkdir()
    output = tmp_path / "verbs.csv"
    done = subprocess.run(
        [
            sys.executable, str(DATA / "build_verbs.py"), str(wheel), str(wheel), str(wheel),
            "--output", str(output),
        ],
        capture_output=True,
        text=True,
        cwd=DATA.parent,
        env={"PYTHONPATH": str(DATA.parent)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "wheel.whl" in done.stderr and "pyinflect 0.5.1" in done.stderr
    assert not output.exists()


def test_the_notices_are_beside_the_table() -> None:
    notices = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    for needed in (
        "Copyright 2000-2014 by Kevin Atkinson",
        "distribute and sell this database",
        "WordNet 3.0 Copyright 2006 by Princeton University",
        "distribute and sell these word\n  lists",
    ):
        assert needed in notices
