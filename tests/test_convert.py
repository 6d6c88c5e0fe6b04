"""Tests of cvae.convert: the command line's answers, and one clear line for wrong input."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from shared import DEFAULT

from cvae import alphabet, convert
from cvae.alphabet import WordError, read_word
from cvae.batches import words_to_tensor
from cvae.model import ConditionalVAE, build_model
from cvae.run_directory import RunDirectory
from cvae.source_tense import infer_tenses


@pytest.fixture(scope="module")
def model() -> ConditionalVAE:
    torch.manual_seed(1)
    return build_model("default", **DEFAULT).eval()


@pytest.fixture(scope="module")
def run(model: ConditionalVAE, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "run")
    directory.create()
    directory.write_model(model.state_dict(), {"name": "default", **DEFAULT})
    return str(directory.path)


def expected(model: ConditionalVAE, word: str, source: int, target: int) -> str:
    packed = words_to_tensor([word])
    code = model.encode(packed.symbols, packed.lengths, torch.tensor([source])).mean
    return alphabet.decode(model.greedy(code, torch.tensor([target]))[0].tolist())


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; checks that nothing is on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cvae.convert: ") and err.endswith("\n") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("source", range(4))
@pytest.mark.parametrize("target", range(4))
def test_the_prediction_is_the_models(
    model: ConditionalVAE,
    run: str,
    capsys: pytest.CaptureFixture[str],
    source: int,
    target: int,
) -> None:
    words = ["abandon", "be", "x"]
    tenses = ["--from", str(source), "--to", alphabet.TENSES[target], "--candidates", "1"]
    assert convert.main([run, *words, *tenses]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines == [*(expected(model, word, source, target) for word in words), ""]


def test_one_word_and_several_print_the_same_way(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert.main([run, "walk", "walk", "--to", "past"]) == 0
    twice = capsys.readouterr().out
    assert convert.main([run, "walk", "--to", "past"]) == 0
    assert twice == 2 * capsys.readouterr().out


def test_verbose_shows_the_tense_of_each_word(
    model: ConditionalVAE, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["walking", "sent"]
    assert convert.main([run, *words, "--to", "third", "-v", "--candidates", "1"]) == 0
    tenses = infer_tenses(model, words)
    wanted = [
        f"{word}\t{alphabet.TENSES[tense]}\tthird_person\t{expected(model, word, tense, 1)}"
        for word, tense in zip(words, tenses, strict=True)
    ]
    assert capsys.readouterr().out.splitlines() == wanted


@pytest.mark.parametrize(
    ("name", "tense"),
    [
        *((name, tense) for tense, name in enumerate(alphabet.TENSES)),
        *((str(tense), tense) for tense in range(4)),
        ("present", 0),
        ("third", 1),
        ("ing", 2),
    ],
)
def test_names_of_tenses(name: str, tense: int) -> None:
    assert convert.parse_tense("--to", name) == tense


@pytest.mark.parametrize("name", ["future", "", "4", "-1", "Past", "past ", "\x1b[2J"])
@pytest.mark.parametrize("option", ["--to", "--from"])
def test_an_unknown_tense_is_named(
    run: str, capsys: pytest.CaptureFixture[str], name: str, option: str
) -> None:
    other = "--from" if option == "--to" else "--to"
    assert convert.main([run, "walk", f"{option}={name}", other, "past"]) == 2
    assert f"{option} is {name!r}" in one_line(capsys)


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("naïve", r"'\xef' in 'na\xefve' is not a letter a to z"),
        ("Naïve", r"'\xef' in 'Na\xefve' is not a letter a to z"),
        ("give up", "' ' in 'give up' is not"),
        ("give\u00a0up", r"'\xa0' (no-break space) in 'give\xa0up' is not a letter"),
        ("wa\u200blk", r"'\u200b' (zero width space) in 'wa\u200blk' is not a letter"),
        ("walk,talk", "',' in 'walk,talk' is not"),
        ("x\x1b[2J\n", r"'\x1b' in"),
        ("\udcff", r"'\udcff' in"),
        ("", "an empty word"),
        ("a" * 25, "has 25 letters; at most 24 are allowed"),
        ("é" * 10**5, "is not"),
    ],
)
def test_a_word_that_cannot_be_used_is_named_as_in_a_data_file(
    run: str, capsys: pytest.CaptureFixture[str], word: str, part: str
) -> None:
    assert convert.main([run, "walk", word, "--to", "past"]) == 2
    message = one_line(capsys)
    assert part in message and len(message) < 300 and message.isascii()
    with pytest.raises(WordError) as caught:
        read_word(word)
    assert message == f"cvae.convert: {caught.value}\n"


def test_capitals_are_accepted_with_a_note(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert.main([run, "walk", "abandon", "--to", "past", "-v"]) == 0
    wanted = capsys.readouterr().out
    assert convert.main([run, "WALK", "Abandon", "--to", "past", "-v"]) == 0
    found = capsys.readouterr()
    assert found.out == wanted
    assert found.err == "cvae.convert: capitals are read in lower case\n"


def test_bad_words_are_counted(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert.main([run, "a1", "b2", "c3", "Ok", "--to", "past"]) == 2
    assert "'a1'" in (message := one_line(capsys)) and "(and 2 more such words)" in message


def test_a_bad_run_directory_is_named(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert.main([str(tmp_path / "none"), "walk", "--to", "past"]) == 2
    assert "no such run directory" in one_line(capsys)
    (tmp_path / "model.json").write_text("{}")
    weights = Path(run, "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(weights[:-3])
    assert convert.main([str(tmp_path), "walk", "--to", "past"]) == 2
    assert "weights.safetensors: is damaged" in one_line(capsys)


# --- Standard input ----------------------------------------------------------------------------


def stdin(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"walk\nsend\n", ""),
        (b"walk\nsend", ""),
        ("\ufeffwalk\r\nsend \r\n\n\n".encode(), ""),
        ("walk\u00a0\n\u00a0send\n".encode(), ""),
        (b"walk\rsend\r", "cvae.convert: its lines end in CR\n"),
        ("walk\r\nsend\r\n".encode("utf-16"), "cvae.convert: it is in UTF-16\n"),
        (b"Walk\nSEND\n", "cvae.convert: capitals are read in lower case\n"),
    ],
)
def test_words_come_from_standard_input(
    run: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    said: str,
) -> None:
    assert convert.main([run, "walk", "send", "--to", "past"]) == 0
    wanted = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", stdin(content))
    assert convert.main([run, "--to", "past"]) == 0
    assert capsys.readouterr() == (wanted, said)


def test_there_is_a_line_for_every_word_of_a_long_list(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["walk", "a", "internationalize"] * 200
    monkeypatch.setattr("sys.stdin", stdin("\n".join(words).encode()))
    assert convert.main([run, "--to", "past"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(words)
    assert lines == lines[:3] * 200


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"walk\n\nsend\n", "standard input:2: an empty line"),
        (b"", "no words"),
        (b"\n\n", "no words"),
        (b"\xff\n", "standard input:1: not UTF-8: byte 0xff at position 1"),
        ("walk\nsend\n".encode("utf-16-le"), "standard input looks like UTF-16 without a byte"),
        (b"PK\x03\x04", "standard input is a spreadsheet"),
    ],
)
def test_unusable_standard_input_is_one_line(
    run: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    part: str,
) -> None:
    monkeypatch.setattr("sys.stdin", stdin(content))
    assert convert.main([run, "--to", "past"]) == 2
    assert part in one_line(capsys)


def test_a_terminal_as_standard_input_is_refused(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert convert.main([run, "--to", "past"]) == 2
    assert "no words" in one_line(capsys)


def test_a_forgotten_run_directory_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", stdin(b"walk\n"))
    assert convert.main(["abandon", "--to", "past"]) == 2
    assert "abandon: no such run directory; it stands before the words" in one_line(capsys)


# --- The process -------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cvae.convert", *arguments]


def test_help_and_wrong_words_do_not_wait_for_torch(run: str) -> None:
    program = (
        "import sys; from cvae import convert\n"
        "assert convert.main([sys.argv[1], 'w1', '--to', 'past']) == 2\n"
        "try: convert.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, run], check=True, capture_output=True)


def test_a_reader_that_closes_the_pipe_ends_it_cleanly(run: str, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("walk\n" * 3000)
    with words.open() as source, subprocess.Popen(
        command(run, "--to", "past", "-v"),
        stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has this device")
def test_a_full_disk_is_one_line(run: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(run, "walk", "--to", "past"), stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 2
    assert done.stderr == b"cvae.convert: cannot write: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_an_interrupt_ends_it_cleanly(run: str) -> None:
    program = (
        "import sys; from cvae import convert; print('ready', flush=True)\n"
        "sys.exit(convert.main([sys.argv[1], '--to', 'past']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, run],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.5)  # until it waits for standard input
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read() == b""
