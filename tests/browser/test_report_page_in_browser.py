"""The report page in a real headless Chromium: what a user clicks, and what it changes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cvae import report_page, results, run_details
from cvae.repeat import command_of

sys.path.insert(0, str(Path(__file__).parent))
import webdriver
from fabricated_runs import fabricate_run, fabricate_sweep

pytestmark = pytest.mark.skipif(
    webdriver.missing() is not None, reason=webdriver.missing() or "no browser"
)

EVIL = "</script><img src=x onerror=window.hacked=1><b>%%plotly%%$1{{x}}"
ROWS = "#table tbody tr"
FIRST = "#table tbody tr:first-child td:nth-child(2)"


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("multirun")
    fabricate_sweep(root / "search", 60)
    return results.load(root / "search")


def settle(browser: Any) -> None:
    browser.run("return window.report.settle().then(() => true)")


def shown_trials(browser: Any) -> list[int]:
    return [int(text) for text in browser.texts(f"{ROWS} td:nth-child(2)")]


def curve_names(browser: Any, column: str = "kl") -> list[str]:
    settle(browser)
    names: list[str] = browser.run(
        f"return document.querySelector('[data-curve={column}]').data.map((trace) => trace.name)"
    )
    return names


def points_drawn(browser: Any, selector: str) -> int:
    """Return how many points of trials a figure shows, the front's own line aside."""
    settle(browser)
    count: int = browser.run(
        "return document.querySelector(arguments[0]).data"
        ".filter((t) => t.name !== 'Pareto front').reduce((n, t) => n + t.x.length, 0)",
        selector,
    )
    return count


def test_opens_from_disk_and_asks_the_network_for_nothing(opened: Any, page: Path) -> None:
    opened.log("performance")
    opened.open(page)
    settle(opened)
    events = [json.loads(entry["message"])["message"] for entry in opened.log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    # What plotly makes of its own pictures are data: and blob: addresses.
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} <= {page.as_uri()}
    assert opened.texts("#summary")[0].startswith("60 trials: 50 complete, 2 pruned, 2 diverged")
    figures = opened.run("return document.querySelectorAll('.js-plotly-plot .main-svg').length")
    assert figures >= 8 + 1 + 1 + 1 + 5 + 1 + 1 + 1 + 1


def test_starts_with_the_best_trials_selected(opened: Any, frame: pd.DataFrame) -> None:
    best = [str(trial) for trial in results.best(frame, 3)["trial"]]
    assert sorted(curve_names(opened)) == sorted(best)
    assert opened.texts("#trial-heading") == [f"Selected trial: {best[0]}"]
    kl = results.curves(results.best(frame, 1))["kl"]
    drawn = opened.run(
        "const plot = document.querySelector('[data-curve=kl]');"
        "return plot.data.find((trace) => trace.name === arguments[0]).y",
        best[0],
    )
    assert drawn == pytest.approx(kl.tolist(), rel=1e-3)


def test_a_heading_sorts_and_sorts_the_other_way(opened: Any, frame: pd.DataFrame) -> None:
    known = frame.dropna(subset=["nll"]).sort_values("nll")["trial"].tolist()
    opened.click("#columns summary")
    names = [text.strip() for text in opened.texts("#columns label")]
    opened.click(f"#columns label:nth-of-type({names.index('nll') + 1}) input")
    opened.click("#columns summary")
    opened.click('[data-sort="nll"]')
    assert shown_trials(opened) == known[:50]
    assert opened.run("return document.querySelector('th[aria-sort]').ariaSort") == "ascending"
    opened.click('[data-sort="nll"]')
    assert shown_trials(opened) == known[::-1][:50]
    opened.click("#next")
    assert set(shown_trials(opened)) == set(frame.loc[frame["nll"].isna(), "trial"])
    assert opened.texts("#position") == ["51–60 of 60 trials"]
    opened.click('[data-sort="trial"]')
    assert shown_trials(opened) == list(range(50))


@pytest.mark.parametrize(
    ("column", "text", "query"),
    [
        ("objective", ">0.58", "objective > 0.58"),
        ("objective", "0.55..0.58", "0.55 <= objective <= 0.58"),
        ("model.latent_size", "=16", "`model.latent_size` == 16"),
        ("anneal", "mono", "anneal == 'monotonic'"),
        ("anneal", "!=monotonic", "anneal == 'cyclical'"),
        ("anneal.cycle_count", "=", "`anneal.cycle_count`.isna()"),
        ("status", "fail", "status == 'failed'"),
    ],
)
def test_a_filter_keeps_the_rows_it_says(
    opened: Any, frame: pd.DataFrame, column: str, text: str, query: str
) -> None:
    expected = frame.query(query)
    opened.type(f'[data-filter="{column}"]', text)
    assert set(shown_trials(opened)) == set(expected["trial"])
    assert opened.texts("#position") == [f"{len(expected)} of 60 trials"]
    assert points_drawn(opened, '[data-parameter="model.two_level"]') == len(expected)
    opened.click("#clear-filters")
    assert opened.texts("#position") == ["1–50 of 60 trials"]


def test_a_filter_that_makes_no_sense_is_marked_and_hides_nothing(opened: Any) -> None:
    opened.type('[data-filter="objective"]', ">much")
    assert opened.run(
        "return document.querySelector('[data-filter=objective]').ariaInvalid === 'true'"
    )
    assert opened.texts("#position") == ["1–50 of 60 trials"]


def test_statuses_can_be_hidden_and_search_finds_reasons(opened: Any, frame: pd.DataFrame) -> None:
    opened.click("#next")
    opened.click("[data-status=failed]")
    assert opened.texts("#position") == ["1–50 of 58 of 60 trials"]  # from the first page
    opened.click("[data-status=failed]")
    opened.click("[data-status=complete]")
    assert set(shown_trials(opened)) == set(frame.query("status != 'complete'")["trial"])
    opened.type("#search", "out of memory")
    assert set(shown_trials(opened)) == set(frame.query("status == 'failed'")["trial"])
    opened.type("#search", "nowhere to be found")
    assert opened.texts(f"{ROWS} td") == ["No trial passes the filters."]


def test_selecting_changes_curves_conversions_and_samples(opened: Any, frame: pd.DataFrame) -> None:
    opened.click("#clear-selection")
    assert curve_names(opened) == []
    assert opened.texts("#trial-heading") == ["Selected trial"]
    complete = frame[frame["status"] == "complete"]
    wrong = next(
        row
        for row in complete.itertuples()
        if (pd.read_csv(Path(row.run) / "conversions.csv")["correct"] == 0).any() and row.trial > 12
    )
    opened.click('[data-sort="trial"]')
    for trial in (0, wrong.trial):
        opened.click(f'{ROWS}[data-row="{trial}"] input')
    assert curve_names(opened) == ["0", str(wrong.trial)]
    assert opened.texts("#trial-heading") == [f"Selected trial: {wrong.trial}"]
    assert opened.texts("#command") == [command_of(Path(wrong.run), wrong.overrides)]

    written = pd.read_csv(Path(wrong.run) / "conversions.csv", keep_default_na=False)
    kept = [*written[written["split"] == "report"].itertuples()]
    kept += written.query("split == 'dev' and correct == 0").itertuples()
    found = opened.run(
        "return [...document.querySelectorAll('#conversions tbody tr')]"
        ".filter((row) => row.querySelector('.yes, .no')).map((row) => {"
        "  const word = row.cells[4].firstChild;"
        "  const said = [...word.childNodes].filter((n) => n.className !== 'missing');"
        "  return [row.cells[1].textContent, row.cells[3].textContent,"
        "    said.map((n) => n.textContent).join(''),"
        "    row.querySelectorAll('.wrong, .missing').length > 0]; })"
    )
    expected = [[row.source, row.target, row.prediction, not row.correct] for row in kept]
    assert found[:10] == expected[:10]
    assert len(kept) <= 10 + run_details.DEV_ROWS
    assert sorted(found[10:]) == sorted(expected[10:])
    assert any(marked for *_, marked in found)
    samples = pd.read_csv(Path(wrong.run) / "samples.csv")
    assert opened.texts("#samples tbody tr:first-child .word") == [
        *samples.loc[0, list(run_details.TENSES)]
    ]

    opened.click('[data-chip="0"] button')  # a chip shows its trial without unselecting
    assert opened.texts("#trial-heading") == ["Selected trial: 0"]
    opened.click('[data-chip="0"] button:last-child')
    assert curve_names(opened) == [str(wrong.trial)]


def test_curves_over_another_axis(opened: Any) -> None:
    opened.run(
        "const axis = document.querySelector('#x-axis'); axis.value = 'progress';"
        "axis.dispatchEvent(new Event('change'))"
    )
    settle(opened)
    last = opened.run("return document.querySelector('[data-curve=kl]').data[0].x.at(-1)")
    assert last == 1


def test_cycles_between_two_evaluations_are_drawn(browser: Any, tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "run", {"anneal.ramp": "linear"}, evaluations=2)
    losses = "".join(f"\n{i},{i / 100},{i / 4000},1.0,{i % 7}" for i in range(40, 4001, 40))
    (run / "losses.csv").write_text(f"step,epoch,progress,cross_entropy,kl{losses}")
    report_page.write(results.load(run), tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    curve_names(browser)  # waits
    lines = {
        column: browser.run(
            f"const [line] = document.querySelector('[data-curve={column}]').data;"
            "return [Array.from(line.x), Array.from(line.y)];"
        )
        for column in ("kl_weight", "kl", "bleu4")
    }
    steps, weights = lines["kl_weight"]
    starts = [step for step, weight in zip(steps, weights, strict=True) if weight == 0.0]
    assert starts == pytest.approx([0, 1000, 2000, 3000], abs=1)
    assert (steps[-1], weights[-1]) == (4000, pytest.approx(0.1))
    assert lines["kl"] == [list(range(40, 4001, 40)), [i % 7 for i in range(40, 4001, 40)]]
    assert lines["bleu4"][0] == [2000, 4000]


def test_a_failed_trial_says_why_and_has_no_curves(opened: Any) -> None:
    opened.click("[data-status=complete]")
    opened.click(f'{ROWS}[data-row="7"]')
    assert "RuntimeError: out of memory" in opened.texts("#trial-body dd")
    assert opened.texts("#curves-note") == ["Never evaluated: 7."]
    assert "This trial left no conversions." in opened.texts("#conversions p")


def test_a_click_on_a_point_selects_its_trial(opened: Any, frame: pd.DataFrame) -> None:
    opened.click("#clear-selection")
    settle(opened)
    front = results.pareto(frame)["trial"].tolist()
    drawn = opened.run(
        "return document.querySelector('#pareto-plot').data"
        ".find((trace) => trace.name === 'Pareto front').customdata"
    )
    assert drawn == front
    place = opened.run(
        "const plot = document.querySelector('#pareto-plot');"
        "plot.scrollIntoView({block: 'center'});"
        "const trace = plot.data.find((t) => t.name === 'Pareto front');"
        "const box = plot.getBoundingClientRect(), full = plot._fullLayout;"
        "return [box.x + full.xaxis._offset + full.xaxis.d2p(trace.x[0]),"
        "  box.y + full.yaxis._offset + full.yaxis.d2p(trace.y[0])]"
    )
    opened.drag([tuple(place), tuple(place)])
    opened.wait("return window.report.state.selected.size === 1")
    assert opened.texts("#trial-heading") == [f"Selected trial: {front[0]}"]


def test_a_box_on_an_axis_keeps_the_lines_through_it(opened: Any, frame: pd.DataFrame) -> None:
    settle(opened)
    x, top, bottom = opened.run(
        "const plot = document.querySelector('#parallel-plot');"
        "plot.scrollIntoView({block: 'center'});"
        "const at = plot.layout.annotations.find((a) => a.text === 'anneal').x;"
        "const box = plot.getBoundingClientRect(), full = plot._fullLayout;"
        "const y = (v) => box.y + full.yaxis._offset + full.yaxis.d2p(v);"
        "return [box.x + full.xaxis._offset + full.xaxis.d2p(at), y(1.06), y(0.8)]"
    )
    opened.drag([(x - 20, top), (x, bottom - 5), (x + 20, bottom)])
    opened.wait("return window.report.state.brushes.size === 1")
    expected = frame[frame["anneal"] == "monotonic"]
    assert opened.texts("#brush-note") == [f"{len(expected)} of 60 trials pass the brush."]
    assert set(shown_trials(opened)) == set(expected["trial"])
    # The brush is drawn on its axis, named at the table, and can be taken away there.
    settle(opened)
    boxes = opened.run(
        "return document.querySelector('#parallel-plot').layout.shapes"
        ".filter((s) => s.type === 'rect').map((s) => (s.x0 + s.x1) / 2)"
    )
    axes = opened.run(
        "return document.querySelector('#parallel-plot').layout.annotations"
        ".filter((a) => a.text === 'anneal').map((a) => a.x)"
    )
    assert boxes == pytest.approx(axes)
    assert opened.texts("[data-brush]") == ["brush anneal: monotonic ×"]
    opened.click("[data-brush]")
    assert opened.texts("#position") == ["1–50 of 60 trials"]


def test_importance_and_parameters_are_those_of_results(opened: Any, frame: pd.DataFrame) -> None:
    settle(opened)
    expected = results.importance(frame).dropna()
    drawn = opened.run("return document.querySelector('#importance-plot').data[0].x")
    assert drawn == pytest.approx(expected["importance"].tolist()[::-1], rel=1e-4)
    shown = opened.run(
        "return [...document.querySelectorAll('[data-parameter]')].map("
        "  (node) => node.dataset.parameter)"
    )
    assert shown == expected["parameter"].tolist()
    size = points_drawn(opened, '[data-parameter="anneal.cycle_count"]')
    assert size == frame["anneal.cycle_count"].notna().sum()


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("dark", [False, True])
def test_fits_its_width_and_is_legible(opened: Any, width: int, dark: bool) -> None:
    opened.resize(width, 900)
    opened.dark(dark)
    opened.wait(
        "return matchMedia('(prefers-color-scheme: dark)').matches === " + str(dark).lower()
    )
    settle(opened)
    assert opened.run("return document.documentElement.scrollWidth") <= width
    # WCAG's contrast of every text against the paper behind it; 4.5 is its level AA.
    pairs = opened.run(
        "const back = (node) => { for (; node; node = node.parentElement) {"
        "  const colour = getComputedStyle(node).backgroundColor;"
        "  if (!/, 0\\)$/.test(colour)) return colour; } };"
        "return [...document.querySelectorAll('p, td, th, h2, dt, dd, .status, .wrong, a')]"
        ".filter((n) => n.textContent.trim() && !n.closest('tr.off, .none'))"
        ".map((n) => [getComputedStyle(n).color, back(n), n.className])"
    )
    assert len(pairs) > 100
    for ink, paper, name in pairs:
        assert contrast(ink, paper) >= 4.5, (ink, paper, name)


def contrast(ink: str, paper: str) -> float:
    """Return WCAG 2's contrast ratio of two CSS colours."""

    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dim, bright = sorted([luminance(ink), luminance(paper)])
    return (bright + 0.05) / (dim + 0.05)


def test_a_hostile_run_directory_is_shown_as_text(browser: Any, tmp_path: Path) -> None:
    for i, size in enumerate((8, 16, 32)):
        run = fabricate_run(
            tmp_path / f"<b>{i}", {"extra.key": EVIL, "model.latent_size": size}, reason=EVIL
        )
        for name in ("conversions.csv", "samples.csv"):
            text = (run / name).read_text().replace("abandon", EVIL)
            (run / name).write_text(text)
    fabricate_run(tmp_path / "x", {"extra.key": f"<i>{EVIL}"}, status="failed", reason=EVIL)
    page = tmp_path / "page.html"
    report_page.write(results.load(tmp_path), page, title=EVIL)
    browser.log()
    browser.open(page)
    settle(browser)
    assert browser.run("return window.hacked") is None
    assert browser.texts("h1") == [EVIL]
    assert browser.run("return document.title") == EVIL
    assert browser.run("return document.querySelectorAll('main img, main b, main i').length") == 0
    assert EVIL in browser.texts("#trial-body dd")
    assert EVIL in browser.texts("#conversions .word")
    assert "<b>" in browser.texts(FIRST)[0]
    assert [entry for entry in browser.log() if entry["level"] == "SEVERE"] == []


def test_scripts_that_are_not_the_pages_own_do_not_run(browser: Any, page: Path) -> None:
    # The second line of defence: even markup that got in could not run.
    browser.open(page)
    browser.run(
        "const script = document.createElement('script');"
        "script.textContent = 'window.hacked = 1'; document.body.append(script);"
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')"
    )
    assert browser.run("return new Promise((r) => setTimeout(() => r(window.hacked), 200))") is None
    browser.log()


def test_a_single_failed_run_makes_a_page_that_says_so(browser: Any, tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", status="failed", reason="ValueError: no data")
    page = tmp_path / "page.html"
    report_page.write(results.load(tmp_path), page)
    browser.log()
    browser.open(page)
    settle(browser)
    assert "ValueError: no data" in browser.texts("#trial-body dd")
    # What compares trials, and figures without a line, are not there at all.
    assert browser.texts("nav a") == ["Trials", "Selected trial"]
    assert browser.run("return document.querySelectorAll('.js-plotly-plot').length") == 0
    assert browser.texts("#summary")[0].startswith("1 trial: 1 failed.")
    assert browser.texts("#table .reason") == ["ValueError: no data"]
    assert [entry for entry in browser.log() if entry["level"] == "SEVERE"] == []


@pytest.mark.slow
def test_a_thousand_trials_stay_quick(browser: Any, tmp_path: Path) -> None:
    fabricate_sweep(tmp_path / "search", 1000, evaluations=50, dev_rows=20)
    page = tmp_path / "page.html"
    report_page.write(results.load(tmp_path), page)
    assert page.stat().st_size < 25e6
    browser.resize(1280, 900)
    browser.open(page)
    settle(browser)
    milliseconds = browser.run(
        "const start = performance.now();"
        "document.querySelector('[data-status=complete]').click();"
        "document.querySelector('[data-status=complete]').click();"
        "document.querySelector('#table tbody tr:nth-child(9)').click();"
        "return window.report.settle().then(() => performance.now() - start)"
    )
    assert milliseconds < 10_000  # two filters, a selection, and every figure drawn again
