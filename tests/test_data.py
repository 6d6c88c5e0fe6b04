"""Reading verbs: the shipped sets, and users' files, whether valid, untidy or damaged."""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvae.alphabet import MAX_WORD_LENGTH
from cvae.data import (
    REPORT_CONVERSIONS,
    REPORT_TENSES,
    SHOWN_PROBLEMS,
    TABLE_COLUMNS,
    DataError,
    Dataset,
    Pair,
    Paradigm,
    lemma_order,
    linked_groups,
    load_files,
    load_table,
    pairs_of,
)

TRAIN = """\
abandon abandons abandoning abandoned
begin begins beginning began
walk walks walking walked
"""

CUT = Paradigm((("cut",), ("cuts",), ("cutting",), ("cut",)), regular=False)
TRAVEL = Paradigm(
    (("travel",), ("travels",), ("traveling", "travelling"), ("traveled", "travelled")),
    regular=True,
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems_of(path: Path, **options: object) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        load_files(path, **options)  # type: ignore[arg-type]
    return tuple(problem.replace(str(path), "F") for problem in caught.value.problems)


# --- Paradigms and pairs -----------------------------------------------------------------------


def test_preferred_forms_come_first_and_variants_are_accepted() -> None:
    assert TRAVEL.preferred == ("travel", "travels", "traveling", "traveled")
    assert TRAVEL.accepts(("travel", "travels", "travelling", "traveled"))
    assert not TRAVEL.accepts(("travel", "travels", "travelling", "travel"))
    assert not TRAVEL.accepts(("travel", "travels"))


def test_pairs_cover_every_conversion_in_order() -> None:
    pairs = pairs_of([CUT, TRAVEL])
    assert len(pairs) == 32
    assert [(p.source_tense, p.target_tense) for p in pairs[:6]] == [
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1),
    ]  # fmt: skip
    different = pairs_of([CUT, TRAVEL], include_same=False)
    assert len(different) == 24
    assert all(pair.source_tense != pair.target_tense for pair in different)
    last = pairs[-1]
    assert (last.source, last.target, last.accepted) == (
        "traveled", "traveled", ("traveled", "travelled"),
    )  # fmt: skip
    assert last.regular and not pairs[0].regular


def test_a_word_of_two_verbs_accepts_the_answers_of_both() -> None:
    rows = {row.preferred[0]: row for row in load_table("common").train}
    put, putt, walk = rows["put"], rows["putt"], rows["walk"]
    simple, past = 0, 3

    def accepted(pairs: Iterable[Pair]) -> dict[tuple[str, str, int], tuple[str, ...]]:
        return {(p.source, p.target, p.target_tense): p.accepted for p in pairs}

    found = accepted(pairs_of([put, putt, walk]))
    assert found["putting", "put", simple] == ("put", "putt")
    assert found["putting", "putted", past] == ("putted", "put")
    # Their other words belong to one verb.
    assert found["putts", "putt", simple] == ("putt",)
    assert found["put", "put", past] == ("put",)
    assert found["walking", "walk", simple] == ("walk",)
    # The other verb may be outside those that are measured.
    assert accepted(pairs_of([put]))["putting", "put", simple] == ("put",)
    among = accepted(pairs_of([put], among=[walk, put, putt]))
    assert among["putting", "put", simple] == ("put", "putt")


def test_known_verbs_accept_any_listed_spelling_of_one_verb() -> None:
    dataset = load_table("common")
    assert ("travel", "travels", "traveling", "traveled") in dataset.known_verbs
    assert dataset.is_known(("travel", "travels", "travelling", "traveled"))
    assert not dataset.is_known(("travel", "travels", "traveling", "walked"))
    assert not dataset.is_known(("xyzzy", "xyzzies", "xyzzying", "xyzzied"))
    assert not dataset.is_known(("travel",))
    # Verbs outside the common set are known too.
    rarer = {p.preferred for p in load_table("large").train} - {p.preferred for p in dataset.train}
    assert all(dataset.is_known(forms) for forms in rarer)


def test_groups_are_linked_by_chains_of_shared_words() -> None:
    assert linked_groups([["lie", "lay"], ["walk"], ["lay", "laid"], ["laid"]]) == [[0, 2, 3], [1]]
    assert linked_groups([["a"], ["b"], ["a", "b"]]) == [[0, 1, 2]]
    assert linked_groups([]) == []


# --- The table ---------------------------------------------------------------------------------


def test_another_table_can_be_read(tmp_path: Path) -> None:
    header = ",".join(TABLE_COLUMNS)
    path = write(
        tmp_path / "t.csv",
        f"{header}\ncut,cuts,cutting,cut,0,10,train,train\n"
        "dive,dives,diving,dived/dove,1,20,dev,\nwalk,walks,walking,walked,1,10,test,test\n",
    )
    dataset = load_table("large", path)
    assert dataset.train == (CUT,)
    assert dataset.dev[0].forms[3] == ("dived", "dove")
    assert len(load_table("common", path).dev) == 0
    # The report's conversions are kept even if the table lacks their verbs.
    assert [pair.accepted for pair in dataset.report_pairs] == [
        (target,) for _, _, target, _ in REPORT_CONVERSIONS
    ]


def test_a_damaged_table_names_every_bad_row(tmp_path: Path) -> None:
    header = ",".join(TABLE_COLUMNS)
    path = write(
        tmp_path / "t.csv",
        f"{header}\ncut,cuts,cutting,cut,0,10,train,train\ncut,cuts\n"
        "cut,cuts,cutting,cut/,2,x,tran,\n",
    )
    with pytest.raises(DataError) as caught:
        load_table("large", path)
    short, wrong = caught.value.problems
    assert short == f"{path}:3: expected 8 columns, found 2"
    assert wrong == (
        f"{path}:4: an empty word; regular is '2', not 0 or 1; commonness is 'x', not a SCOWL "
        "level; split is 'tran', not one of train, dev, test"
    )


def test_an_unknown_set_and_a_strange_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no verb set 'huge'; allowed: common, large"):
        load_table("huge")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="the columns must be simple_present,"):
        load_table("common", write(tmp_path / "t.csv", TRAIN))
    with pytest.raises(DataError, match="no verbs below"):
        load_table("common", write(tmp_path / "t.csv", ",".join(TABLE_COLUMNS) + "\n"))


# --- Users' files ------------------------------------------------------------------------------


def test_the_communitys_format(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", TRAIN)
    test = write(tmp_path / "test.txt", "began begins\nwalking walk\n")
    dataset = load_files(train, test, test_tenses=[(3, 1), (2, 0)])
    assert dataset.name == "files"
    assert [p.preferred[0] for p in dataset.train] == ["abandon", "begin", "walk"]
    assert [p.regular for p in dataset.train] == [True, False, True]
    assert dataset.dev == dataset.test == ()
    first, second = dataset.report_pairs
    assert (first.source, first.source_tense, first.target, first.target_tense) == (
        "began", 3, "begins", 1,
    )  # fmt: skip
    assert not first.regular and second.regular


def test_the_reports_test_file_needs_no_tenses(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", TRAIN)
    lines = "".join(f"{source} {target}\n" for source, _, target, _ in REPORT_CONVERSIONS)
    with_file = load_files(train, write(tmp_path / "test.txt", lines))
    assert with_file.report_pairs == load_files(train).report_pairs
    assert with_file.report_pairs == load_table("common").report_pairs
    assert REPORT_TENSES == (
        (0, 3), (0, 2), (0, 1), (0, 1), (3, 1), (0, 2), (3, 0), (2, 0), (2, 3), (2, 1),
    )  # fmt: skip


def test_a_users_target_is_preferred_over_the_tables_spelling(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", "travel travels travelling travelled\n")
    test = write(tmp_path / "test.txt", "travels travelled\n")
    (pair,) = load_files(train, test, test_tenses=[(1, 3)]).report_pairs
    assert pair.target == "travelled"
    test = write(tmp_path / "test.txt", "dives dove\nzorps zorped\n")
    dive, zorp = load_files(train, test, test_tenses=[(1, 3), (1, 3)]).report_pairs
    assert dive.accepted == ("dove", "dived")
    assert zorp.accepted == ("zorped",) and zorp.regular


@pytest.mark.parametrize(
    "untidy",
    [
        b"\xef\xbb\xbf" + TRAIN.encode(),
        TRAIN.replace("\n", "\r\n").encode(),
        TRAIN.replace("\n", "\r\r\n").encode(),
        (TRAIN + "\n  \n\r\n\t\n").encode(),
        TRAIN.replace(" ", " \t  ").encode(),
        TRAIN.replace("\n", "  \n").encode(),
        TRAIN.rstrip("\n").encode(),
    ],
    ids=[
        "byte order mark",
        "CRLF",
        "CRCRLF",
        "blank end",
        "tabs",
        "trailing spaces",
        "no last line end",
    ],
)
def test_untidy_files_read_like_tidy_ones(tmp_path: Path, untidy: bytes) -> None:
    tidy = load_files(write(tmp_path / "tidy.txt", TRAIN))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_files(write(tmp_path / "untidy.txt", untidy)).train == tidy.train


HEADERS = (
    "simple_present third_person progressive past",
    "simple present,third person,progressive,past",
    "Present;3rd Person;-ing;Past",
    "base third ing past",
    "sp tp pg p",
    '"lemma","third","ing","past"',
)
CAPITALS = "capitals are read in lower case"
BLANKS = "Unicode spaces are read as spaces"
COMMAS = "words are separated by commas or semicolons"
WIDE = "F: looks like UTF-16 without a byte order mark; save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TRAIN.encode("utf-16"), "it is in UTF-16"),
        (("\ufeff" + TRAIN).encode("utf-16-be"), "it is in UTF-16"),
        (TRAIN.replace("\n", "\r\n").encode("utf-16"), "it is in UTF-16"),
        (TRAIN.encode("utf-32"), "it is in UTF-32"),
        (TRAIN.replace("\n", "\r").encode(), "its lines end in CR"),
        (TRAIN.replace(" ", "\u00a0"), f"{BLANKS} (line 1 and 2 more)"),
        (TRAIN.replace("walk ", "walk\u3000 "), f"{BLANKS} (line 3)"),
        (TRAIN.replace(" ", ","), f"{COMMAS} (line 1 and 2 more)"),
        (TRAIN.replace(" ", " ; "), f"{COMMAS} (line 1 and 2 more)"),
        (TRAIN.replace(" ", ", ").replace("ed\n", "ed,\n"), COMMAS),
        (TRAIN.replace("began\n", "began\n\n \n"), "empty lines are skipped (line 3 and 1 more)"),
        (TRAIN.replace("begin ", "Begin "), f"{CAPITALS} (line 2)"),
        (TRAIN.upper(), f"{CAPITALS} (line 1 and 2 more)"),
        *((f"{header}\n{TRAIN}", "line 1 is a header and is skipped") for header in HEADERS),
        (
            ("Present;Third;Progressive;Past\n" + TRAIN.title().replace(" ", ";")).encode("utf-16"),
            f"it is in UTF-16; line 1 is a header and is skipped; {CAPITALS} (line 2 and 2 more); "
            f"{COMMAS} (line 2 and 2 more)",
        ),
    ],
)  # fmt: skip
def test_unambiguous_input_is_accepted_with_one_warning(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    tidy = load_files(write(tmp_path / "tidy.txt", TRAIN))
    path = write(tmp_path / "untidy.txt", content)
    with pytest.warns(UserWarning) as caught:
        assert load_files(path).train == tidy.train
    (message,) = (str(warning.message) for warning in caught)
    assert message.startswith(f"{path}: {said}") and "\n" not in message


def test_a_test_file_is_read_the_same_way(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", TRAIN)
    tenses = [(3, 1), (2, 0)]
    tidy = write(tmp_path / "tidy.txt", "began begins\nwalking walk\n")
    untidy = write(tmp_path / "test.txt", "Source,Target\r\rbegan,Begins\rwalking,walk")
    with pytest.warns(UserWarning, match="test.txt: its lines end in CR; line 1 is a header"):
        found = load_files(train, untidy, test_tenses=tenses).report_pairs
    assert found == load_files(train, tidy, test_tenses=tenses).report_pairs


@pytest.mark.parametrize("verb", ["input inputs inputting input", "base bases basing based"])
def test_a_verb_is_not_mistaken_for_a_header(tmp_path: Path, verb: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = load_files(write(tmp_path / "train.txt", verb)).train
    assert found.preferred == tuple(verb.split())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (TRAIN.encode("utf-16-le"), WIDE),
        (TRAIN.encode("utf-16-be"), WIDE),
        (TRAIN.encode("utf-16")[:-1], "F: begins as UTF-16, but is damaged at byte "),
        (b"\xff\xfe\0\xd8\n\0", "F: begins as UTF-16, but is damaged at byte "),
        (TRAIN.encode() + b"\0", "F: is not a text file: line 4 contains a NUL character; save it"),
        (b"PK\x03\x04\x14\0", "F: is a spreadsheet or another zip archive; export it as text"),
        (b"\x1f\x8b\x08\0", "F: is compressed (gzip); decompress it first"),
        (b"%PDF-1.7\n%\xe2\xe3", "F: is a PDF; export it as text"),
        ("base,third,ing,past\n", "F: contains no words"),
        ("\u00a0\n\u00a0\n", "F: contains no words"),
        ("walk walks\nwalking walked\n", "F:1: expected four words, found 2"),
        ("walk,,walking,walked\n", "F:1: an empty word"),
        ("walk,walks,walking\n", "F:1: expected four words, found 3"),
        ("walk\u200b walks walking walked", r"F:1: '\u200b' (zero width space) in 'walk\u200b'"),
        ("walk|walks|walking|walked\n", "F:1: expected four words, found 1"),
        ("walk walks walking walked\rtalk talks talking talked\n", "F:1: expected four words, f"),
    ],
)  # fmt: skip
def test_unreadable_content_gives_one_line_that_identifies_it(
    tmp_path: Path, content: str | bytes, says: str
) -> None:
    problem = problems_of(write(tmp_path / "train.txt", content))[0]
    assert problem.startswith(says) and problem.isprintable()


def test_repeated_rows_are_dropped_with_one_warning_that_counts_them(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", TRAIN + TRAIN + "cut cuts cutting cut\n")
    with pytest.warns(UserWarning) as caught:
        dataset = load_files(path)
    assert [str(warning.message) for warning in caught] == [f"{path}: 3 repeated rows were dropped"]
    assert [p.preferred[0] for p in dataset.train] == ["abandon", "begin", "walk", "cut"]


def test_a_repeated_test_row_counts_once_but_not_under_other_tenses(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", TRAIN)
    test = write(tmp_path / "test.txt", "cut cut\ncut cut\ncut cut\n")
    with pytest.warns(UserWarning, match="1 repeated row was dropped"):
        pairs = load_files(train, test, test_tenses=[(0, 3), (0, 3), (3, 0)]).report_pairs
    assert [(p.source_tense, p.target_tense) for p in pairs] == [(0, 3), (3, 0)]


def test_every_bad_row_is_named_with_its_reason(tmp_path: Path) -> None:
    content = b"\n".join(
        [
            b"abandon abandons abandoning abandoned",
            b"walk walks walking",
            b"",
            b"C.t cuts cutting cut",
            b"don't doesn't doing did",
            "café cafés caféing caféd".encode(),
            b"caf\xe9 a b c",
            b"a b c " + b"d" * (MAX_WORD_LENGTH + 1),
            b"a b c d e",
        ]
    )
    assert problems_of(write(tmp_path / "train.txt", content)) == (
        "F:2: expected four words, found 3",
        "F:4: '.' in 'C.t' is not a letter a to z",
        'F:5: "\'" in "don\'t" is not a letter a to z; "\'" in "doesn\'t" is not a letter a to z',
        "F:6: '\\xe9' in 'caf\\xe9' is not a letter a to z; '\\xe9' in 'caf\\xe9s' is not a letter "
        "a to z; '\\xe9' in 'caf\\xe9ing' is not a letter a to z; '\\xe9' in 'caf\\xe9d' is not a "
        "letter a to z",
        "F:7: not UTF-8: byte 0xe9 at position 4; save the file as UTF-8",
        "F:8: 'dddddddddddddddddddddddd...' has 25 letters; at most 24 are allowed",
        "F:9: expected four words, found 5",
    )


def test_the_longest_word_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", "a b c " + "d" * MAX_WORD_LENGTH)
    assert load_files(path).train[0].preferred[3] == "d" * MAX_WORD_LENGTH


def test_bad_rows_of_both_files_are_in_one_error(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", "one\n")
    test = write(tmp_path / "test.txt", "a b\na\n")
    with pytest.raises(DataError) as caught:
        load_files(train, test, test_tenses=[(0, 1), (0, 1)])
    assert str(caught.value).splitlines() == [
        "2 problems in the data:",
        f"  {train}:1: expected four words, found 1",
        f"  {test}:2: expected two words (source target), found 1",
    ]


def test_a_long_list_of_bad_rows_is_cut_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", "one two\n" * (SHOWN_PROBLEMS + 7))
    with pytest.raises(DataError) as caught:
        load_files(path)
    assert len(caught.value.problems) == SHOWN_PROBLEMS + 7
    lines = str(caught.value).splitlines()
    assert len(lines) == SHOWN_PROBLEMS + 2
    assert lines[-1] == "  ... and 7 more"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert problems_of(write(tmp_path / "train.txt", content)) == ("F: empty file",)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "no.txt") == ("F: cannot be read: No such file or directory",)
    assert problems_of(tmp_path) == ("F: cannot be read: Is a directory",)


def test_tenses_must_fit_the_test_file(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", TRAIN)
    test = write(tmp_path / "test.txt", "walk walks\n")
    with pytest.raises(DataError, match="1 rows, but test_tenses has 10"):
        load_files(train, test)
    with pytest.raises(DataError, match=r"test_tenses\[1\] is \[0, 4\], not two of the tenses"):
        load_files(train, test, test_tenses=[(0, 1), (0, 4)])
    with pytest.raises(DataError, match=r"test_tenses\[0\] is \[0\]"):
        load_files(train, test, test_tenses=[[0]])


# --- Holding out users' verbs ------------------------------------------------------------------


def many_verbs() -> list[str]:
    rows = [f"{a}{b}{a} {a}{b}{a}s {a}{b}{a}ing {a}{b}{a}ed" for a in "bdfgk" for b in "aeiou"]
    return [*rows, "lie lies lying lay", "lay lays laying laid"]


def words_of(paradigms: tuple[Paradigm, ...]) -> set[str]:
    return {word for paradigm in paradigms for word in paradigm.preferred}


@pytest.mark.parametrize("dev_count", [1, 5, 26])
def test_dev_verbs_share_no_word_with_training(tmp_path: Path, dev_count: int) -> None:
    path = write(tmp_path / "train.txt", "\n".join(many_verbs()))
    dataset = load_files(path, dev_count=dev_count)
    assert len(dataset.dev) == dev_count
    assert len(dataset.train) == len(many_verbs()) - dev_count
    assert not words_of(dataset.train) & words_of(dataset.dev)


def test_the_order_of_the_file_does_not_move_a_verb(tmp_path: Path) -> None:
    forward = load_files(write(tmp_path / "a.txt", "\n".join(many_verbs())), dev_count=7)
    backward = load_files(write(tmp_path / "b.txt", "\n".join(many_verbs()[::-1])), dev_count=7)
    assert set(forward.dev) == set(backward.dev)
    held_out = {p.preferred[0] for p in forward.dev} - {"lie", "lay"}
    kept = {p.preferred[0] for p in forward.train} - {"lie", "lay"}
    assert max(map(lemma_order, held_out)) < min(map(lemma_order, kept))


def test_verbs_of_the_test_pairs_stay_in_training(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", TRAIN)
    test = write(tmp_path / "test.txt", "began begins\nwalking walk\n")
    dataset = load_files(train, test, test_tenses=[(3, 1), (2, 0)], dev_count=1)
    assert [p.preferred[0] for p in dataset.dev] == ["abandon"]
    with pytest.raises(DataError, match=r"dev_count is 2, but only 1 of its 3 verbs"):
        load_files(train, test, test_tenses=[(3, 1), (2, 0)], dev_count=2)
    with pytest.raises(DataError, match="dev_count is -1"):
        load_files(train, dev_count=-1)


# --- Anything at all ---------------------------------------------------------------------------

rows_almost_right = st.lists(
    st.lists(st.text("abzA'\u00e9", max_size=4), min_size=3, max_size=5).map(" ".join), max_size=6
).map("\n".join)


@given(st.one_of(st.binary(max_size=200), rows_almost_right.map(str.encode)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_load_or_raise_a_data_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory) / "verbs.txt", content)
        for load in (
            lambda: load_files(path),
            lambda: load_files(path, path, test_tenses=[(0, 1)], dev_count=1),
            lambda: load_table("common", path),
            lambda: load_table("common", write(path, ",".join(TABLE_COLUMNS).encode() + content)),
        ):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    dataset = load()
            except DataError as error:
                assert error.problems and str(path) in str(error)
            else:
                assert isinstance(dataset, Dataset)
                assert all(word.isalpha() for word in words_of(dataset.train))


@pytest.mark.parametrize("problems", [["a.txt: cannot be read"], ["a:1: short", "a:2: long"]])
def test_the_problems_survive_pickling(problems: list[str]) -> None:
    error = pickle.loads(pickle.dumps(DataError(problems)))
    assert error.problems == tuple(problems)
    assert str(error) == str(DataError(problems))
