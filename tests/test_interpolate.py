"""Tests of cvae.interpolate: the steps between two verbs, and one clear line for wrong input."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import torch
from shared import DEFAULT, REPORT, write_untrained_run

from cvae import interpolate, latent_planes, latent_space
from cvae.alphabet import TENSES
from cvae.data import Forms
from cvae.model import build_model
from cvae.trained_run import load

SIZES = {
    "two-level": {"name": "default", **DEFAULT},
    **{f"z of {size}": {"name": "report", **REPORT, "latent_size": size} for size in (1, 3, 32)},
}


def run_of(directory: Path, kind: str) -> str:
    torch.manual_seed(2)
    return str(write_untrained_run(directory / "run", build_model(**SIZES[kind]), SIZES[kind]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_of(tmp_path_factory.mktemp("runs"), "two-level")


def table(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("space", ["latent", "code"])
@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_the_steps_are_the_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, space: str, path: str
) -> None:
    directory = run_of(tmp_path, kind)
    options = ["--in", space, "--path", path, "--steps", "3", "--format", "csv"]
    assert interpolate.main([directory, "walk", "swim", *options]) == 0
    rows = table(capsys)
    assert [row["share"] for row in rows] == ["0", "0.5", "1"]
    loaded = load(Path(directory))
    encoded = latent_space.row_latents(loaded.model, loaded.dataset.train)
    ends = [interpolate.find_verb(loaded, encoded, word) for word in ("walk", "swim")]
    points = [end.code if space == "code" else end.latent for end in ends]
    line = latent_planes.line(points[0], points[1], 3, spherical=path == "spherical")
    wanted = latent_space.decode_points(loaded.model, line, codes=space == "code")
    assert [tuple(row[tense] for tense in TENSES) for row in rows] == wanted


def test_training_rows_are_marked(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Forms] = [
        ("walk", "walks", "walking", "walked"),
        ("walk", "walks", "walking", "walken"),
        ("swim", "swims", "swimming", "swam"),
    ]
    monkeypatch.setattr(latent_space, "decode_points", lambda *_, **__: decoded)
    assert interpolate.main([run, "walk", "swim", "--steps", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "step     simple_present  third_person  progressive  past",
        "  0%  *  walk            walks         walking      walked",
        " 50%     walk            walks         walking      walken",
        "100%  *  swim            swims         swimming     swam",
    ]
    assert interpolate.main([run, "walk", "swim", "--format", "csv"]) == 0
    assert [row["training_row"] for row in table(capsys)] == ["1", "0", "1"]


@pytest.mark.parametrize(
    ("word", "note"),
    [
        ("swim", ""),
        ("SWIM", ""),
        ("swam", "cvae.interpolate: swam is read as swim\n"),
        ("blorp", "cvae.interpolate: blorp is no training verb; it is encoded from this one form"),
    ],
)
def test_what_a_verb_is_read_as(
    run: str, capsys: pytest.CaptureFixture[str], word: str, note: str
) -> None:
    assert interpolate.main([run, "walk", word]) == 0
    error = capsys.readouterr().err
    assert error.startswith(note) and error.count("\n") == bool(note)


def test_another_form_of_a_row_is_the_same_end(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interpolate.main([run, "walk", "swam"]) == 0
    swam = capsys.readouterr().out
    assert interpolate.main([run, "walk", "swim"]) == 0
    assert capsys.readouterr().out == swam


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["walk", "swim", "--steps", "1"], "--steps is 1; allowed: 2 to"),
        (["walk", "swim", "--steps", "-5"], "--steps is -5"),
        (["walk", "swim", "--steps", "10001"], "--steps is 10001"),
        (["walk", "sw im"], "is not a letter a to z"),
        (["walk", ""], "an empty word"),
        (["walk", "x" * 99], "has 99 letters"),
    ],
)
def test_wrong_input_is_named(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert interpolate.main([run, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and part in err and err.count("\n") == 1


def test_a_bad_run_directory_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert interpolate.main([str(tmp_path / "none"), "walk", "swim"]) == 2
    assert "no such run directory" in capsys.readouterr().err
