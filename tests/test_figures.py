"""Tests of cvae.figures: a picture for any rows, the same for the same rows."""

from __future__ import annotations

import io
import math
import subprocess
import sys

import pytest
from PIL import Image

from cvae import figures

FULL: dict[str, float | int | None] = {
    "step": 10,
    "epoch": 1,
    "cross_entropy": 20.0,
    "kl": 3.0,
    "kl_weight": 0.5,
    "teacher_forcing_ratio": 0.9,
    "bleu4": 0.2,
    "dev_bleu4": 0.1,
    "gaussian_score": 0.3,
    "dev_gaussian_score": 0.25,
}


def run_of(length: int) -> list[dict[str, float | int | None]]:
    return [
        {**FULL, "epoch": epoch, "cross_entropy": 20.0 / epoch, "dev_bleu4": 1 - 1 / epoch}
        for epoch in range(1, length + 1)
    ]


def ink(picture: bytes) -> int:
    """How many pixels are strongly coloured: the curves, and neither text nor grid."""
    image = Image.open(io.BytesIO(picture)).convert("HSV")
    saturation = image.getchannel("S").histogram()
    return sum(saturation[100:])


def test_the_picture_is_a_png_of_readable_size() -> None:
    image = Image.open(io.BytesIO(figures.curves(run_of(20))))
    assert image.format == "PNG"
    assert image.width > 1000 and image.height > 500


def test_the_same_rows_give_the_same_bytes() -> None:
    assert figures.curves(run_of(5)) == figures.curves(run_of(5))


def test_curves_are_drawn() -> None:
    assert ink(figures.curves([])) == 0
    assert 0 < ink(figures.curves([FULL])) < ink(figures.curves(run_of(40)))


@pytest.mark.parametrize("name", ["cross_entropy", "kl", "bleu4", "dev_gaussian_score"])
def test_one_value_alone_shows_as_a_dot(name: str) -> None:
    rows: list[dict[str, float | int | None]] = [{"epoch": n, name: None} for n in range(1, 100)]
    rows[50][name] = 0.5
    assert ink(figures.curves(rows)) > 10


def test_what_every_epoch_knows_is_drawn_from_every_epoch() -> None:
    """A KL weight that is 0 at all evaluations, and cycles between them."""
    evaluations = [{**FULL, "epoch": epoch, "kl_weight": 0.0} for epoch in (10, 20, 30)]
    epochs = [{"epoch": epoch, "kl_weight": epoch % 10 / 10} for epoch in range(1, 31)]
    coarse, fine = figures.curves(evaluations), figures.curves(evaluations, epochs)
    flat = [{**row, "kl_weight": 0.0} for row in epochs]
    assert ink(fine) != ink(coarse)
    assert figures.curves(evaluations, flat) != fine
    assert figures.curves(evaluations, [{"epoch": 1}]) == coarse


@pytest.mark.parametrize("size", [1e-9, 0.00012345, 1.0, 9876.5, 123456.0])
def test_no_number_is_cut_or_reaches_into_the_next_panel(size: float) -> None:
    rows = [{**FULL, "epoch": n, "cross_entropy": size / n, "kl": size / n} for n in range(1, 41)]
    image = Image.open(io.BytesIO(figures.curves(rows))).convert("L")
    assert image.crop((0, 0, 3, image.height)).getextrema() == (255, 255)
    margins = figures._MARGINS
    panel = (margins["right"] - margins["left"]) / (3 + 2 * margins["wspace"])
    for column in (1, 2):
        end = margins["left"] + panel * (column + (column - 1) * margins["wspace"])
        gap = [round(end * image.width) + pixels for pixels in (2, 5)]
        for row in (0.1, 0.6):  # the rows of panels, without what stands below them
            box = (gap[0], int(row * image.height), gap[1], int((row + 0.25) * image.height))
            assert image.crop(box).getextrema() == (255, 255)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{}],
        [{"epoch": None, "kl": 1.0}],
        [{"epoch": 1}, {"epoch": 2, "kl": 1.0}],
        [dict.fromkeys(FULL)],
        [{**FULL, "kl": math.nan, "cross_entropy": math.inf}],
        [{**FULL, "kl": 0.0, "kl_weight": 0.0}] * 2,
        [{**FULL, "kl": 1e300}],
    ],
)
def test_any_rows_make_a_picture_without_a_warning(
    rows: list[dict[str, float | int | None]], recwarn: pytest.WarningsRecorder
) -> None:
    assert figures.curves(rows).startswith(b"\x89PNG")
    assert not recwarn.list


def test_neither_importing_nor_drawing_touches_pyplot() -> None:
    program = (
        "import sys; from cvae import figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figures.curves([])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
