"""Tests of cvae.colouring: categories with names and colours of their own."""

from __future__ import annotations

import re

import pytest

from cvae.colouring import COLOURINGS, Colouring
from cvae.data import Forms

WALK: Forms = ("walk", "walks", "walking", "walked")
SING: Forms = ("sing", "sings", "singing", "sang")


def label(name: str, forms: Forms) -> str:
    return COLOURINGS[name].labels[COLOURINGS[name].category(forms)]


def test_a_verb_has_the_categories_of_its_kind() -> None:
    assert [label(name, WALK) for name in COLOURINGS] == ["adds -ed", "regular", "w"]
    assert [label(name, SING) for name in COLOURINGS] == ["vowel change", "irregular", "s"]


@pytest.mark.parametrize("colouring", COLOURINGS.values(), ids=COLOURINGS)
def test_every_category_has_a_colour_of_its_own(colouring: Colouring) -> None:
    assert len(colouring.labels) == len(colouring.colours) == len(set(colouring.colours))
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colouring.colours)


@pytest.mark.parametrize("colouring", COLOURINGS.values(), ids=COLOURINGS)
@pytest.mark.parametrize("forms", [("", "", "", ""), ("?", "??", "", "x"), ("b", "", "c", "d")])
def test_what_is_no_verb_has_a_category_too(colouring: Colouring, forms: Forms) -> None:
    assert 0 <= colouring.category(forms) < len(colouring.labels)
