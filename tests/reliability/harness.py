"""Start runs and sweeps to be killed, and check what they write meanwhile."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from safetensors.torch import load
from shared import FULL, REPOSITORY, python

from cvae import results

SERVER = REPOSITORY / "tests" / "sweeper" / "postgresql_server.sh"
sys.path[:0] = [str(REPOSITORY / "tests" / "sweeper"), str(REPOSITORY / "benchmarks")]

from standin import Standin  # noqa: E402
from trial_overhead import few_verbs  # noqa: E402

QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}

# Preloaded into the process that forks runs, so that runs start faster.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["cvae.experiment", "hydra.main", "harness", "matplotlib.backends.backend_agg"]
)


def count(quick: int, full: int) -> int:
    return full if FULL else quick


# --- Runs --------------------------------------------------------------------------------------


def smoke(directory: Path, *more: str) -> list[str]:
    """The arguments of a small run on forty verbs in ``directory/run``."""
    return [*few_verbs(directory), "threads=1", f"hydra.run.dir={directory}/run", *more]


def start(words: list[str], log: Path) -> Any:
    """``python -m cvae.run WORDS`` in a process forked from one with the imports done."""
    process = _FORKS.Process(target=_program, args=(words, str(log)))
    process.start()
    return process


def _program(words: list[str], log: str) -> None:
    os.environ.update(QUIET)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from cvae import run, run_figure

    run_figure.FORMATS = ("png",)  # type: ignore[misc]  # PDF and SVG take half of the time
    sys.exit(run.main(words))


def finish(words: list[str], log: Path) -> tuple[int, str]:
    """Run to the end; return the exit code and the output."""
    process = start(words, log)
    process.join(120)
    return process.exitcode, log.read_text()


def command(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m cvae.run WORDS`` as a user types it."""
    return python("-m", "cvae.run", *words, cwd=cwd, timeout=300, **(QUIET | environment))


def numbers(run: Path) -> dict[str, Any]:
    """All results of a run except its times."""
    result = json.loads((run / "result.json").read_text())
    found = {key: result[key] for key in ("status", "objective", "metrics", "config", "steps")}
    found["metrics.csv"] = pd.read_csv(run / "metrics.csv").drop(columns="seconds").to_csv()
    for name in (
        *("weights.safetensors", "model.json"),
        *("epochs.csv", "losses.csv", "conversions.csv", "samples.csv"),
    ):
        found[name] = (run / name).read_bytes()
    return found


def is_one_line(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


# --- The reader --------------------------------------------------------------------------------


class Reader(threading.Thread):
    """Repeatedly reads every file below a directory; records those that cannot be parsed.

    It skips logs and ``.hydra/``, which Hydra does not write atomically.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.directory = directory
        self.faults: list[str] = []
        self.reads = 0
        self._ended = threading.Event()

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join(60)

    def run(self) -> None:
        while not self._ended.wait(0.02):
            for folder, _, names in os.walk(self.directory):
                for path in (Path(folder, name) for name in names if name[0] != "."):
                    if path.suffix in _PARSERS and path.parent.name != ".hydra":
                        self._attempt(path, _PARSERS[path.suffix])
            self._attempt(self.directory, _load)

    def _attempt(self, path: Path, parse: Callable[[Path], object]) -> None:
        try:
            parse(path)
            self.reads += 1
        except FileNotFoundError:
            pass  # removed since it was listed
        except Exception as error:
            self.faults.append(f"{path}: {type(error).__name__}: {error}")


def _tensors(path: Path) -> None:
    # Opened only once: safe_open opens the file again, and it may have been removed by then.
    assert all(tensor.numel() >= 0 for tensor in load(path.read_bytes()).values())


def _table(path: Path) -> None:
    text = path.read_text()
    rows = list(csv.reader(io.StringIO(text), strict=True))
    assert text.endswith("\n") and len({len(row) for row in rows}) == 1, text[-200:]


def _picture(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")


def _mapping(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def _load(path: Path) -> None:
    try:
        frame = results.load(path)
    except results.ResultsError as error:
        assert "holds no run" in str(error) or "cannot be listed" in str(error), error
    else:
        assert "unreadable" not in set(frame["status"]), frame["reason"].tolist()


_PARSERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".csv": _table,
    ".safetensors": _tensors,
    ".png": _picture,
    ".yaml": _mapping,
}


# --- Processes and servers ---------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A sweep, the process that forks its trials, and the trials, as far as they still run."""
    found = [pid]
    for parent in found:
        try:
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except OSError:
            continue
    return found


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def end(app: Standin) -> None:
    """Kill processes that a test has left behind."""
    for process in app.started:
        if process.poll() is None:
            kill(process.pid)
            process.communicate(timeout=60)


def kill_something(process: subprocess.Popen[str], draw: random.Random) -> str:
    """Kill one kind of a sweep's processes, or all of them."""
    members = family(process.pid)
    victims = {
        "everything": members,
        "coordinator": members[:1],
        "nursery": members[1:2],
        "trial": members[2:3],
    }
    what = draw.choice([name for name, pids in victims.items() if pids])
    for pid in victims[what]:
        kill(pid)
    return what


@dataclass
class Server:
    """A separate PostgreSQL server for the tests."""

    directory: Path

    def do(self, action: str) -> None:
        subprocess.run([SERVER, action, self.directory], check=True, timeout=120)

    @property
    def url(self) -> str:
        return (self.directory / "url").read_text().strip()


@contextmanager
def postgresql() -> Iterator[Server]:
    """A running server; skips where PostgreSQL is not installed."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("PostgreSQL is not installed")
    # Not pytest's directory: the server's user must be able to enter it.
    server = Server(Path(tempfile.mkdtemp(prefix="cvae-reliability-")))
    server.directory.chmod(0o755)
    try:
        server.do("start")
        yield server
    finally:
        server.do("stop")
        shutil.rmtree(server.directory)


@contextmanager
def small_disk(directory: Path, size: str, *more: str) -> Iterator[Path]:
    """Mount a file system of ``size`` at ``directory``; this needs root."""
    directory.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *more]), "none", directory]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def wait_until(condition: Callable[[], Any], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not get there"
        time.sleep(0.02)
