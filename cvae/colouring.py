"""What the colour of a verb says on the map of the latent space."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cvae.alphabet import LETTERS
from cvae.data import Forms
from cvae.inflection import INFLECTION_CLASSES, REGULAR_CLASSES, inflection_class


@dataclass(frozen=True)
class Colouring:
    """A way to colour verbs.

    Attributes:
        title: what the colour says.
        labels: the name of each category.
        colours: its colour, ``#rrggbb``; told apart on white and on black.
        category: the category of four forms, an index into both.
    """

    title: str
    labels: tuple[str, ...]
    colours: tuple[str, ...]
    category: Callable[[Forms], int]


def _first_letter(forms: Forms) -> int:
    letter = forms[0][:1]
    return LETTERS.index(letter) if letter and letter in LETTERS else len(LETTERS)


def _letter_colours() -> tuple[str, ...]:
    """Hues around the circle; neighbours in the alphabet differ in lightness and saturation too."""
    steps = ((0.62, 0.75), (0.42, 0.55), (0.74, 0.50))  # lightness, saturation
    colours = []
    for number in range(len(LETTERS)):
        lightness, saturation = steps[number % len(steps)]
        rgb = colorsys.hls_to_rgb(number / len(LETTERS), lightness, saturation)
        colours.append("#" + "".join(f"{round(255 * part):02x}" for part in rgb))
    return (*colours, "#808080")


_CLASS_COLOURS: Final = (
    # Regular verbs in blues and greens, irregular ones in warm colours.
    *("#8fbbd9", "#3a7fb5", "#2a9d8f", "#6a6fc4"),
    *("#e9b000", "#d1435b", "#f0803c", "#8a2f6b"),
)

COLOURINGS: Final = {
    "class": Colouring("inflection class", INFLECTION_CLASSES, _CLASS_COLOURS, inflection_class),
    "regularity": Colouring(
        "regularity",
        ("regular", "irregular"),
        ("#6fa3cc", "#d1435b"),
        lambda forms: int(inflection_class(forms) >= REGULAR_CLASSES),
    ),
    "letter": Colouring("first letter", (*LETTERS, "none"), _letter_colours(), _first_letter),
}
"""By the name that a command line takes."""


def paler(colour: str) -> str:
    """The colour of what decodes to no training row: ``colour`` thinned with white."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(0.28 * part + 0.72 * 255):02x}" for part in parts)
