"""Tests of cvae.explore: what is written where, which plane, and one clear line for wrong input."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared import DEFAULT, REPORT, write_untrained_run

from cvae import explore, latent_space
from cvae.colouring import COLOURINGS
from cvae.data import Forms
from cvae.model import build_model


def run_of(directory: Path, latent_size: int, *, two_levels: bool = False) -> Path:
    name, sizes = ("default", DEFAULT) if two_levels else ("report", REPORT)
    settings = {"name": name, **sizes, "latent_size": latent_size}
    torch.manual_seed(2)
    return write_untrained_run(directory / "run", build_model(**settings), settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("runs"), 2, two_levels=True)


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script', page.read_text(), flags=re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def explored(tmp_path: Path, run: Path, *arguments: str) -> dict[str, Any]:
    page = tmp_path / "page.html"
    assert explore.main([str(run), "--html", str(page), "--places", "4", *arguments]) == 0
    return data_of(page)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("cvae.explore: ") and err.count("\n") == 1
    return err


def test_without_a_name_both_files_go_into_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = run_of(tmp_path, 2, two_levels=True)
    assert explore.main([str(directory), "--places", "4"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"wrote {directory / name}" for name in ("latent.html", "latent.png")]
    assert (directory / "latent.png").read_bytes().startswith(b"\x89PNG")
    assert data_of(directory / "latent.html")["rowCount"] == 5


def test_only_what_was_asked_for_is_written(tmp_path: Path, run: Path) -> None:
    before = set(run.iterdir())
    picture = tmp_path / "a.png"
    assert explore.main([str(run), "--png", str(picture), "--places", "4"]) == 0
    assert picture.is_file() and set(run.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_page_holds_what_the_model_decodes(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk: Forms = ("walk", "walks", "walking", "walked")
    other: Forms = ("<b>", "b", "c", "d")
    monkeypatch.setattr(
        latent_space, "generate", lambda _, z, __: [walk if at[0] > 0 else other for at in z]
    )
    data = explored(tmp_path, run)
    places = np.frombuffer(base64.b64decode(data["places"]), dtype="<u4").reshape(4, 4)
    assert places.tolist() == [[5, 5, 0, 0]] * 4
    assert data["forms"][0] == list(walk) and data["forms"][5] == list(other)
    assert data["homes"][0] is not None and data["homes"][0][0] > 0.5
    assert data["homes"][1] is None
    assert data["colourings"].keys() == COLOURINGS.keys() == set(explore.COLOURS)
    assert data["colouring"] == "class"
    assert "50.0% of the plane decodes to training rows (1 of 5)" in data["summary"]
    assert data["command"] == f"python -m cvae.interpolate {run}"


@pytest.mark.parametrize("size", [1, 2, 3, 32])
@pytest.mark.parametrize("two_levels", [False, True])
def test_any_latent_size_has_a_map(tmp_path: Path, size: int, two_levels: bool) -> None:
    data = explored(tmp_path, run_of(tmp_path, size, two_levels=two_levels))
    named = " ".join(data["axes"])
    assert named == {1: "z1", 2: "z1 z2"}.get(size, named)
    if size > 2:
        shares = r"principal component \d \(\d+% of variance\)"
        assert re.fullmatch(f"{shares} {shares}", named)
        assert "projected" in data["about"] and "at the rows' mean" in data["about"]
    assert data["height"] == (1 if size == 1 else 4)


@pytest.mark.parametrize(
    ("arguments", "axes", "where"),
    [
        (["--plane", "3,1"], ["z3", "z1"], "other units of z: 0"),
        (["--plane", "1,2", "--at", "3=0.5"], ["z1", "z2"], "z3=0.5, others 0"),
        (["--plane", "1,2", "--at", "swim"], ["z1", "z2"], "as at swim"),
        (["--at", "walk"], None, "as at walk"),
        (["--plane", "pca"], None, "at the rows' mean"),
        (["--walk", "walk", "swim"], None, "as at walk"),
        (["--walk", "walk", "swim", "--plane", "1,2"], ["z1", "z2"], "other units of z: 0"),
    ],
)
def test_the_plane_is_the_one_asked_for(
    tmp_path: Path, arguments: list[str], axes: list[str] | None, where: str
) -> None:
    data = explored(tmp_path, run_of(tmp_path, 4), *arguments)
    assert axes is None or data["axes"] == axes
    assert where in data["about"]


def test_the_plane_of_a_walk_holds_it(tmp_path: Path) -> None:
    data = explored(tmp_path, run_of(tmp_path, 4), "--walk", "walk", "swim")
    assert data["axes"][0] == "from walk to swim"
    start, end = data["walk"]
    assert (start["name"], end["name"]) == ("walk", "swim")
    assert start["at"] == data["rows"][0] and end["at"] == data["rows"][1]
    assert start["at"][1] == pytest.approx(end["at"][1])


def test_a_verb_that_is_no_row_can_be_walked_from_and_is_named(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = explored(tmp_path, run, "--walk", "blorp", "swim")
    assert data["walk"][0]["name"] == "blorp"
    assert "blorp is no training verb" in capsys.readouterr().err
    data = explored(tmp_path, run_of(tmp_path, 3), "--at", "blorp")
    assert "as at blorp" in data["about"]
    assert "blorp is no training verb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--places", "1"], "--places is 1; allowed: 2 to 1024"),
        (["--places", "1025"], "--places is 1025"),
        (["--plane", "1,3"], "z has 2: allowed: two different units from 1 to 2"),
        (["--plane", "1,1"], "two different units"),
        (["--plane", "0,1"], "two different units"),
        (["--plane", "1"], "two different units"),
        (["--plane", "tsne"], "--plane is 'tsne'; allowed: two units, as 1,2, or pca"),
        (["--at", "walk"], "--at: z has 2 units; there is no other direction"),
        (["--walk", "walk", "s w"], "is not a letter"),
        (["--html", ""], "need the name of a file"),
    ],
)
def test_wrong_input_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert explore.main([str(run), *arguments]) == 2
    assert part in one_line(capsys)


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ("5=1", "'5=1'; allowed: UNIT=VALUE with units 1 to 4"),
        ("0=1", "'0=1'"),
        ("1=nan", "'1=nan'"),
        ("1=9", "'1=9'"),
        ("1=", "'1='"),
        ("3=1,x=2", "'x=2'"),
        ("", "an empty word"),
    ],
)
def test_a_wrong_point_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, part: str
) -> None:
    directory = run_of(tmp_path, 4)
    assert explore.main([str(directory), f"--at={where}", "--plane", "1,2"]) == 2
    assert part in one_line(capsys)


def test_a_file_that_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, part in (
        (["--html", str(tmp_path)], "is a directory"),
        (["--png", str(tmp_path / "none" / "a.png")], "its directory does not exist"),
        (["--png", str(tmp_path / "a"), "--html", str(tmp_path / "a")], "name the same file"),
    ):
        assert explore.main([str(run), *arguments]) == 2
        assert part in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_run_directory_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore.main([str(tmp_path / "none"), "--png", str(tmp_path / "a.png")]) == 2
    assert "no such run directory" in one_line(capsys)
