"""The map of the latent space in a real headless Chromium: what a user does, and what is shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_latent_figure import map_of
from test_latent_space import NOTHING, ROWS

from cvae import latent_figure, latent_page, report_page, results
from cvae.colouring import COLOURINGS
from cvae.latent_space import Places

sys.path.insert(0, str(Path(__file__).parent))
import webdriver
from fabricated_runs import fabricate_sweep

pytestmark = pytest.mark.skipif(
    webdriver.missing() is not None, reason=webdriver.missing() or "no browser"
)

NOTHING_NUMBER = len(ROWS)


def write(path: Path, places: Places, *, units: int = 2, walk: Any = None) -> Path:
    page = latent_page.render(
        map_of(places, units=units, warning="posterior collapse" if units == 3 else None),
        colouring="class",
        title="<img src=x onerror=window.hacked=1>",
        command="python -m cvae.interpolate run",
        walk=walk,
    )
    path.write_text(page)
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four quarters: walk and swim below, nothing and stop above."""
    quarters = np.kron(np.array([[0, 1], [NOTHING_NUMBER, 2]]), np.ones((20, 20), dtype=np.int64))
    return write(tmp_path_factory.mktemp("page") / "latent.html", quarters)


def opened_at(browser: Any, page: Path, width: int, dark: bool) -> Any:
    browser.resize(width, 900)
    browser.dark(dark)
    browser.log()
    browser.open(page)
    browser.run("return window.latent.ready.then(() => true)")
    return browser


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    yield opened_at(browser, page, 1280, False)
    assert [entry["message"] for entry in browser.log() if entry["level"] == "SEVERE"] == []


def change(browser: Any, selector: str, value: str) -> None:
    browser.run(
        "const field = document.querySelector(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input')); field.dispatchEvent(new Event('change'));",
        selector,
        value,
    )


def point(browser: Any, x: float, y: float) -> tuple[float, float]:
    """Where a place of the plane is on the screen."""
    at: list[float] = browser.run(
        "const plot = document.getElementById('plot'), layout = plot._fullLayout;"
        "plot.scrollIntoView({ block: 'center' });"
        "const box = plot.getBoundingClientRect();"
        "return [box.left + layout.margin.l + layout.xaxis.d2p(arguments[0]),"
        " box.top + layout.margin.t + layout.yaxis.d2p(arguments[1])]",
        x,
        y,
    )
    return at[0], at[1]


def click(browser: Any, x: float, y: float) -> None:
    at = point(browser, x, y)
    browser.drag([(at[0] - 3, at[1]), at])  # moves to the place first, as a hand does


def forms(browser: Any, selector: str) -> list[str]:
    texts: list[str] = browser.texts(f"{selector} dd")
    return texts


def test_it_asks_the_network_for_nothing_and_runs_nothing_of_the_data(
    opened: Any, page: Path
) -> None:
    opened.log("performance")
    opened.open(page)
    opened.run("return window.latent.ready.then(() => true)")
    events = [json.loads(entry["message"])["message"] for entry in opened.log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} <= {page.as_uri()}
    assert opened.run("return window.hacked") is None
    assert opened.texts("h1") == ["<img src=x onerror=window.hacked=1>"]


def test_pointing_at_a_place_shows_its_four_forms(opened: Any) -> None:
    for (x, y), shown in (
        ((0.25, 0.25), ROWS[0].preferred),
        ((0.75, 0.25), ROWS[1].preferred),
        ((0.25, 0.75), NOTHING),
    ):
        at = point(opened, x, y)
        opened.devtools("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": at[0], "y": at[1]})
        opened.wait(
            f"return document.querySelector('#here-forms dd')?.textContent === '{shown[0]}'"
        )
        assert forms(opened, "#here-forms") == list(shown)
    kind = opened.texts("#here-forms p")[0].strip()
    assert kind.startswith("no training row; inflection class: ")


def test_a_line_between_two_named_verbs_is_walked_by_the_slider(opened: Any) -> None:
    change(opened, "#from", "walk")
    change(opened, "#to", "stop")
    assert forms(opened, "#step-forms") == list(ROWS[0].preferred)
    met = [text for text in opened.texts("#met .word")]
    assert met[0] == "walk" and met[-1] == "stop"
    change(opened, "#step", "100")
    assert forms(opened, "#step-forms") == list(ROWS[2].preferred)
    assert opened.texts("#command") == ["python -m cvae.interpolate run walk stop"]
    opened.click("#swap")
    assert forms(opened, "#step-forms") == list(ROWS[2].preferred)
    change(opened, "#to", "blorp")
    assert opened.texts("#walk-note") == ["blorp is no training verb."]
    assert opened.run("return document.getElementById('walked').hidden") is True


def test_two_clicks_on_the_map_make_a_line(opened: Any) -> None:
    click(opened, 0.3, 0.3)
    opened.wait("return document.getElementById('from').value === 'walk'")
    assert opened.texts("#walk-note") == ["The next click sets the end."]
    click(opened, 0.3, 0.8)
    opened.wait("return document.getElementById('to').value !== ''")
    assert opened.texts("#met .word") == ["walk", NOTHING[0]]
    opened.click("#met li:last-child button")
    assert forms(opened, "#step-forms") == list(NOTHING)


def test_colours_can_be_chosen_and_a_category_seen_alone(opened: Any) -> None:
    assert "adds -ed" in opened.texts("#legend button")
    change(opened, "#colouring", "letter")
    assert opened.texts("#legend button") == ["s", "w", "x"]
    opened.click("#legend button:nth-child(2)")
    assert (
        opened.run("return document.querySelector('#legend [aria-pressed=true]').textContent")
        == "w"
    )


def test_a_verb_is_found_and_the_view_can_be_left(opened: Any) -> None:
    change(opened, "#find", "swim")
    assert forms(opened, "#here-forms") == list(ROWS[1].preferred)
    change(opened, "#find", "blorp")
    assert opened.texts("#find-note") == ["no training verb"]
    opened.run(
        "return Plotly.relayout('plot', {'xaxis.range[0]': 0.6, 'xaxis.range[1]': 0.7})"
        ".then(() => true)"
    )
    axis = "return document.getElementById('plot')._fullLayout.xaxis.range"
    assert opened.run(axis) == [pytest.approx(0.6), pytest.approx(0.7)]
    opened.click("#zoom-out")
    opened.wait("return document.getElementById('plot')._fullLayout.xaxis.range[1] === 1")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("units", [1, 2, 3])
def test_any_map_fits_the_screen(
    browser: Any, tmp_path: Path, width: int, dark: bool, units: int
) -> None:
    places = np.array([[0, 1, 2]]) if units == 1 else np.array([[0, 1], [2, NOTHING_NUMBER]])
    start = torch.zeros(min(units, 2))
    page = write(
        tmp_path / "a.html", places, units=units, walk=(("walk", 0, start), ("x", None, start + 1))
    )
    opened_at(browser, page, width, dark)
    wide = browser.run("return document.documentElement.scrollWidth")
    assert wide <= width
    assert browser.run("return document.getElementById('warning').hidden") == (units != 3)
    assert forms(browser, "#step-forms")
    assert [entry for entry in browser.log() if entry["level"] == "SEVERE"] == []


def test_the_report_page_shows_the_maps_that_stand_in_the_runs(
    browser: Any, tmp_path: Path
) -> None:
    fabricate_sweep(tmp_path / "runs", 3, faults=False)
    frame = results.load(tmp_path / "runs")
    seen = map_of(np.array([[0, 1], [2, NOTHING_NUMBER]]))
    picture = latent_figure.draw(seen, COLOURINGS["class"], "t", lambda _: seen.places)
    drawn = list(frame["run"][:2])
    for run in drawn:
        (results.directory_of(run) / "latent.png").write_bytes(picture)
    path = tmp_path / "report.html"
    report_page.write(frame, path)
    browser.log()
    browser.open(path)
    image = "document.querySelector('#latent img')"
    browser.wait(f"return {image}.complete && {image}.naturalWidth === 1200")
    commands = []
    for choice in ("0", "1"):
        change(browser, "#latent select", choice)
        commands += browser.texts("#latent code")
    assert sorted(commands) == sorted(f"python -m cvae.explore {run}" for run in drawn)
    assert [entry for entry in browser.log() if entry["level"] == "SEVERE"] == []
