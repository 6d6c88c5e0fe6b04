"""A picture for any rows, the same for the same rows, of final size, and legible."""

from __future__ import annotations

import html
import io
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from cvae import run_figure

FULL: dict[str, float | int | None] = {
    "step": 10,
    "epoch": 1,
    "cross_entropy": 20.0,
    "kl": 3.0,
    "kl_weight": 0.5,
    "teacher_forcing_ratio": 0.9,
    "bleu4": 0.2,
    "dev_bleu4": 0.1,
    "dev_gaussian_score": 0.25,
    "dev_objective": 0.175,
}


def picture(
    rows: Sequence[run_figure.Row], epoch_rows: Sequence[run_figure.Row] = (), **more: Any
) -> bytes:
    return run_figure.pictures(rows, epoch_rows=epoch_rows, formats=["png"], **more)["png"]


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


CONFIG: dict[str, Any] = {
    "training": {
        "epochs": 20,
        "prior_start": 0.1,
        "partition_start": 0.5,
        "coverage_start": 0.6,
        "coverage_draws": 8,
    },
    "model": {"word_latent_size": 64},
    "anneal": {"name": "cyclical", "ramp": "linear", "cycle_count": 4, "ramp_fraction": 0.5,
               "kl_weight_max": 0.3},
    "teacher_forcing": {"name": "constant", "ratio": 1.0},
}  # fmt: skip


def texts(rows: Sequence[run_figure.Row], **more: Any) -> list[str]:
    """Return every text in the figure: matplotlib writes each into the SVG as a comment."""
    svg = run_figure.pictures(rows, formats=["svg"], **more)["svg"].decode()
    return [html.unescape(text.strip()) for text in re.findall(r"<!-- (.*?) -->", svg)]


def test_the_pictures_are_of_final_size_and_whole() -> None:
    found = run_figure.pictures(run_of(20), config=CONFIG, kept_epoch=16)
    image = Image.open(io.BytesIO(found["png"]))
    assert image.format == "PNG"
    assert image.width / image.info["dpi"][0] == pytest.approx(6.3, rel=0.01)
    assert image.width > 1000 and image.height > 500
    assert found["pdf"].startswith(b"%PDF") and b"%%EOF" in found["pdf"][-10:]
    points = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", found["pdf"])
    assert points is not None and float(points[1]) == pytest.approx(6.3 * 72)
    assert b'width="453.6pt"' in found["svg"] and found["svg"].rstrip().endswith(b"</svg>")


def test_the_same_rows_give_the_same_bytes() -> None:
    again = [run_figure.pictures(run_of(5), config=CONFIG, kept_epoch=4) for _ in range(2)]
    assert again[0] == again[1]


def test_phases_the_kept_checkpoint_and_final_values_are_named() -> None:
    rows = [{**row, "dev_bleu4": 0.111, "seen_bleu4": 0.222} for row in run_of(20)]
    shown = texts(rows, config=CONFIG, kept_epoch=16)
    (key,) = [text for text in shown if ";" in text]
    assert key == (
        "a: z starts to learn;  b: z comes to rest;  c: prior coverage starts;  "
        "kept: checkpoint of epoch 16"
    )
    assert {"a", "b", "c", "kept", "0.111", "0.222", "0.200", "0.175"} <= set(shown)
    assert not {"steps", "mean of an epoch"} & set(shown)
    losses = [{"epoch": i / 2, "cross_entropy": 7.0, "kl": 0.3 + i} for i in range(1, 41)]
    shown_too = texts(rows, config=CONFIG, loss_rows=losses)
    assert {"steps", "mean of an epoch"} <= set(shown_too)
    assert "40.3" not in shown_too  # the last step says less than the last epoch
    assert {"the report's ten pairs", "sample of training verbs", "dev verbs"} <= set(shown)
    one_level = {**CONFIG, "model": {}, "training": {**CONFIG["training"], "coverage_draws": 0}}
    shown = texts([{**FULL, "dev_bleu4": None}], config=one_level)
    assert "BLEU-4 of conversions, the report's ten pairs" in shown
    assert not {"a", "kept", "the report's ten pairs", "dev verbs"} & set(shown)


def test_the_variety_is_drawn_where_the_objective_counts_it() -> None:
    rows = [{**FULL, "dev_gaussian_variety": 0.187}]
    counted = {**CONFIG, "objective": {"name": "weighted", "generation": "variety"}}
    assert {"score", "variety", "0.187"} <= set(texts(rows, config=counted))
    for objective in ({"name": "weighted", "generation": "share"}, {"name": "bleu"}):
        assert not {"score", "variety", "0.187"} & set(
            texts(rows, config={**CONFIG, "objective": objective})
        )


def test_a_cycle_shorter_than_an_epoch_is_drawn() -> None:
    """Every epoch ends on weight 0.3; the schedule goes back to 0 four times in between."""
    rows = [{**row, "kl_weight": 0.3} for row in run_of(20)]
    short = {**CONFIG, "training": {**CONFIG["training"], "partition_start": 0.2}}
    constant = {**short, "anneal": {"name": "constant", "kl_weight": 0.3}}
    pictures = [Image.open(io.BytesIO(picture(rows, config=c))) for c in (short, constant)]
    dark = [sum(image.convert("L").histogram()[:60]) for image in pictures]
    assert dark[0] > dark[1] + 4 * 100


def test_losses_are_drawn_from_the_finest_rows() -> None:
    rows = run_of(20)
    losses = [{"epoch": i / 20, "cross_entropy": 20.0, "kl": i % 2} for i in range(1, 400)]
    assert picture(rows, rows, loss_rows=losses) != picture(rows, rows)
    assert picture(rows, rows, loss_rows=[{"epoch": 1, "kl": None}]) == picture(rows, rows)


def test_curves_are_drawn() -> None:
    assert ink(picture([])) == 0
    assert 0 < ink(picture([FULL])) < ink(picture(run_of(40)))


@pytest.mark.parametrize("name", ["cross_entropy", "kl", "bleu4", "dev_gaussian_score"])
def test_one_value_alone_shows_as_a_dot(name: str) -> None:
    rows: list[dict[str, float | int | None]] = [{"epoch": n, name: None} for n in range(1, 100)]
    rows[50][name] = 0.5
    assert ink(picture(rows)) > 10


def test_what_every_epoch_knows_is_drawn_from_every_epoch() -> None:
    """A KL weight that is 0 at all evaluations, and cycles between them."""
    evaluations = [{**FULL, "epoch": epoch, "kl_weight": 0.0} for epoch in (10, 20, 30)]
    epochs = [{"epoch": epoch, "kl_weight": epoch % 10 / 10} for epoch in range(1, 31)]
    coarse, fine = picture(evaluations), picture(evaluations, epochs)
    flat = [{**row, "kl_weight": 0.0} for row in epochs]
    assert ink(fine) != ink(coarse)
    assert picture(evaluations, flat) != fine
    assert picture(evaluations, [{"epoch": 1}]) == coarse


@pytest.mark.parametrize("size", [1e-9, 0.00012345, 1.0, 9876.5, 123456.0])
def test_no_number_is_cut_or_reaches_into_the_next_panel(size: float) -> None:
    sizes = ("cross_entropy", "kl", "encoder_lr")
    rows = [{**FULL, "epoch": n, **dict.fromkeys(sizes, size / n)} for n in range(1, 41)]
    image = Image.open(io.BytesIO(picture(rows))).convert("L")
    for edge in (0, image.width - 3):
        assert image.crop((edge, 0, edge + 3, image.height)).getextrema() == (255, 255)
    margins = run_figure._MARGINS
    panel = (margins["right"] - margins["left"]) / (2 + margins["wspace"])
    end = round((margins["left"] + panel) * image.width) + 2
    start = round((margins["right"] - panel) * image.width) - 2
    for top in (0.05, 0.28):  # cross-entropy and KL: a last value, and the next panel's numbers
        box = (end, int(top * image.height), start, int((top + 0.17) * image.height))
        gap = image.crop(box)
        dark = [gap.crop((x, 0, x + 1, gap.height)).getextrema()[0] < 200 for x in range(gap.width)]
        groups = "".join("x" if is_dark else " " for is_dark in dark).strip()
        assert "     " in groups, groups


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
    assert picture(rows).startswith(b"\x89PNG")
    assert not recwarn.list


def test_neither_importing_nor_drawing_touches_pyplot() -> None:
    program = (
        "import sys; from cvae import run_figure\n"
        "assert 'matplotlib' not in sys.modules\n"
        "run_figure.pictures([])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
