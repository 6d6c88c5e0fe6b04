"""How a program ends: its exit code, at most one line about why, and what Ctrl-C does."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType

_last_words = b""


def _end_at_once(_: int, frame: FrameType | None) -> None:
    os.write(2, _last_words)
    os._exit(130)


def interrupt_ends_at_once(saying: str) -> None:
    """Ctrl-C ends the process here and now, until ``interrupt_raises``.

    For the time when there is nothing to save, that of the imports first of all: an exception
    would come out as a traceback of theirs, or get lost in one of their callbacks and ``except:
    pass``, and the program would go on.
    """
    global _last_words
    _last_words = saying.encode()
    _on_interrupt(signal.default_int_handler, _end_at_once)


def interrupt_raises() -> None:
    """Ctrl-C raises ``KeyboardInterrupt`` again."""
    _on_interrupt(_end_at_once, signal.default_int_handler)


def interrupt_is_late() -> None:
    """The program has ended: Ctrl-C has no more to say while Python clears up."""
    _on_interrupt(signal.default_int_handler, signal.SIG_IGN)
    _on_interrupt(_end_at_once, signal.SIG_IGN)


def _on_interrupt(
    former: Callable[..., object],
    handler: Callable[[int, FrameType | None], object] | signal.Handlers,
) -> None:
    """Replace ``former``; who else has taken the signal (nohup, a sweep) keeps it."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is former:
        signal.signal(signal.SIGINT, handler)


def libraries_may_warn() -> None:
    """Let no warning of a library end the program: with ``-W error`` one at an import would."""
    if any(option.startswith("error") for option in sys.warnoptions):
        ours = r"(cvae|hydra_plugins\.hydra_cvae_sweeper|__main__)\b"
        warnings.filterwarnings("ignore", module=f"(?!{ours})")


def any_text_may_be_printed() -> None:
    """Let what the terminal's encoding lacks, as a path that is not UTF-8, be escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class InputError(ValueError):
    """Input that cannot be used; the message is one line."""


def run_directory(text: str) -> Path:
    """The path that ``text`` is, for argparse; an empty one would be the working directory.

    Raises:
        argparse.ArgumentTypeError: if there is no text.
    """
    if not text:
        raise argparse.ArgumentTypeError("an empty path; name the directory of a run")
    return Path(text)


def run_of(program: str, path: Path) -> Path:
    """The run to use: ``path``, or the winner of the study in it, told on standard error.

    Raises:
        InputError: if there are several runs to choose from, or none yet.
    """
    from cvae import winner  # late: --help needs none of it

    try:
        directory, note = winner.run_of(path)
    except winner.WinnerError as error:
        raise InputError(str(error)) from error
    if note:
        print(f"{program}: {visible(note)}", file=sys.stderr)
    return directory


def visible(text: str) -> str:
    """``text`` with control characters shown: what a file holds must not move the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def exit_code_of(program: str, work: Callable[[], None]) -> int:
    """Run ``work``, which prints; return 0, 2 with one line of explanation, or 130.

    A reader that has seen enough (head, less) is no error; neither is an interrupt, which is told
    by its code alone.
    """
    libraries_may_warn()
    any_text_may_be_printed()
    try:
        if sys.stdout is None:
            raise InputError("standard output is closed: there is nowhere to print to")
        work()
        sys.stdout.flush()
    except InputError as error:
        print(f"{program}: {visible(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        # What is still in the buffer goes nowhere, or Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        # An OSError without a number (a library that does not load) has no strerror.
        print(f"{program}: cannot write: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
