"""How a program that prints words ends: its exit code, and at most one line about why."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Input that cannot be used; the message is one line."""


def visible(text: str) -> str:
    """``text`` with control characters shown: what a file holds must not move the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def exit_code_of(program: str, work: Callable[[], None]) -> int:
    """Run ``work``, which prints; return 0, 2 with one line of explanation, or 130.

    A reader that has seen enough (head, less) is no error; neither is an interrupt, which is told
    by its code alone.
    """
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
