"""Any input either works or gives one line that names the place: no traceback, no hang.

Programs run audited in this process: no file that they read may run code or make them write
elsewhere. Some tests start a program in a new process.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import json
import os
import pickle
import re
import shutil
import string
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cases import FULL, Ended, cases, ended, refused_or_fine, watched
from hypothesis import given
from hypothesis import strategies as st

from cvae import compare, convert, experiment, generate, run
from cvae.alphabet import MAX_WORD_LENGTH
from cvae.config import GROUPS, SECTIONS, TOP, ConfigError, check
from cvae.data import DataError, load_files
from cvae.model import build_model
from cvae.report_page import page_data
from cvae.results import load
from cvae.run_directory import RunDirectory, RunDirectoryError

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "browser")]
from fabricated_runs import fabricate_run  # noqa: E402
from test_config import compose  # noqa: E402
from test_run_directory import CONFIGS  # noqa: E402

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(1)>%%plotly%%"


class Evil:
    """Unpickling it runs a command, which the audit would report."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch owned",)


PICKLE = pickle.dumps(Evil())
BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n".encode() for n in range(1, 30)
)

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [ESCAPE, SCRIPT, "../../../../tmp/owned", "/etc/passwd", "\ud800", "\u202e", "a\nb", "\0",
         "x" * 10_000, "nan", "+-inf", "1" * 5000, "${oc.env:HOME}", "=1+1", "", "a" * 4000]
    ),
)  # fmt: skip
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 10**400, 2**63, 2**31, -(10**30), 1e308, 5e-324, 1e6, True]),
)
atoms = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    atoms,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
junk = st.one_of(
    st.binary(max_size=200),
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"", b"\0" * 99, b"\xef\xbb\xbf", b"caf\xe9\n", b"[" * 99_999, b'{"a":' * 99_999,
         b"1" * 5000, b'{"a": NaN}', b"\xff\xfe{\0}\0", PICKLE, BOMB, b"PK\x03\x04",
         b"!!python/object/apply:os.system ['touch owned']\n", b"a: &a [*a]\n",
         b"a: " + b"[" * 9999]
    ),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` damaged in one way: cut, flipped, repeated, with junk or other line ends."""
    at = draw(st.integers(0, len(content)))
    kind = draw(st.sampled_from(["cut", "flip", "junk", "repeat", "crlf", "utf-16", "bom"]))
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        flipped = bytearray(content)
        for place in draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=4)):
            flipped[place : place + 1] = bytes([draw(st.integers(0, 255))])
        return bytes(flipped)
    if kind == "junk":
        return content[:at] + draw(junk) + content[at:]
    if kind == "repeat":
        return content[:at] + content
    if kind == "crlf":
        return content.replace(b"\n", b"\r\n")
    if kind == "utf-16":
        return content.decode("utf-8", "replace").encode("utf-16")
    return b"\xef\xbb\xbf" + content


@st.composite
def edited(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document with one to three values replaced or removed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        node: Any = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
                node = node[key]
                continue
            action = draw(st.sampled_from(["replace", "replace", "delete", "add"]))
            if action == "replace":
                node[key] = draw(values)
            elif action == "delete":
                del node[key]
            elif isinstance(node, dict):
                node[draw(texts)] = draw(values)
            break
    return document


def as_json(document: Any) -> bytes:
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(document).encode()
    finally:
        sys.set_int_max_str_digits(4300)


def put_in_place(path: Path, what: str, outside: Path) -> None:
    """Put something that is not a regular file in the place of a file."""
    if path.exists() or path.is_symlink():
        path.unlink()
    if what == "directory":
        path.mkdir(parents=True)
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "endless":
        path.symlink_to("/dev/zero")
    elif what == "loop":
        path.symlink_to(path.name)
    elif what == "dangling":
        path.symlink_to(outside / "none")
    elif what == "secret":
        path.symlink_to(outside / "secret")
    elif what == "vast":
        with path.open("wb") as file:
            file.truncate(2**36)  # sparse, so it needs no disk space


PLACES = ("directory", "pipe", "endless", "loop", "dangling", "secret", "vast")


@contextlib.contextmanager
def sandbox() -> Iterator[Path]:
    """A directory with a file outside all paths that the programs are given."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        (root / "outside").mkdir()
        (root / "outside" / "secret").write_bytes(b"unchanged")
        yield root
        assert os.listdir(root / "outside") == ["secret"]
        assert (root / "outside" / "secret").read_bytes() == b"unchanged"


# --- The watch itself --------------------------------------------------------------------------


def test_the_audit_reports_each_forbidden_action(tmp_path: Path) -> None:
    for deed in (
        lambda: pickle.loads(pickle.dumps(Path("x"))),
        lambda: os.system("true"),
        lambda: yaml.unsafe_load("!!python/object/apply:os.system ['true']"),
        lambda: (tmp_path / "file").write_text("x"),
        lambda: os.mkdir(tmp_path / "made"),
    ):
        with pytest.raises(AssertionError), watched(tmp_path / "elsewhere"):
            deed()
    with watched(tmp_path):
        (tmp_path / "file").write_text("x")


# --- Data files --------------------------------------------------------------------------------

ROWS = b"walk walks walking walked\ntalk talks talking talked\nsing sings singing sang\n"
near_rows = st.lists(
    st.lists(
        st.one_of(
            st.text(string.ascii_lowercase, min_size=1, max_size=MAX_WORD_LENGTH + 2),
            st.sampled_from(
                ["Walk", "na\u00efve", "caf\u00e9", "x" * 5000, ESCAPE, "a\0b", "don't"]
            ),
        ),
        min_size=0,
        max_size=6,
    ).map(" ".join),
    max_size=6,
).map(lambda rows: "\n".join(rows).encode())


@cases(100, 3000)
@given(st.one_of(junk, near_rows, damaged(ROWS)), st.integers(0, 3))
def test_any_data_file_is_read_or_named_with_its_line(content: bytes, dev_count: int) -> None:
    with sandbox() as root:
        path = root / "train.txt"
        path.write_bytes(content)
        try:
            with watched(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = load_files(path, dev_count=dev_count)
        except DataError as error:
            assert all(problem.startswith(f"{path}:") for problem in error.problems)
            assert all(line.isprintable() and len(line) < 1000 for line in str(error).split("\n"))
            return
        assert len(dataset.dev) == dev_count
        # All lines are read and no others; only the encoding and the case may be changed.
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16" if wide else "utf-8").removeprefix("\ufeff")
        lines = re.sub("[,;]", " ", text.replace("\r", "\n")).lower().split("\n")
        rows = {tuple(line.split()) for line in lines if line.strip()}
        assert {verb.preferred for verb in (*dataset.train, *dataset.dev)} == rows


@pytest.mark.parametrize("what", [what for what in PLACES if what != "vast"])
def test_a_file_that_is_not_regular_is_named_and_does_not_hang(what: str) -> None:
    with sandbox() as root:
        path = root / "train.txt"
        put_in_place(path, what, root / "outside")
        end = ended(lambda _: _loads(path), [])
        assert not refused_or_fine(end, str(path))


def _loads(path: Path) -> int:
    try:
        load_files(path)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


# --- Words -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    directory.mkdir()
    write_run(directory, "two-level")
    return directory


def write_run(directory: Path, kind: str) -> None:
    torch.manual_seed(1)
    files = RunDirectory(directory)
    files.write_model(build_model(**CONFIGS[kind]).state_dict(), CONFIGS[kind])


@cases(60, 1500)
@given(
    st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=40) | texts, max_size=4),
    st.sampled_from(["past", "0", "ing", "PAST", "", "4", ESCAPE]),
    st.booleans(),
)
def test_any_words_are_converted_or_named(
    model_run: Path, words: list[str], tense: str, piped: bool
) -> None:
    if piped:
        content = "\n".join(words).encode("utf-8", "surrogatepass")
        end = ended(convert.main, [model_run, "--to", tense], stdin=content)
        text = content.decode("utf-8", "replace")
        words = (text if "\n" in text else text.replace("\r", "\n")).split("\n")
    else:
        end = ended(convert.main, [model_run, "--to", tense, "--", *words])
    if refused_or_fine(without_note(end)):
        words = [word.strip() for word in words]
        while words and not words[-1]:
            words.pop()
        assert end.out.count("\n") == len(words) > 0
        assert all(1 <= len(word) <= MAX_WORD_LENGTH and word.isascii() for word in words)
        assert tense in convert.ALIASES


@cases(30, 500)
@given(st.one_of(st.binary(max_size=60), junk))
def test_any_bytes_on_standard_input(model_run: Path, content: bytes) -> None:
    refused_or_fine(without_note(ended(convert.main, [model_run, "--to", "past"], stdin=content)))


def without_note(end: Ended) -> Ended:
    """``end`` without the note on how words were read, if they were converted."""
    if end.code == 0 and end.err:
        assert end.err.startswith("cvae.convert: ") and end.err.count("\n") == 1
        return dataclasses.replace(end, err="")
    return end


@pytest.mark.parametrize("missing", ["stdin", "stdout"])
def test_a_closed_stream_gives_no_traceback(
    model_run: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(arguments: Any) -> int:
        monkeypatch.setattr(sys, missing, None)
        return convert.main(arguments)

    words = ["walk"] if missing == "stdout" else []
    end = ended(without, [model_run, "--to", "past", *words])
    assert not refused_or_fine(end)


# --- Configs -----------------------------------------------------------------------------------

CONFIG = compose()
KEYS = [
    *TOP,
    *GROUPS,
    *SECTIONS,
    *(f"{section}.{key}" for section in (*SECTIONS, *GROUPS) for key in CONFIG[section]),
]


@cases(100, 3000)
@given(edited(CONFIG))
def test_any_config_is_checked_or_every_fault_names_its_key(config: dict[str, Any]) -> None:
    try:
        check(config)
    except ConfigError as error:
        for fault in error.faults:
            assert fault.isprintable() and len(fault) < 1000
            assert any(says in fault for says in ("allowed: ", "it holds ", "choose one: "))
            assert any(key.partition(".")[0] in fault for key in KEYS) or "no such key" in fault


written = st.one_of(
    atoms.map(str),
    values.map(lambda value: json.dumps(value, default=str)),
    st.sampled_from(
        ["", "null", "nan", "-inf", "1e999", "[]", "{}", "[1,[2]]", "{a:1}", "${seed}", "${nope}",
         "${oc.env:NOPE}", "${oc.env:HOME}", "${model.name}", "${", "'", '"', "???", "1" * 5000,
         "choice(1,2)", "range(0,9)", "glob(*)", "int(3)", "interval(0,1)", "\\", "1,2", "a=b"]
    ),
)  # fmt: skip


@cases(40, 800)
@given(
    st.sampled_from(["", "+", "++", "~"]),
    st.one_of(
        st.sampled_from(KEYS),
        st.sampled_from(["aneal", "model.latent", "foo/bar", "hydra.run.dir", "hydra/launcher",
                         "", "experiment", "debug", "sweep", "hydra", "_target_", "model@data",
                         "a.b.c"]),
        st.text("abc./@_", max_size=8),
    ),
    written,
)  # fmt: skip
def test_any_override_is_composed_or_named(prefix: str, key: str, value: str) -> None:
    override = f"{prefix}{key}={value}".replace("\0", "")
    if any("\ud800" <= letter <= "\udfff" for letter in override) or override.startswith("-"):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_hydra_main", lambda: None)  # only the check is tested
        patch.setattr(sys, "argv", ["run"])
        end = ended(run.main, [override])
    if end.code == 0:
        assert end.err == ""
        return
    assert end.code == 2 and end.out == "", end
    for line in end.err.splitlines():
        assert line.startswith("error: ") and line.isprintable() and 15 < len(line) < 2000, line


# --- Run directories ---------------------------------------------------------------------------


def programs(directory: Path, root: Path) -> dict[str, Ended]:
    return {
        "convert": ended(convert.main, [directory, "walk", "--to", "past"]),
        "generate": ended(generate.main, [directory, "-n", "2"]),
        "compare": ended(compare.main, [root / "runs"]),
    }


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two whole runs."""
    runs = tmp_path_factory.mktemp("template") / "runs"
    runs.mkdir()
    for number, seed in enumerate((1, 2)):
        directory = runs / f"trial_{number}"
        overrides = {"seed": seed, "model.latent_size": 8 * seed, "anneal": "monotonic"}
        fabricate_run(directory, overrides, number=number, dev_rows=3, evaluations=2)
        write_run(directory, "two-level")
    return runs


FILES = {
    "result.json": "compare",
    "metrics.csv": "page",
    "conversions.csv": "page",
    "samples.csv": "page",
    "model.json": "convert",
    "weights.safetensors": "convert",
    ".hydra/config.yaml": "compare",
    ".hydra/overrides.yaml": "compare",
    ".hydra/hydra.yaml": "compare",
}


def tried(root: Path, directory: Path, name: str) -> None:
    """Run every program on the runs, one of which has an unusual file ``name``."""
    ends = programs(directory, root)
    for program in ("convert", "generate"):
        worked = refused_or_fine(ends[program], str(directory))
        assert worked or FILES[name] == "convert", "only its own files may stop a program"
    assert refused_or_fine(ends["compare"]), "a damaged run is a row with its reason"
    assert "2 runs in 1 directory" in ends["compare"].out
    with watched():
        page = page_data(load(root / "runs"), "title")
    json.dumps(page, allow_nan=False)
    if FILES[name] == "page":
        assert "1 complete" in ends["compare"].out or "2 complete" in ends["compare"].out


@contextlib.contextmanager
def copied(template: Path) -> Iterator[tuple[Path, Path]]:
    with sandbox() as root:
        shutil.copytree(template, root / "runs")
        yield root, root / "runs" / "trial_1"


@pytest.mark.parametrize(
    ("name", "what"), list(itertools.product(FILES, PLACES))[:: 1 if FULL else 3]
)
def test_another_kind_of_file_in_the_place_of_a_file(template: Path, name: str, what: str) -> None:
    with copied(template) as (root, directory):
        if name != "result.json" and FILES[name] == "compare":
            (directory / "result.json").unlink()  # so that Hydra's files are read
        put_in_place(directory / name, what, root / "outside")
        tried(root, directory, name)


@pytest.mark.parametrize("name", FILES)
@cases(8, 250)
@given(data=st.data())
def test_a_damaged_file(template: Path, name: str, data: st.DataObject) -> None:
    with copied(template) as (root, directory):
        path = directory / name
        if FILES[name] == "compare" and name != "result.json":
            (directory / "result.json").unlink()
        content = path.read_bytes()
        path.write_bytes(data.draw(st.one_of(junk, damaged(content))))
        tried(root, directory, name)


@pytest.mark.parametrize("name", ["result.json", "model.json"])
@cases(15, 1000)
@given(data=st.data())
def test_hostile_values_in_json(template: Path, name: str, data: st.DataObject) -> None:
    with copied(template) as (root, directory):
        path = directory / name
        path.write_bytes(as_json(data.draw(edited(json.loads(path.read_bytes())))))
        tried(root, directory, name)
        if name == "model.json" and data.draw(st.booleans()):
            # The weights depend on it because they have no metadata.
            from safetensors.torch import load_file, save_file

            save_file(
                load_file(directory / "weights.safetensors"), directory / "weights.safetensors"
            )
            tried(root, directory, name)


@pytest.mark.parametrize("name", [".hydra/config.yaml", ".hydra/overrides.yaml"])
@cases(10, 300)
@given(data=st.data())
def test_hostile_values_in_yaml(template: Path, name: str, data: st.DataObject) -> None:
    with copied(template) as (root, directory):
        (directory / "result.json").unlink()
        path = directory / name
        document = data.draw(edited(yaml.safe_load(path.read_text())))
        path.write_bytes(as_json(document))  # JSON is YAML
        tried(root, directory, name)


@pytest.mark.parametrize("name", ["metrics.csv", "conversions.csv", "samples.csv"])
@cases(10, 300)
@given(data=st.data())
def test_hostile_cells(template: Path, name: str, data: st.DataObject) -> None:
    with copied(template) as (root, directory):
        path = directory / name
        rows = [line.split(",") for line in path.read_text().splitlines()]
        for _ in range(data.draw(st.integers(1, 3))):
            row = data.draw(st.sampled_from(rows))
            row[data.draw(st.integers(0, len(row) - 1))] = data.draw(atoms.map(str))
        text = "\n".join(",".join(row) for row in rows)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        tried(root, directory, name)


@pytest.mark.parametrize("content", [BOMB, b"a29: &a [*a]\n"], ids=["bomb", "loop"])
def test_references_in_yaml_are_not_followed(template: Path, content: bytes) -> None:
    with copied(template) as (root, directory):
        (directory / "result.json").unlink()
        (directory / ".hydra" / "config.yaml").write_bytes(content)
        (directory / ".hydra" / "overrides.yaml").write_text("- a29=1\n")
        tried(root, directory, ".hydra/config.yaml")


def test_no_text_of_a_run_reaches_the_page_or_the_files_as_markup(template: Path) -> None:
    with copied(template) as (root, directory):
        result = json.loads((directory / "result.json").read_text())
        hostile = {"reason": SCRIPT + ESCAPE, "status": "failed", "git_commit": SCRIPT}
        result |= hostile | {"overrides": [f"model.x={SCRIPT}", f"+{SCRIPT}={ESCAPE}"]}
        result["metrics"][SCRIPT] = 1.0
        result["metrics"]["\ud800"] = 1.0
        (directory / "result.json").write_text(json.dumps(result))
        for name in ("conversions.csv", "samples.csv"):
            text = (directory / name).read_text().replace("walk", SCRIPT).replace("heal", ESCAPE)
            (directory / name).write_text(text)
        out = root / "out"
        out.mkdir()
        files = {kind: out / f"report.{kind}" for kind in ("html", "csv", "parquet")}
        options = [text for kind, path in files.items() for text in (f"--{kind}", path)]
        end = ended(compare.main, [root / "runs", *options], writable=[out])
        assert refused_or_fine(end)
        page = files["html"].read_text()
        assert page.count("<script") == page.count("</script") == 3
        assert "<img" not in page and "alert(1)" in page
        assert sorted(os.listdir(out)) == ["report.csv", "report.html", "report.parquet"]


def test_a_word_of_a_megabyte_does_not_hold_up_the_page(template: Path) -> None:
    with copied(template) as (_, directory):
        path = directory / "conversions.csv"
        header = path.read_text().splitlines()[0]
        row = {name: "0" for name in header.split(",")}
        row |= {"split": "report", "target": "ab" * 60_000, "prediction": "ba" * 60_000}
        lines = [header, *[",".join(row.values())] * 200]
        path.write_text("\n".join(lines))
        end = ended(lambda _: len(page_data(load(directory), "title")["notes"]) and 0, [])
        assert end.code == 0


def test_directories_nested_by_the_thousand(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        assert not refused_or_fine(ended(compare.main, [tmp_path]), str(tmp_path))
    finally:
        os.close(here)
        # shutil.rmtree, which pytest uses too, would exceed the recursion limit.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_tensors_of_a_kind_that_cannot_be_checked(tmp_path: Path, dtype: torch.dtype) -> None:
    state = dict(build_model(**CONFIGS["two-level"]).state_dict())
    state["decoder.out.bias"] = state["decoder.out.bias"].to(dtype)
    try:
        RunDirectory(tmp_path).write_model(state, CONFIGS["two-level"])
    except KeyError:
        pytest.skip("safetensors before 0.7 knows no complex numbers")
    end = ended(convert.main, [tmp_path, "walk", "--to", "past"])
    assert not refused_or_fine(end, "weights.safetensors: decoder.out.bias is of type")


# --- Checkpoints -------------------------------------------------------------------------------

TOY = (
    "debug=smoke", "data=files", "training.batch_size=16", "model.hidden_size=8",
    "model.encoder_hidden_size=4", "model.prior_hidden_size=4", "model.grid_size=4",
    "model.grid_features=1", "training.coverage_draws=4", "training.code_draws=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A config and the directory of its run, interrupted after the first of two epochs."""
    root = tmp_path_factory.mktemp("interrupted")
    (root / "train.txt").write_bytes(ROWS)
    config = compose(*TOY, f"data.train_path={root / 'train.txt'}")
    files = RunDirectory(root / "run")
    files.create()
    before = experiment._Run(config, files, [])
    losses = before.trainer.train_epoch()
    before.progress.epochs.append({"epoch": 1, **vars(losses)})
    before._evaluate(losses)
    before._write_checkpoint()
    return config, root / "run"


def resumes(config: dict[str, Any], directory: Path) -> bool:
    """Whether the run resumes and ends; if not, check that one line names the checkpoint."""
    try:
        experiment.run(config, directory, [])
    except RunDirectoryError as error:
        assert str(directory / "checkpoint.safetensors") in str(error), error
        assert str(error).isprintable()
        assert "delete it" in str(error) or "run again" in str(error)
        return False
    return True


@cases(8, 150)
@given(data=st.data())
def test_any_checkpoint_is_resumed_or_named(
    interrupted: tuple[dict[str, Any], Path], data: st.DataObject
) -> None:
    config, run_of_before = interrupted
    found = RunDirectory(run_of_before).read_checkpoint()
    assert found is not None
    tensors, counters = found
    with sandbox() as root:
        directory = root / "run"
        shutil.copytree(run_of_before, directory)
        path = directory / "checkpoint.safetensors"
        how = data.draw(st.sampled_from(["bytes", "counters", "tensors"]))
        if how == "bytes":
            path.write_bytes(data.draw(st.one_of(junk, damaged(path.read_bytes()))))
        else:
            if how == "counters":
                counters = {**data.draw(edited(counters)), "config": counters["config"]}
            else:
                name = data.draw(st.sampled_from(sorted(tensors)))
                strange = [torch.zeros(1), torch.zeros(0), tensors[name].double() * float("nan"),
                           torch.zeros(3, dtype=torch.bool)]  # fmt: skip
                tensors = {**tensors, name: data.draw(st.sampled_from([None, *strange]))}
                tensors = {key: value for key, value in tensors.items() if value is not None}
            sys.set_int_max_str_digits(0)
            RunDirectory(directory).write_checkpoint(tensors, counters)
            sys.set_int_max_str_digits(4300)
        resumes(config, directory)


# --- Tiny data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [b"a a a a\n", b"walk walks walking walked\n", ROWS])
def test_the_smallest_data_train_to_the_end(tmp_path: Path, rows: bytes) -> None:
    (tmp_path / "train.txt").write_bytes(rows)
    config = compose(*TOY, f"data.train_path={tmp_path / 'train.txt'}")
    experiment.run(config, tmp_path / "run", [])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "complete"
    assert result["config"] == config
