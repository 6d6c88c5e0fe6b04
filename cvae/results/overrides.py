"""Hydra overrides as keys with typed values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

Value = bool | int | float | str
_INT: Final = re.compile(r"[+-]?\d+(_\d+)*")
_WORD: Final = re.compile(r"[+-]?(inf|nan)")
_FLOAT: Final = re.compile(r"[+-]?((\d+(_\d+)*)?\.\d+|\d+(_\d+)*\.?)([eE][+-]?\d+)?")


def assignments(overrides: Iterable[str]) -> dict[str, str]:
    """Return the last value given to each key; deletions and Hydra's own keys are left out."""
    assigned: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        key = key.strip().lstrip("+")
        if equals and key and key[0] != "~" and not key.startswith(("hydra.", "hydra/")):
            assigned[key] = value.strip()
    return assigned


def parse_value(text: str) -> Value | None:
    """Return the value that Hydra's grammar gives ``text``: ``1e-3`` is a number, "8" a text."""
    lowered = text.lower()
    if lowered in ("null", ""):
        return None
    if lowered in ("true", "false"):
        return lowered == "true"
    if _INT.fullmatch(text) and len(text) < 19:
        return int(text)
    if _FLOAT.fullmatch(text) or _WORD.fullmatch(lowered):
        return float(text)
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].replace("\\" + text[0], text[0])
    return text
