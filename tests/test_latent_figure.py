"""Tests of cvae.latent_figure: a picture of any map, with its colours and its words."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_latent_space import NOTHING, ROWS

from cvae import latent_figure
from cvae.colouring import COLOURINGS, paler
from cvae.latent_planes import unit_plane
from cvae.latent_space import WHOLE, LatentMap, Paradigms, Places


def map_of(places: Places, *, units: int = 2, warning: str | None = None) -> LatentMap:
    paradigms = Paradigms(ROWS)
    paradigms.number(NOTHING)
    axes = min(units, 2)
    return LatentMap(
        plane=unit_plane(range(axes), torch.zeros(units), "0"),
        paradigms=paradigms,
        places=places,
        rows=np.full((len(ROWS), axes), 0.5),
        spread=np.full((len(ROWS), axes), 0.1),
        decoded=np.arange(len(ROWS)),
        neighbours=None,
        warning=warning,
    )


def picture_of(seen: LatentMap, colouring: str = "class") -> Image.Image:
    content = latent_figure.draw(seen, COLOURINGS[colouring], "title", lambda _: seen.places)
    return Image.open(io.BytesIO(content)).convert("RGB")


def pixels(image: Image.Image, colour: str) -> int:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((np.asarray(image) == wanted).all(axis=2).sum())


@pytest.mark.parametrize("name", COLOURINGS)
def test_places_have_the_colour_of_their_verb(name: str) -> None:
    """Row 0 in three quarters of the map, what is no training row in the last one."""
    nothing = len(ROWS)
    seen = map_of(np.array([[0, 0], [0, nothing]]))
    image = picture_of(seen, name)
    colouring = COLOURINGS[name]
    walk = pixels(image, colouring.colours[colouring.category(ROWS[0].preferred)])
    other = pixels(image, paler(colouring.colours[colouring.category(NOTHING)]))
    assert 2.0 < walk / other < 4.0
    assert other > 20_000


def test_the_first_place_is_at_the_lower_left() -> None:
    image = picture_of(map_of(np.array([[1, 0], [0, 0]])))
    colouring = COLOURINGS["class"]
    colour = colouring.colours[colouring.category(ROWS[1].preferred)]
    box = (0, image.height // 2, image.width // 4, int(0.8 * image.height))
    assert pixels(image.crop(box), colour) > 10_000


def test_the_same_map_gives_the_same_file() -> None:
    seen = map_of(np.array([[0, 1], [2, 3]]))
    draw = [latent_figure.draw(seen, COLOURINGS["class"], "t", lambda _: seen.places)] * 2
    assert draw[0] == draw[1]


@pytest.mark.parametrize("units", [1, 2, 3])
@pytest.mark.parametrize("warning", [None, "posterior collapse: so and so"])
def test_any_map_makes_a_picture(
    units: int, warning: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    places = np.array([[0, 1, 2]]) if units == 1 else np.array([[0, 1], [5, 5]])
    image = picture_of(map_of(places, units=units, warning=warning))
    red = pixels(image, "#b3261e")
    assert (red > 50) == (warning is not None)
    assert not recwarn.list


def test_the_detail_holds_a_readable_number_of_rows() -> None:
    few = map_of(np.array([[0, 1], [2, 3]]))
    assert latent_figure.detail_window(few) == WHOLE
    left, right, bottom, top = latent_figure.detail_window(_with_rows_met(3200))
    assert (left, bottom) == (pytest.approx(0.45), pytest.approx(0.45))
    assert (right, top) == (pytest.approx(0.55), pytest.approx(0.55))


def _with_rows_met(count: int) -> LatentMap:
    seen = map_of(np.arange(count).reshape(1, -1).repeat(2, axis=0))
    seen.paradigms.row_count = count
    return seen


def test_borders_stand_between_different_places() -> None:
    lines = latent_figure.borders(np.array([[0, 1], [0, 0]]), (0.0, 2.0, 0.0, 2.0))
    assert sorted(lines.tolist()) == [[[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [2.0, 1.0]]]
    assert len(latent_figure.borders(np.zeros((3, 3), dtype=np.int64), WHOLE)) == 0


def test_ticks_are_round_values_of_z_at_their_quantiles() -> None:
    whole = dict(latent_figure.z_ticks(0.0, 1.0))
    assert whole[0.5] == "0"
    assert list(whole.values()) == ["-2", "-1", "-0.5", "0", "0.5", "1", "2"]
    part = latent_figure.z_ticks(0.4, 0.6)
    assert 4 <= len(part) <= 8
    assert all(0.4 <= place <= 0.6 for place, _ in part)


def test_neither_importing_nor_drawing_touches_pyplot() -> None:
    program = "import sys; from cvae import latent_figure\nassert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
