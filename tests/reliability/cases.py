"""Helpers of the reliability tests: number of cases, running programs, auditing their actions.

Plain ``pytest`` runs a few hundred cases; ``CVAE_RELIABILITY=full`` runs all of them.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from shared import FULL

HANG_SECONDS = 20


def cases(few: int, many: int) -> settings:
    """Hypothesis settings: ``few`` cases by default, ``many`` in the full setting."""
    return settings(
        max_examples=many if FULL else few,
        deadline=None,  # a slow machine is not a failure
        database=None,
        derandomize=not FULL,
        suppress_health_check=list(HealthCheck),
    )


# --- The watch ---------------------------------------------------------------------------------

_RUNS_CODE = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
_CHANGES = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_seen: list[tuple[str, str]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event in _RUNS_CODE or event == "socket.connect":
        _seen.append((event, repr(arguments)[:200]))
    elif event in _CHANGES or (event == "open" and arguments[2] & _WRITES):
        _seen.append(("write", os.fsdecode(arguments[0]) if arguments[0] else ""))


sys.addaudithook(_watch)  # permanent: Python cannot remove an audit hook


@contextlib.contextmanager
def watched(*writable: Path) -> Iterator[None]:
    """Fail if the body runs code from a file or writes outside ``writable``."""
    global _seen
    with mock.patch.object(sys, "dont_write_bytecode", True):
        _seen = []
        try:
            yield
        finally:
            seen, _seen = _seen, None
    allowed = tuple(f"{path}" for path in writable)
    bad = [
        (event, what)
        for event, what in seen
        if event != "write" or not (allowed and os.path.abspath(what).startswith(allowed))
    ]
    assert not bad


# --- Programs ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """The exit code and output of a program."""

    code: int
    out: str
    err: str


def _hangs(_: int, frame: FrameType | None) -> None:
    raise AssertionError(f"no end after {HANG_SECONDS} s")


def ended(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[object],
    *,
    stdin: bytes = b"",
    writable: Sequence[Path] = (),
) -> Ended:
    """Run a program's main function in this process, with UTF-8 streams and audited."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    former = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(HANG_SECONDS)
    try:
        with (
            mock.patch.dict(os.environ),  # the program changes some
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            watched(*writable),
        ):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as exit:  # argparse
                code = int(exit.code or 0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
    texts = []
    for stream in (out, err):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        texts.append(stream.buffer.getvalue().decode())
    return Ended(code, *texts)


def refused_or_fine(end: Ended, *places: str) -> bool:
    """Whether it succeeded; if not, check for exit code 2 and one printable line with a place.

    ``places``: the line must contain one of these texts, if there are any.
    """
    assert all(line.isprintable() for line in end.out.split("\n")), end.out
    if end.code == 0:
        assert end.err == ""
        return True
    assert end.code == 2, end
    (line,) = end.err.splitlines()
    assert end.err == line + "\n" and line.isprintable()
    assert 10 < len(line) < 2000
    assert not places or any(place in line for place in places), line
    return False
