"""A few paradigms, regular and irregular, for tests of training pairs."""

from __future__ import annotations

from cvae.data import Paradigm


def paradigm(text: str, *, regular: bool = True) -> Paradigm:
    first, second, third, fourth = ((word,) for word in text.split())
    return Paradigm((first, second, third, fourth), regular=regular)


ROWS = (
    paradigm("abandon abandons abandoning abandoned"),
    paradigm("carry carries carrying carried"),
    paradigm("split splits splitting split", regular=False),
    paradigm("embarrass embarrasses embarrassing embarrassed"),
    paradigm("begin begins beginning began", regular=False),
    paradigm("vote votes voting voted"),
    paradigm("go goes going went", regular=False),
)
