"""Common mistakes: misspelt words, wrong paths, narrow windows, Ctrl-C.

One line says what to do next; nothing ends with a traceback.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from cases import FULL, ended, refused_or_fine
from terminals import on_terminal

from cvae import convert
from cvae.model import build_model
from cvae.run_directory import RunDirectory

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "browser")]
from fabricated_runs import fabricate_sweep  # noqa: E402
from test_run_directory import CONFIGS, DEFAULT  # noqa: E402

ENVIRONMENT = {
    "PYTHONPATH": str(TESTS.parent),
    "PATH": "/usr/bin:/bin",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
SMALL = (
    "debug=smoke", "data=files", "data.train_path=train.txt", "model.hidden_size=8",
    "model.prior_hidden_size=8", "model.grid_size=8", "training.batch_size=16",
)  # fmt: skip


def command(program: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"cvae.{program}", *map(str, arguments)]


def start(words: Sequence[str], cwd: Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        words, capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT, timeout=90, **more
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with ten verbs and a run."""
    lemmas = ["walk", "talk", "jump", "open", "help", "turn", "call", "work", "play", "look"]
    rows = "".join(f"{w} {w}s {w}ing {w}ed\n" for w in lemmas)
    (tmp_path / "train.txt").write_text(rows)
    (tmp_path / "empty").mkdir()
    old = RunDirectory(tmp_path / "old")
    old.create()
    torch.manual_seed(0)
    old.write_model(build_model(**DEFAULT).state_dict(), DEFAULT)
    old.write_result({"status": "complete"})
    return tmp_path


# --- Wrong words on the command line -----------------------------------------------------------
# Misspelt keys, members and values as a user types them: tests/test_config.py.


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run training=5", "training is 5, no section; it holds epochs, batch_size"),
        ("run -m model=null seed=1,2", "an override cannot be read: Config group override must"),
        ("run model=null", "an override cannot be read: Config group override must be a string"),
        (f"run seed={'1' * 5000}", "an override cannot be read: Exceeds the limit (4300 digits)"),
        (
            "run model.latent_size=4096 model.grid_size=1024 model.grid_features=256",
            "model.grid_size, model.grid_features and model.latent_size make 1,099,511,627,776 num",
        ),
        ("convert nowhere walk --to past", "nowhere: no such run directory; check the path"),
        ("convert train.txt walk --to past", "is a file; name the directory that holds it"),
        ("convert empty walk --to past", "the run has not ended, or this is no run directory"),
        ("convert old walk --to pasts", "--to is 'pasts', which is no tense; allowed: simple_pr"),
        ("convert old w4lk --to past", "'4' in 'w4lk' is not a letter a to z"),
        ("generate old -n 0", "-n is 0; allowed: 1 to"),
        ("compare nowhere", "nowhere: no such directory"),
        ("compare empty", "holds no run (a directory with result.json or .hydra)"),
        ("compare old --by bleu", "no numeric column 'bleu': choose from trial"),
        ("compare old --html empty", "empty: cannot be written: it is a directory"),
        ("compare old --html none/x.html", "none is no directory"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(
    line: str, says: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(place.rglob("*"))
    program, *arguments = line.split(" ")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", [program])
    end = ended(importlib.import_module(f"cvae.{program}").main, arguments)
    assert not refused_or_fine(end, says)
    assert end.err.startswith(("error: ", f"cvae.{program}: "))
    assert set(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hydra.run.dir=train.txt", "train.txt: File exists; choose a directory that can be wri"),
        ("hydra.run.dir=/proc/none", "/proc/none: No such file or directory; choose a directory"),
        ("-m hydra.sweep.dir=train.txt", "hydra.sweep.dir"),
        ("data.train_path=nofile", "nofile: cannot be read: No such file or directory"),
        ("hydra.run.dir=old", "holds a finished run; choose another directory or remove it"),
    ],
)
def test_a_place_that_cannot_be_used_is_named(line: str, says: str, place: Path) -> None:
    words = sorted([*SMALL, *line.split()], key=lambda word: word != "-m")  # Hydra needs -m first
    finished = start(command("run", *words), place)
    # Hydra's own line about a failed job comes before ours.
    lines = [x for x in finished.stderr.splitlines() if not x.startswith("Error executing job")]
    assert (finished.returncode, len(lines)) == (2, 1), finished.stderr
    assert lines[0].startswith("error: ") and says in lines[0]


@pytest.mark.parametrize(
    ("option", "says"),
    [("-Werror", "hydra.sweep.dir"), ("-O", "python -O removes assertions that Hydra needs")],
)
def test_a_search_under_an_option_of_python(option: str, says: str, place: Path) -> None:
    program = [sys.executable, option, "-m", "cvae.run", "-m"]
    finished = start([*program, *SMALL, "hydra.sweep.dir=train.txt"], place)
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ") and says in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_words_may_follow_the_options(place: Path) -> None:
    before = ended(convert.main, [place / "old", "walk", "talk", "--to", "past"])
    behind = ended(convert.main, [place / "old", "--to", "past", "walk", "talk"])
    assert (before.code, behind.code) == (0, 0), behind.err
    assert before.out == behind.out and before.out.count("\n") == 2


def test_the_weights_of_another_version_are_named(place: Path) -> None:
    path = place / "old" / "model.json"
    path.write_text(json.dumps({"format": 0, "model": DEFAULT}))
    end = ended(convert.main, [place / "old", "walk", "--to", "past"])
    assert end.err == f"cvae.convert: {path}: format is 0; this version reads 1\n"
    assert end.code == 2


def _without_privileges(words: list[str]) -> list[str]:
    """The command as one that runs as root without the right to bypass permissions."""
    if os.geteuid() != 0:
        return words
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--", *words]


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux's capabilities")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"run {' '.join(SMALL)}", "Permission denied; choose a directory that can be written to"),
        (
            f"run {' '.join(SMALL)} hydra.run.dir=closed",
            "closed: is not writable; change its permissions",
        ),
        ("compare old --html page.html", "page.html: cannot be written: Permission denied"),
        ("compare closed", "closed: cannot be listed: Permission denied"),
        ("convert closed walk --to past", "cannot be read: Permission denied"),
    ],
)
def test_without_permission_the_place_is_named(line: str, says: str, place: Path) -> None:
    program, *arguments = line.split(" ")
    (place / "closed").mkdir(mode=0)
    place.chmod(0o555)
    try:
        finished = start(_without_privileges(command(program, *arguments)), place)
    finally:
        place.chmod(0o755)
        (place / "closed").chmod(0o755)
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.count("\n") == 1 and says in finished.stderr, finished.stderr


# --- A narrow window ---------------------------------------------------------------------------


def in_a_terminal(
    words: Sequence[str], cwd: Path, columns: int, **variables: str
) -> tuple[int, str]:
    """Exit code and output of a program in a terminal with this number of columns."""
    return on_terminal(words, cwd, columns, {**ENVIRONMENT, **variables})


@pytest.mark.parametrize("window", [True, False], ids=["window", "COLUMNS"])
def test_the_leaderboard_fits_forty_columns(window: bool, tmp_path: Path) -> None:
    fabricate_sweep(tmp_path / "a_search_with_a_long_name", 12)
    fabricate_sweep(tmp_path / "another_search_with_a_long_name", 12)
    words = command("compare", ".")
    if window:
        code, output = in_a_terminal(words, tmp_path, 40)
    else:
        code, output = in_a_terminal(words, tmp_path, 100, COLUMNS="40")
    assert code == 0
    lines = output.replace("\r\n", "\n").split("\n")
    long = [line for line in lines if len(line) > 40]
    assert all(line.startswith(("best run", "run again")) for line in long), long
    assert any(line.split()[:3] == ["#", "trial", "objective"] for line in lines)
    assert sum(line.lstrip()[:1].isdigit() for line in lines) >= 14


def test_a_run_in_forty_columns_keeps_its_bar_on_a_line(place: Path) -> None:
    code, output = in_a_terminal(command("run", *SMALL), place, 40)
    assert code == 0, output
    assert "Traceback" not in output and "Objective (weighted)" in output
    bars = [part for line in output.split("\n") for part in line.split("\r") if "%|" in part]
    assert len(bars) >= 2 and all(len(bar) <= 40 for bar in bars)


# --- Ctrl-C ------------------------------------------------------------------------------------


def interrupted(words: Sequence[str], cwd: Path, after: float) -> tuple[int, str, float]:
    """Exit code, output, and seconds between the interrupt and the end."""
    with subprocess.Popen(
        words, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        time.sleep(after)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode == -signal.SIGINT and not output:
        # Python had not installed its handler yet, so the system ended the process.
        return 130, "Interrupted before anything was started.", time.monotonic() - sent
    return process.returncode, output, time.monotonic() - sent


def until(said: str, words: Sequence[str], cwd: Path) -> int:
    """Exit code of a program that is interrupted once it has printed ``said``."""
    with subprocess.Popen(
        words, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            came = any(said in line for line in itertools.islice(process.stdout, 100))
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        finally:
            process.kill()  # or the end of the block would wait for a run that goes on
    assert came
    return process.returncode


MOMENTS = sorted(random.Random(0).uniform(0.1, 7.0) for _ in range(15)) if FULL else [0.4, 2.5]
"""From 0.1 s on, because before that Python itself is starting."""


def test_an_interrupted_run_ends_at_once_and_names_the_directory_to_resume(place: Path) -> None:
    long = ["training.epochs=100000", "evaluation.every_epochs=1"]
    for number, moment in enumerate(MOMENTS):
        words = command("run", *SMALL, *long, f"hydra.run.dir=run_{number}")
        code, output, took = interrupted(words, place, moment)
        assert code == 130, (moment, output)
        assert "Traceback" not in output and "Exception ignored" not in output, (moment, output)
        last = output.splitlines()[-1]
        directory = place / f"run_{number}"
        assert last.startswith("Interrupted") and took < 10.0
        if (directory / "checkpoint.safetensors").exists():
            assert f"To resume, repeat the same command with hydra.run.dir={directory}" in last
    directory = place / "resumed"
    words = command("run", *SMALL, *long, f"hydra.run.dir={directory}")
    assert until("epoch    3 ", words, place) == 130
    found = RunDirectory(directory).read_checkpoint()
    assert found is not None and found[1]["epoch"] >= 2
    assert until(f"Resumed from {directory} at epoch", words, place) == 130


def test_an_interrupted_search_ends_soon_and_says_how_to_resume(place: Path) -> None:
    for number, moment in enumerate(MOMENTS if FULL else [4.0]):
        words = command(
            "run", "-m", *SMALL, "training.epochs=100000", "hydra.sweeper.n_trials=2",
            "hydra.sweeper.n_jobs=1", f"hydra.sweeper.study_name=at_{number}",
        )  # fmt: skip
        words = [word.replace("train.txt", str(place / "train.txt")) for word in words]
        code, output, took = interrupted(words, place, moment)
        assert code == 130, (moment, output)
        assert "Traceback" not in output and "Exception ignored" not in output, (moment, output)
        assert "nterrupted" in output and took < 15.0
        assert any(
            words in output for words in ("continues", "repeat the same command", "was started")
        )


@pytest.mark.parametrize("program", ["convert", "generate", "compare"])
def test_the_other_programs_end_at_once(program: str, place: Path) -> None:
    write = RunDirectory(place / "old").write_model
    write(build_model(**CONFIGS["report"]).state_dict(), CONFIGS["report"])
    arguments = {
        "convert": ["old", *["walk"] * 3000, "--to", "past"],
        "generate": ["old", "-n", "1000000"],
        "compare": ["old", "--html", "page.html"],
    }[program]
    for moment in [0.15, 0.4, 0.8, 1.5] if FULL else [0.6]:
        code, output, took = interrupted(command(program, *arguments), place, moment)
        assert "Traceback" not in output, output
        assert code == 130 or (code == 0 and program != "generate")
        assert took < 5.0
