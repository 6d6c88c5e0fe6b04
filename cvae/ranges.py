"""Allowed values of numbers and names: the test, and its description for error messages."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Range:
    """A set of allowed values.

    Attributes:
        words: completes "allowed: ..." in an error message.
        holds: whether a value is allowed; takes any object.
    """

    words: str
    holds: Callable[[object], bool]


def number(words: str, holds: Callable[[float], bool]) -> Range:
    """Finite numbers for which ``holds`` is true; ``True`` does not count as a number."""

    def check(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return abs(value) <= sys.float_info.max and holds(value)

    return Range(words, check)


def whole_number(low: int, high: int) -> Range:
    """Whole numbers from ``low`` to ``high``, both included."""

    def check(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Range(f"a whole number in [{low}, {high}]", check)


def one_of(names: Iterable[object]) -> Range:
    """One of ``names``; the type must match too, because True == 1."""
    allowed = tuple(names)
    words = "one of " + ", ".join(str(name) for name in allowed)
    return Range(words, lambda value: any(value == n and type(value) is type(n) for n in allowed))


def or_null(allowed: Range) -> Range:
    """A value in ``allowed``, or null."""
    return Range(f"{allowed.words}, or null", lambda value: value is None or allowed.holds(value))


def did_you_mean(text: str, allowed: Sequence[str], *, prefix: str = "") -> str:
    """Suggest the closest of ``allowed``, with a trailing space; empty if none is close."""
    near = difflib.get_close_matches(text, allowed, n=1)
    return f"did you mean {prefix}{near[0]}? " if near else ""


SHARE: Final = number("a number in [0, 1]", lambda value: 0.0 <= value <= 1.0)
POSITIVE_SHARE: Final = number("a number in (0, 1]", lambda value: 0.0 < value <= 1.0)
NOT_NEGATIVE: Final = number("a finite number >= 0", lambda value: value >= 0.0)
POSITIVE: Final = number("a finite number > 0", lambda value: value > 0.0)
FLAG: Final = Range("true or false", lambda value: isinstance(value, bool))


def _is_text(value: object) -> bool:
    # Bytes that are not UTF-8 appear as lone surrogates, which cannot be written to the results.
    return isinstance(value, str) and value != "" and not re.search("[\ud800-\udfff]", value)


TEXT: Final = Range("a text in UTF-8", _is_text)
