"""How a program ends: its exit code, at most one line of explanation, and the effect of Ctrl-C."""

from __future__ import annotations

import argparse
import difflib
import io
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

_last_words = b""


def _end_at_once(_: int, frame: FrameType | None) -> None:
    os.write(2, _last_words)
    os._exit(130)


def interrupt_ends_at_once(saying: str) -> None:
    """Let Ctrl-C end the process immediately, until ``interrupt_raises`` is called.

    Use it while there is nothing to save, above all during imports. There a ``KeyboardInterrupt``
    would show a traceback of the imported library, or be lost in one of its callbacks or
    ``except: pass`` blocks, and the program would go on.
    """
    global _last_words
    _last_words = saying.encode()
    _on_interrupt(signal.default_int_handler, _end_at_once)


def interrupt_raises() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt`` again."""
    _on_interrupt(_end_at_once, signal.default_int_handler)


def interrupt_is_late() -> None:
    """Ignore Ctrl-C after the program has ended, while Python shuts down."""
    _on_interrupt(signal.default_int_handler, signal.SIG_IGN)
    _on_interrupt(_end_at_once, signal.SIG_IGN)


def _on_interrupt(
    former: Callable[..., object],
    handler: Callable[[int, FrameType | None], object] | signal.Handlers,
) -> None:
    """Replace ``former``; a handler that somebody else set (nohup, a sweep) stays."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is former:
        signal.signal(signal.SIGINT, handler)


def libraries_may_warn() -> None:
    """Keep ``-W error`` from turning the warnings of libraries, as at import, into errors."""
    if any(option.startswith("error") for option in sys.warnoptions):
        ours = r"(cvae|hydra_plugins\.hydra_cvae_sweeper|__main__)\b"
        warnings.filterwarnings("ignore", module=f"(?!{ours})")


def any_text_may_be_printed() -> None:
    """Escape characters that the terminal cannot encode, as in a path that is not UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of everything else; ``prog`` is its command."""

    def error(self, message: str) -> NoReturn:
        """End the program with exit code 2."""
        name = self.prog.removeprefix("python -m ")
        known = [option for action in self._actions for option in action.option_strings]
        first = re.search(r"unrecognized arguments:.*? (--[\w-]+)", message)
        near = difflib.get_close_matches(first[1], known, n=1) if first else []
        hint = f"; did you mean {near[0]}?" if near else ""
        self.exit(2, f"{name}: {visible(message)}{hint} (--help lists what there is)\n")


class InputError(ValueError):
    """Raised for input that cannot be used; the message is one line."""


def run_directory(text: str) -> Path:
    """Convert ``text`` to a path, for argparse.

    Raises:
        argparse.ArgumentTypeError: if ``text`` is empty, which would mean the working directory.
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
    """Escape control characters in ``text``, so that a file's content cannot move the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def exit_code_of(program: str, work: Callable[[], None]) -> int:
    """Run ``work``, which prints; return the exit code.

    It is 0 for success, 2 with one line on stderr for an error, and 130 for an interrupt. A reader
    that closes the pipe early (head, less) is not an error.
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
        # Discard what is still in the buffer, or Python would report the error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        # An OSError without an errno (a library that cannot be loaded) has no strerror.
        print(f"{program}: cannot write: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
