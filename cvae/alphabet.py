"""The symbols of the task: 26 letters, three control symbols, four tenses.

The numbering is the report's: ``a`` to ``z`` are 0 to 25, start of sequence is 26, end of
sequence 27. Padding (28) is added here, because the report trains one word at a time.
"""

from __future__ import annotations

import re
import unicodedata
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
"""Longest accepted word, in letters; limits every decoder loop."""

_INDEX: Final = {letter: index for index, letter in enumerate(LETTERS)}


class WordError(ValueError):
    """Raised for a word that cannot be used; the message is one line."""


def read_word(text: str) -> str:
    """Return ``text`` as a word: letters a..z, with capitals A..Z changed to lower case.

    Raises:
        WordError: if ``text`` is empty, has another character, or has more than
            ``MAX_WORD_LENGTH`` letters.
    """
    quoted = ascii(text if len(text) <= MAX_WORD_LENGTH else text[:MAX_WORD_LENGTH] + "...")
    if not text:
        raise WordError("an empty word")
    strange = re.search("[^A-Za-z]", text)
    if strange is not None:
        # Name characters that may be invisible; control characters have no name.
        name = "" if strange[0].isascii() else unicodedata.name(strange[0], "").lower()
        named = f" ({name})" if name and not strange[0].isalpha() else ""
        raise WordError(f"{strange[0]!a}{named} in {quoted} is not a letter a to z")
    if len(text) > MAX_WORD_LENGTH:
        raise WordError(f"{quoted} has {len(text)} letters; at most {MAX_WORD_LENGTH} are allowed")
    return text.lower()


def encode(word: str) -> list[int]:
    """Return ``[SOS, letters..., EOS]``: "abandon" is [26, 0, 1, 0, 13, 3, 14, 13, 27].

    Raises:
        KeyError: if a character is not one of a..z.
    """
    return [SOS, *(_INDEX[letter] for letter in word), EOS]


def decode(symbols: Iterable[int]) -> str:
    """Return the letters before the first EOS; a leading SOS is skipped.

    SOS or PAD inside a word is shown as ``?``, so that a wrong prediction cannot look correct.
    """
    letters: list[str] = []
    for position, symbol in enumerate(symbols):
        if symbol == EOS:
            break
        if symbol == SOS and position == 0:
            continue
        letters.append(LETTERS[symbol] if symbol < SOS else "?")
    return "".join(letters)
