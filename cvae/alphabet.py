"""The symbols of the task: 26 letters, three control symbols, four tenses.

The numbering is the report's: ``a`` to ``z`` are 0 to 25, start of sequence 26, end of
sequence 27; padding (28) is ours, since the report trains one word at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
SOS: Final = 26
EOS: Final = 27
PAD: Final = 28
SYMBOL_COUNT: Final = 29

TENSES: Final = ("simple_present", "third_person", "progressive", "past")
"""Names of the tenses 0, 1, 2 and 3: abandon, abandons, abandoning, abandoned."""

MAX_WORD_LENGTH: Final = 24
"""Longest word accepted, in letters; bounds every decoder loop."""

_INDEX: Final = {letter: index for index, letter in enumerate(LETTERS)}


def encode(word: str) -> list[int]:
    """Return ``[SOS, letters..., EOS]``: "abandon" is [26, 0, 1, 0, 13, 3, 14, 13, 27].

    Raises:
        KeyError: if a character is not one of a..z.
    """
    return [SOS, *(_INDEX[letter] for letter in word), EOS]


def decode(symbols: Iterable[int]) -> str:
    """Return the letters before the first EOS; a leading SOS is skipped.

    SOS or PAD in the middle of a word is no letter: it shows as ``?`` so that a wrong
    prediction can never pass for a right one.
    """
    letters: list[str] = []
    for position, symbol in enumerate(symbols):
        if symbol == EOS:
            break
        if symbol == SOS and position == 0:
            continue
        letters.append(LETTERS[symbol] if symbol < SOS else "?")
    return "".join(letters)
