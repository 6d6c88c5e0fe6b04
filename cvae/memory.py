"""Gives memory that is free back to the system, so that more trials fit beside each other.

glibc keeps what a program frees, in pieces of all sizes: after some epochs of small tensors there
is more of it than memory in use. Elsewhere than on Linux with glibc nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's malloc_trim; None where the C library has none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def return_free_memory() -> None:
    """Return the pages that hold nothing; takes some ten milliseconds."""
    trim = _trim()
    if trim is not None:
        trim(0)
