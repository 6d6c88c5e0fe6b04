"""Figures, views and files of the report page in a real headless Chromium."""

from __future__ import annotations

import base64
import itertools
import json
import math
import sys
import urllib.parse
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cvae import figures, report_page, results

sys.path.insert(0, str(Path(__file__).parent))
import webdriver
from fabricated_runs import fabricate_run, fabricate_study, fabricate_sweep

pytestmark = pytest.mark.skipif(
    webdriver.missing() is not None, reason=webdriver.missing() or "no browser"
)


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("multirun")
    fabricate_sweep(root / "search", 24)
    fabricate_study(root / "search")
    return results.load(root / "search")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("multirun")
    for size in (8, 16):
        for seed in range(3):
            status = "failed" if (size, seed) == (8, 2) else "complete"
            overrides = {"model.latent_size": size, "seed": seed}
            fabricate_run(root / "s" / f"{size}_{seed}", overrides, status=status)
    return results.load(root / "s")


@pytest.fixture(scope="module")
def seeds_page(seeds: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "seeds.html"
    report_page.write(seeds, path)
    return path


def settle(browser: Any) -> None:
    browser.run("return window.report.settle().then(() => true)")


def traces(browser: Any, selector: str) -> list[dict[str, Any]]:
    settle(browser)
    found: list[dict[str, Any]] = browser.run(
        "return document.querySelector(arguments[0]).data.map((t) => ({name: t.name, x: t.x,"
        " y: t.y, customdata: t.customdata, base: t.base, colour: t.marker && t.marker.color}))",
        selector,
    )
    return found


def axis(browser: Any, parameter: str, which: str = "xaxis") -> dict[str, Any]:
    settle(browser)
    found: dict[str, Any] = browser.run(
        "const {type, range, ticktext} ="
        " document.querySelector(arguments[0]).layout[arguments[1]];"
        "return {type, range, ticktext: ticktext || null}",
        f'[data-parameter="{parameter}"]',
        which,
    )
    return found


def place_in(browser: Any, selector: str, x: float, y: float) -> tuple[float, float]:
    """Return where in the viewport a point of a figure is, and scroll the figure into it."""
    settle(browser)
    found: list[float] = browser.run(
        "const plot = document.querySelector(arguments[0]);"
        "plot.scrollIntoView({block: 'center'});"
        "const box = plot.getBoundingClientRect(), full = plot._fullLayout;"
        "return [box.x + full.xaxis._offset + full.xaxis.d2p(arguments[1]),"
        "  box.y + full.yaxis._offset + full.yaxis.d2p(arguments[2])]",
        selector,
        x,
        y,
    )
    return found[0], found[1]


# ------------------------------------------------------------------------------------- axes


def test_parameters_lie_where_the_study_drew_them(opened: Any, frame: pd.DataFrame) -> None:
    rate = axis(opened, "optim.encoder_lr")
    assert rate["type"] == "log"
    assert rate["range"][0] < math.log10(1e-4) < math.log10(1e-1) < rate["range"][1]
    assert rate["range"] == pytest.approx([-4.12, -0.88])  # the whole interval, not only what ran
    cycles = axis(opened, "anneal.cycle_count")
    assert cycles["type"] == "linear"
    assert cycles["range"] == pytest.approx([0.72, 8.28])
    # A choice is a category, also of numbers, in the order of the study.
    assert axis(opened, "model.latent_size")["ticktext"] == ["8", "16", "32", "64"]
    assert axis(opened, "model.two_level")["ticktext"] == ["true", "false"]


def test_without_a_study_few_numbers_are_no_categories(browser: Any, tmp_path: Path) -> None:
    values = {"anneal.kl_weight_max": [0.1, 0.2, 0.9], "optim.encoder_lr": [1e-4, 1e-3, 1e-2]}
    for i in range(6):
        overrides = {key: some[i % 3] for key, some in values.items()} | {"seed": i}
        fabricate_run(tmp_path / "s" / str(i), overrides)
    report_page.write(results.load(tmp_path), tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert axis(browser, "anneal.kl_weight_max")["type"] == "linear"
    drawn = traces(browser, '[data-parameter="anneal.kl_weight_max"]')
    places = sorted(x for trace in drawn for x in trace["x"])
    assert places == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.9, 0.9], abs=0.02)
    rate = axis(browser, "optim.encoder_lr")
    assert (rate["type"], rate["ticktext"]) == ("log", ["0.0001", "0.001", "0.01"])
    heights = browser.run(
        "const plot = document.querySelector('#parallel-plot');"
        "return window.report.settle().then(() => plot.layout.annotations"
        ".filter((a) => /^0\\.\\d+$/.test(a.text) && a.x === 0).map((a) => a.text))"
    )
    assert heights in (["0.0001", "0.001", "0.01"], ["0.1", "0.5", "0.9"])


def test_one_name_is_one_thing(opened: Any, frame: pd.DataFrame) -> None:
    """BLEU-4 of the ten pairs and of dev verbs never have the same name, and both are drawn."""
    settle(opened)
    titles = opened.run(
        "return [...document.querySelectorAll('[data-curve]')].map((n) => [n.dataset.curve,"
        " n.layout.title.text, n.data[0].y.at(-1)])"
    )
    found = {column: (title, last) for column, title, last in titles}
    best = results.best(frame).iloc[0]
    assert found["dev_bleu4"][0] == "BLEU-4, dev verbs"
    assert found["bleu4"][0] == "BLEU-4, the report's ten pairs"
    assert len({title for title, _ in found.values()}) == len(found)
    heading = opened.run("return document.querySelector('[data-sort=objective_bleu4]').title")
    assert heading == "BLEU-4, dev verbs (objective)"
    axes = opened.run("return document.querySelector('#pareto-plot').layout.xaxis.title.text")
    assert axes == heading
    assert best["objective_bleu4"] == best["dev_bleu4"]


# ---------------------------------------------------------------------- figures of the search


def test_history_shows_the_best_so_far(opened: Any, frame: pd.DataFrame) -> None:
    drawn = {trace["name"]: trace for trace in traces(opened, "#history-plot")}
    complete = frame[frame["status"] == "complete"].sort_values("trial")
    records = complete[complete["objective"].cummax().diff().fillna(1) > 0]
    assert drawn["best so far"]["x"][:-1] == records["trial"].tolist()
    assert drawn["best so far"]["y"][:-1] == pytest.approx(records["objective"].tolist(), rel=1e-5)
    assert drawn["best so far"]["x"][-1] == 23
    for status in ("pruned", "failed", "interrupted", "diverged"):
        assert drawn[status]["x"] == frame.loc[frame["status"] == status, "trial"].tolist()
    assert drawn["continues another trial"]["x"] == [13]


def test_all_trials_are_shown_during_training(opened: Any, frame: pd.DataFrame) -> None:
    drawn = traces(opened, "#during-plot")
    rows = {row for trace in drawn for row in trace["customdata"] or [] if row is not None}
    assert rows == set(range(24))
    last = {}
    for trace in drawn:
        for row, x, y in zip(trace["customdata"] or [], trace["x"], trace["y"], strict=False):
            if row is not None:
                last[row] = (x, y)
    assert last[0] == (4000, pytest.approx(frame["objective"][0], rel=0.01))
    assert last[5][0] == 2400  # pruned
    opened.run(
        "const what = document.querySelector('#during-what'); what.value = 'dev_bleu4';"
        "what.dispatchEvent(new Event('change'))"
    )
    drawn = traces(opened, "#during-plot")
    rows = {row for trace in drawn for row in trace["customdata"] or [] if row is not None}
    known = results.curves(frame, damaged="warn")["trial"].unique()
    assert rows == set(known)


def test_the_timeline_has_a_lane_for_each_worker(opened: Any, frame: pd.DataFrame) -> None:
    drawn = traces(opened, "#timeline-plot")
    lanes: dict[int, list[tuple[float, float, int]]] = {}
    for trace in drawn:
        for row, lane, start, length in zip(
            trace["customdata"], trace["y"], trace["base"], trace["x"], strict=True
        ):
            lanes.setdefault(lane, []).append((start, start + length, row))
    assert {lane: {row % 2 for *_, row in some} for lane, some in lanes.items()} == {0: {0}, 1: {1}}
    for some in lanes.values():
        some.sort()
        assert all(a[1] <= b[0] + 1e-6 for a, b in itertools.pairwise(some))
    assert sum(map(len, lanes.values())) == 24
    ticks = opened.run("return document.querySelector('#timeline-plot').layout.yaxis.ticktext")
    assert ticks == ["node 100", "node 101"]


def test_two_parameters_show_the_rank_of_the_objective(opened: Any, frame: pd.DataFrame) -> None:
    (drawn,) = [trace for trace in traces(opened, "#pair-plot") if trace["name"] == "complete"]
    ranks = dict(zip(drawn["customdata"], drawn["colour"], strict=True))
    both = frame[frame["status"] == "complete"].loc[list(ranks)]
    expected = (both["objective"].rank() - 1) / (len(both) - 1)
    assert [ranks[row] for row in both.index] == pytest.approx(expected.tolist())
    opened.run(
        "const up = document.querySelector('#pair-y'); up.value = 'optim.encoder_lr';"
        "up.dispatchEvent(new Event('change'))"
    )
    settle(opened)
    assert opened.run("return document.querySelector('#pair-plot').layout.yaxis.type") == "log"


def choose(browser: Any, selector: str, value: str) -> None:
    browser.run(
        "const box = document.querySelector(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event('change'))",
        selector,
        value,
    )
    settle(browser)


def test_a_contour_is_that_of_the_notebooks_figure(opened: Any, frame: pd.DataFrame) -> None:
    """On the study's own scales, over what passes the filters; without one, the page says why."""
    pair = ("optim.encoder_lr", "anneal.cycle_count")
    for selector, value in zip(
        ("#pair-x", "#pair-y", "#pair-kind"), (*pair, "contour"), strict=True
    ):
        choose(opened, selector, value)
    x, y, z = opened.run(
        "const {x, y, z} = document.querySelector('#pair-plot').data"
        ".find((t) => t.type === 'contour'); return [x, y, z]"
    )
    expected = figures.contour(frame, *pair).data[0]
    assert x == pytest.approx(expected.x.tolist()) and y == pytest.approx(expected.y.tolist())
    ours = pd.DataFrame(expected.z)
    pd.testing.assert_frame_equal(pd.DataFrame(z, dtype=float), ours, rtol=1e-4)
    opened.wait("return location.hash.includes('pair-colour=contour')")
    opened.run("location.reload()")
    opened.wait("return window.report !== undefined")
    settle(opened)
    kinds = "return document.querySelector('#pair-plot').data.map((t) => t.type)"
    assert "contour" in opened.run(kinds)
    assert opened.run("return document.querySelector('#pair-y').value") == pair[1]
    choose(opened, "#pair-x", "anneal")
    assert "contour" not in opened.run(kinds)
    assert opened.texts("#pair-note") == [
        "A contour needs two numeric parameters, not choices. Shown is the rank."
    ]


# ------------------------------------------------------------------------ parallel coordinates


def test_a_line_names_its_trial_and_a_click_selects_it(opened: Any, frame: pd.DataFrame) -> None:
    opened.click("#clear-selection")
    settle(opened)
    # The best trial's line, between the last two axes.
    best = int(results.best(frame)["trial"].iloc[0])
    x, y = opened.run(
        "const plot = document.querySelector('#parallel-plot');"
        "const names = plot.layout.annotations.filter((a) => a.y > 1).length;"
        "const line = plot.data.find((t) => t.mode === 'lines' && t.line.color === '#c8d92b');"
        "const at = names - 1; const y = line.y.slice(0, names);"
        "return [at - 0.02, y[at - 1] + (y[at] - y[at - 1]) * 0.98]"
    )
    place = place_in(opened, "#parallel-plot", x, y)
    opened.devtools(
        "Input.dispatchMouseEvent", {"type": "mouseMoved", "x": place[0], "y": place[1]}
    )
    opened.wait("return !document.querySelector('#parallel-tip').hidden")
    assert opened.texts("#parallel-tip div")[0] == f"{best} complete"
    opened.drag([place, place])
    opened.wait("return window.report.state.selected.size === 1")
    assert opened.texts("#trial-heading") == [f"Selected trial: {best}"]
    assert opened.run("return window.report.state.brushes.size") == 0


def test_a_brush_that_leaves_nothing_is_not_kept(opened: Any) -> None:
    settle(opened)
    opened.run("window.report.brush({x: [0.3, 0.6], y: [0, 1]})")
    assert opened.texts("#brush-note") == ["That box is between two axes: drag it over one."]
    opened.run("window.report.brush({x: [1.8, 2.2], y: [0.999, 0.9995]})")
    before = opened.run("return window.report.trials.passing.length")
    opened.run("window.report.brush({x: [-0.2, 0.2], y: [1.1, 1.2]})")
    assert opened.texts("#brush-note") == ["No line passes there: the brush is not kept."]
    assert opened.run("return window.report.trials.passing.length") == before > 0


def test_axes_can_be_moved_and_left_out(opened: Any) -> None:
    settle(opened)
    first, second, *rest = names = opened.run(
        "return [...document.querySelectorAll('#axes [data-axis]')].map((n) => n.dataset.axis)"
    )
    opened.click("#axes summary")
    opened.click(f'[data-axis="{first}"] button:last-child')
    opened.click(f'[data-axis="{rest[0]}"] input')
    settle(opened)
    shown = opened.run(
        "return document.querySelector('#parallel-plot').layout.annotations"
        ".filter((a) => a.y > 1).map((a) => a.text.replace(/<[^>]*>/g, ''))"
    )
    assert shown == [second, first, *rest[1:]]
    assert len(shown) == len(names) - 1


def test_lines_of_one_category_lie_side_by_side(opened: Any) -> None:
    drawn = traces(opened, "#parallel-plot")
    places = opened.run(
        "return document.querySelector('#parallel-plot').layout.annotations"
        ".find((a) => a.text === 'anneal').x"
    )
    heights = [
        y
        for trace in drawn
        if trace["name"] is None or trace["name"].startswith("trace")
        for x, y in zip(trace["x"], trace["y"], strict=True)
        if x == places and y is not None
    ]
    assert len({round(height, 6) for height in heights}) >= 20


@pytest.mark.parametrize("figure", ["#parallel-plot", '[data-curve="kl"]', "#pareto-plot"])
def test_a_swipe_scrolls_and_neither_zooms_nor_brushes(opened: Any, figure: str) -> None:
    opened.resize(390, 800)
    opened.devtools("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})
    try:
        settle(opened)
        opened.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", figure)
        settle(opened)
        before = opened.run(
            "const {xaxis, yaxis} = document.querySelector(arguments[0])._fullLayout;"
            "return [scrollY, xaxis.range, yaxis.range]",
            figure,
        )
        opened.swipe([(180, 420 - 20 * i) for i in range(11)])
        opened.wait(f"return scrollY > {before[0]} + 100")
        after = opened.run(
            "const {xaxis, yaxis} = document.querySelector(arguments[0])._fullLayout;"
            "return [scrollY, xaxis.range, yaxis.range]",
            figure,
        )
        assert after[1:] == before[1:]
        assert opened.run("return window.report.state.brushes.size") == 0
    finally:
        opened.devtools("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_narrow_table_says_that_there_is_more(opened: Any) -> None:
    opened.resize(390, 800)
    opened.wait("return !document.querySelector('#more-columns').hidden")
    (text,) = opened.texts("#more-columns")
    assert text.endswith("more columns →")
    opened.click("#more-columns")
    opened.wait(f"return document.querySelector('#more-columns').textContent !== {text!r}")
    # What a row is stays in sight.
    left = opened.run(
        "return document.querySelector('#table tbody td:nth-child(2)').getBoundingClientRect().left"
    )
    assert left >= 0


# ------------------------------------------------------------------------------------- seeds


def test_seeds_together_are_one_row_with_the_mean(
    browser: Any, seeds: pd.DataFrame, seeds_page: Path
) -> None:
    browser.open(seeds_page)
    browser.click("#grouped")
    expected = results.aggregate(seeds, metrics="objective")
    cells = browser.run(
        "return [...document.querySelectorAll('#table tbody tr')].map((row) =>"
        " [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[1] for row in cells] == ["16_0 + 2 seeds", "8_0 + 2 seeds"]
    assert [row[2] for row in cells] == ["3 complete", "2 complete, 1 failed"]
    assert [row[3] for row in cells] == [
        f"{mean:.4f} ± {std:.4f}"
        for mean, std in zip(expected["objective_mean"], expected["objective_std"], strict=True)
    ]
    assert browser.texts("#position") == ["2 configurations"]
    browser.click("#clear-selection")
    browser.click('#table tbody tr[data-row="3"] input')
    drawn = traces(browser, '[data-curve="dev_bleu4"]')
    assert [trace["name"] for trace in drawn] == ["16_0 + 2 seeds band", "16_0 + 2 seeds"]
    curves = results.curves(seeds.query("`model.latent_size` == 16"))
    by_step = curves.groupby("step")["dev_bleu4"]
    assert drawn[1]["y"] == pytest.approx(by_step.mean().tolist(), rel=1e-3)
    low, high = by_step.min().tolist(), by_step.max().tolist()
    assert drawn[0]["y"] == pytest.approx([*high, *low[::-1]], rel=1e-3)
    browser.click("#grouped")  # apart again, and still selected
    names = [trace["name"] for trace in traces(browser, '[data-curve="dev_bleu4"]')]
    assert sorted(names) == ["16_0", "16_1", "16_2"]


def test_without_seeds_there_is_nothing_to_put_together(opened: Any) -> None:
    assert opened.run("return document.querySelector('#grouped')") is None


def test_differences_are_those_of_the_configurations(
    browser: Any, seeds: pd.DataFrame, seeds_page: Path
) -> None:
    browser.open(seeds_page)
    browser.click("#clear-selection")
    for row in (0, 4):
        browser.click(f'#table tbody tr[data-row="{row}"] input')
    lines = browser.run(
        "return [...document.querySelectorAll('#differences tr')].map((row) =>"
        " [...row.cells].map((cell) => cell.textContent))"
    )
    names = [str(results.labels(seeds)[row]) for row in (0, 4)]
    assert lines == [["key", *names], ["model.latent_size", "8", "16"], ["seed", "0", "1"]]
    browser.click("#settings summary")
    settings = dict(
        browser.run(
            "return [...document.querySelectorAll('#settings .values div')].map((n) =>"
            " [n.children[0].textContent, n.children[1].textContent])"
        )
    )
    assert settings["model.latent_size"] == "16"
    assert settings["versions.torch"] == "2.13.0"


# ------------------------------------------------------------------------- files and addresses


@pytest.mark.parametrize("dark", [False, True])
def test_a_figure_is_saved_for_white_paper(opened: Any, dark: bool) -> None:
    opened.dark(dark)
    settle(opened)
    address = opened.run("return window.report.picture('Pareto front', 'svg')")
    text = urllib.parse.unquote(address.partition(",")[2])
    assert text.startswith("<svg")
    assert "rgb(29, 33, 38)" in text  # ink, not the light grey of a dark page
    assert "BLEU-4, dev verbs (objective)" in text
    address = opened.run("return window.report.picture('Parallel coordinates', 'png')")
    picture = base64.b64decode(address.partition(",")[2])
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20], "big") > 2000  # three pixels for each of the page


def test_a_button_saves_the_figure(opened: Any) -> None:
    settle(opened)
    opened.run(
        "window.saved = []; HTMLAnchorElement.prototype.click = function () {"
        " window.saved.push([this.download, this.href.slice(0, 19)]); }"
    )
    opened.run("document.querySelector('#history .saves button').click()")
    opened.wait("return window.saved.length === 1")
    assert opened.run("return window.saved") == [
        ["history-of-the-search.svg", "data:image/svg+xml,"]
    ]


def test_the_table_as_csv_is_what_is_shown(opened: Any, frame: pd.DataFrame) -> None:
    opened.type('[data-filter="model.latent_size"]', ">=32")
    table = pd.read_csv(StringIO(opened.run("return window.report.csv()")))
    expected = frame[frame["model.latent_size"] >= 32].sort_values(
        "objective", ascending=False, na_position="last", kind="stable"
    )
    assert table["trial"].tolist() == expected["trial"].tolist()
    assert table["objective"].tolist() == pytest.approx(
        expected["objective"].tolist(), rel=1e-5, nan_ok=True
    )
    assert table["anneal"].tolist() == expected["anneal"].tolist()


def test_the_address_keeps_the_view(opened: Any, page: Path) -> None:
    opened.type('[data-filter="anneal"]', "!=mono & more")
    opened.type('[data-filter="anneal"]', "!=monotonic")
    opened.click("[data-status=pruned]")
    opened.click('[data-sort="seconds"]')
    opened.click("#clear-selection")
    opened.click("#table tbody tr:nth-child(2) input")
    settle(opened)
    opened.run("window.report.brush({x: [4.8, 5.2], y: [0.2, 2]})")

    def view() -> list[Any]:
        found: list[Any] = opened.run(
            "const {state, trials} = window.report; return [trials.entries.map((e) => e.label),"
            " [...state.selected], state.current, state.sort, [...state.statuses].sort(),"
            " document.querySelector('#trial-heading').textContent,"
            " [...document.querySelectorAll('[data-brush]')].map((n) => n.textContent)]"
        )
        return found

    opened.wait("return location.hash.includes('brush.')")
    before, address = view(), opened.run("return location.href")
    assert before[-1] and len(before[0]) < 24
    opened.open(page)
    assert view() != before
    opened.run("location.href = arguments[0]; location.reload()", address)
    opened.wait("return window.report && document.querySelector('#table tbody tr')")
    assert view() == before


@pytest.mark.parametrize(
    "fragment", ["trials", "filter.nothing=1&select=nobody&sort=no&brush.objective={", "%E0%A4%A"]
)
def test_an_address_that_means_nothing_changes_nothing(
    browser: Any, page: Path, fragment: str
) -> None:
    browser.open(page)
    browser.log()
    browser.run("location.href = arguments[0]; location.reload()", f"{page.as_uri()}#{fragment}")
    browser.wait("return window.report && document.querySelector('#table tbody tr')")
    assert browser.texts("#position") == ["24 trials"]
    assert [entry for entry in browser.log() if entry["level"] == "SEVERE"] == []


# -------------------------------------------------------------------------------- small things


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("objective", ">much", "> needs a number after it, and much is none"),
        ("objective", ">", "> needs a number after it"),
        ("objective", "0.5..high", "a range has a number on both sides, as 0.1..0.5"),
        ("objective", "0.6..0.5", "no number is from 0.6 to 0.5: the first is larger"),
        ("objective", "=many", "this column has numbers, and many is none"),
        (
            "anneal",
            ">cyclical",
            "> compares numbers, and this column has texts: write =, != or a part",
        ),
    ],
)
def test_a_rejected_filter_says_why(opened: Any, column: str, text: str, reason: str) -> None:
    opened.type(f'[data-filter="{column}"]', text)
    assert opened.texts("#filter-note") == [f"Not applied: {column}: {reason}."]
    assert opened.texts("#position") == ["24 trials"]
    opened.click("#clear-filters")
    assert opened.texts("#filter-note") == [""]


def test_numbers_of_a_column_have_the_same_decimals(opened: Any) -> None:
    cells = opened.run(
        "const heads = [...document.querySelectorAll('#table thead tr:first-child th button')];"
        "return heads.map((head, i) => [head.dataset.sort,"
        " [...document.querySelectorAll('#table tbody tr')]"
        ".map((row) => row.cells[i + 1].textContent)])"
    )
    for name in ("objective", "dev_exact_match", "seconds", "optim.encoder_lr"):
        texts = [text for text in dict(cells)[name] if text != "–"]
        assert len({len(text.partition(".")[2].partition("e")[0]) for text in texts}) == 1, name
    assert all(text.isdecimal() for text in dict(cells)["model.latent_size"] if text != "–")


def test_few_stops_of_the_tab_key_lie_before_the_table(opened: Any) -> None:
    stops = opened.run(
        "return [...document.querySelectorAll('a, button, input, select, summary')]"
        ".filter((n) => n.tabIndex >= 0 && !n.disabled && n.checkVisibility()"
        "  && document.querySelector('#table').compareDocumentPosition(n) === 2).length"
    )
    assert stops <= 9
    first = opened.run(
        "return [...document.querySelectorAll('a, button, input')].find((n) => n.tabIndex >= 0)"
        ".textContent"
    )
    assert first == "Skip to the table"
    opened.run("document.querySelector('nav a').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        opened.run(
            "document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
            " {key: arguments[0], bubbles: true}))",
            key,
        )
    assert opened.run("return document.activeElement.textContent") == "History"


def test_every_figure_says_what_it_is(opened: Any) -> None:
    settle(opened)
    labels = opened.run(
        "return [...document.querySelectorAll('.js-plotly-plot')].map((n) =>"
        " [n.getAttribute('role'), n.getAttribute('aria-label')])"
    )
    assert all(role == "img" and name for role, name in labels)
    assert len({name for _, name in labels}) == len(labels)


def test_print_shows_every_figure_whole(opened: Any, tmp_path: Path) -> None:
    opened.dark(True)
    opened.run("dispatchEvent(new Event('beforeprint'))")
    opened.devtools("Emulation.setEmulatedMedia", {"media": "print"})
    found = opened.run(
        "const right = document.querySelector('main').getBoundingClientRect().right;"
        "return [...document.querySelectorAll('.plot')].filter((n) => n.checkVisibility())"
        ".map((n) => [n.getAttribute('aria-label'), n.querySelectorAll('.main-svg').length > 0,"
        " n.querySelector('.main-svg').getBoundingClientRect().right - right,"
        " n.layout.font.color])"
    )
    assert len(found) > 15
    for name, drawn, beyond, ink in found:
        assert drawn, name
        assert beyond <= 1, name
        assert ink == "#1d2126", name
    opened.devtools("Emulation.setEmulatedMedia", {"media": ""})
    opened.run("dispatchEvent(new Event('afterprint'))")
    settle(opened)
    opened.dark(False)


def test_the_data_has_no_numbers_that_are_not(frame: pd.DataFrame) -> None:
    data = report_page.page_data(frame, "x")
    json.dumps(data, allow_nan=False)
