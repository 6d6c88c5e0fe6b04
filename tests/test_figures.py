"""Figures for notebooks: what they show is what the tables say."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cvae import conversion_errors, figures, results

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run, fabricate_study, fabricate_sweep


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("multirun")
    fabricate_sweep(root / "search", 16)
    return results.load(root / "search")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Two schedules under three seeds, one run failed."""
    root = tmp_path_factory.mktemp("seeds")
    for anneal in ("cyclical", "monotonic"):
        for seed in range(3):
            status = "failed" if (anneal, seed) == ("monotonic", 2) else "complete"
            overrides = {"anneal": anneal, "seed": seed, "anneal.ramp": "linear"}
            fabricate_run(root / f"{anneal}_{seed}", overrides, status=status)
    return results.load(root)


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.name is not None}


def test_history_shows_every_trial_and_the_best_so_far(search: pd.DataFrame) -> None:
    shown = traces(figures.history(search))
    for status, count in search["status"].value_counts().items():
        assert len(shown[status].x) == count
    best = shown["best so far"]
    expected = -np.inf
    for number, value in zip(best.x, best.y, strict=True):
        (row,) = search[search["trial"] == number].itertuples()
        if row.status == "complete":
            expected = max(expected, row.objective)
        assert value == expected
    failed = search[search["status"] == "failed"]
    assert shown["failed"].x.tolist() == failed["trial"].tolist()
    compared = search[search["status"].isin(["complete", "pruned"])]["objective"]
    for status in ("failed", "diverged", "interrupted", "unreadable"):
        assert (shown[status].y < compared.min()).all()
    assert shown["pruned"].y.tolist() == search[search["status"] == "pruned"]["objective"].tolist()
    assert "out of memory" in shown["failed"].text[0]


def test_the_best_so_far_of_what_should_be_small_falls(search: pd.DataFrame) -> None:
    best = traces(figures.history(search, "nll"))["best so far"].y
    best = best[~np.isnan(best)]
    assert best[-1] == search[search["status"] == "complete"]["nll"].min() < best[0]


def test_curves_are_means_over_seeds_with_their_interval(seeds: pd.DataFrame) -> None:
    figure = figures.curves(seeds, "dev_bleu4")
    shown = traces(figure)
    assert set(shown) == {"anneal=cyclical", "anneal=monotonic"}
    table = results.curves(seeds)
    own = table[(table["anneal"] == "cyclical") & (table["status"] == "complete")]
    assert shown["anneal=cyclical"].x.tolist() == sorted(set(own["epoch"]))
    means = own.groupby("epoch")["dev_bleu4"].mean()
    assert shown["anneal=cyclical"].y.tolist() == pytest.approx(means.tolist())
    expected = results.aggregate(own, "epoch", "dev_bleu4").sort_values("epoch")
    band = next(t for t in figure.data if t.fill == "toself" and t.legendgroup == "anneal=cyclical")
    high = expected["dev_bleu4_high"].tolist()
    assert list(band.y[: len(high)]) == pytest.approx(high)


def test_schedules_are_drawn_as_they_are(seeds: pd.DataFrame) -> None:
    runs = seeds.copy()
    shown = traces(figures.curves(runs, "kl_weight", along="progress"))
    assert (shown["anneal=cyclical"].y == 0.0).sum() == 4
    assert shown["anneal=cyclical"].x[[0, -1]].tolist() == [0.0, 1.0]
    assert len(shown["anneal=monotonic"].x) == 3
    at_evaluations = traces(figures.curves(runs, "kl_weight", along="step"))
    assert len(at_evaluations["anneal=cyclical"].x) == 12


def test_losses_are_drawn_from_the_finest_file(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a")
    assert len(figures.curves(results.load(run), "kl").data[0].x) == 12
    lines = [f"{i},{i / 100},{i / 4000},1.0,{i}" for i in range(1, 101)]
    (run / "losses.csv").write_text("\n".join(["step,epoch,progress,cross_entropy,kl", *lines]))
    older = fabricate_run(tmp_path / "b", {"seed": 1})
    assert len(figures.curves(results.load(run, older), "kl").data[-1].x) == 12
    (line,) = figures.curves(results.load(run), "kl").data
    assert line.name == "all runs"
    assert line.y.tolist() == list(range(1, 101))


def test_pareto_importance_and_slices_show_the_tables(search: pd.DataFrame) -> None:
    front = results.pareto(search)
    shown = traces(figures.pareto(search))
    assert shown["Pareto front"].x.tolist() == front["objective_bleu4"].tolist()
    assert len(shown["complete runs"].x) == (search["status"] == "complete").sum()
    table = results.importance(search).set_index("parameter")
    bars = traces(figures.importance(search))["importance"]
    for parameter, share in zip(bars.y, bars.x, strict=True):
        assert share == pytest.approx(table["importance"][parameter], nan_ok=True)
    figure = figures.slices(search, parameters=["optim.encoder_lr", "model.latent_size", "anneal"])
    axes = [figure.layout[name].type for name in ("xaxis", "xaxis2", "xaxis3")]
    assert axes == ["log", "linear", "category"]
    complete = search[search["status"] == "complete"]
    assert figure.data[0].x.tolist() == complete["optim.encoder_lr"].tolist()
    assert figure.data[0].y.tolist() == complete["objective"].tolist()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A search without failures over a learning rate and a number of cycles, with its study."""
    root = tmp_path_factory.mktemp("plane")
    fabricate_sweep(root / "search", 24, faults=False)
    fabricate_study(root / "search")
    runs = results.load(root / "search")
    return runs.dropna(subset=["anneal.cycle_count"])


def test_rank_colours_runs_from_the_worst_to_the_best(plane: pd.DataFrame) -> None:
    shown = traces(figures.rank(plane, "optim.encoder_lr", "model.latent_size"))["complete runs"]
    order = np.argsort(plane["objective"].to_numpy())
    assert shown.marker.color[order[0]] == 0.0 and shown.marker.color[order[-1]] == 1.0
    reverse = traces(figures.rank(plane, "optim.encoder_lr", "anneal", "nll"))["complete runs"]
    assert reverse.marker.color[int(np.argmin(plane["nll"]))] == 1.0


def test_axes_are_those_of_the_study(plane: pd.DataFrame) -> None:
    """Even where the values drawn so far span no decade; choices stand in their order."""
    few = plane.iloc[:2]
    figure = figures.rank(few, "optim.encoder_lr", "model.latent_size")
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.yaxis.type == "category"
    assert figure.layout.yaxis.categoryarray == ("8", "16", "32", "64")
    sliced = figures.slices(few, parameters=["optim.encoder_lr", "model.latent_size"])
    assert (sliced.layout.xaxis.type, sliced.layout.xaxis2.type) == ("log", "category")


def test_a_contour_is_the_mean_over_near_runs(plane: pd.DataFrame) -> None:
    figure = figures.contour(plane, "optim.encoder_lr", "anneal.cycle_count")
    contour, runs = figure.data
    assert runs.x.tolist() == plane["optim.encoder_lr"].tolist()
    assert figure.layout.xaxis.type == "log" and figure.layout.yaxis.type == "linear"
    assert contour.x[[0, -1]] == pytest.approx([1e-4, 1e-1])
    assert contour.y[[0, -1]] == pytest.approx([1, 8])
    assert np.diff(np.log(contour.x)) == pytest.approx(np.log(1e3) / 63)
    # By hand at one place.
    row, column = 20, 30
    across = np.log(plane["optim.encoder_lr"] / 1e-4) / np.log(1e3)
    up = (plane["anneal.cycle_count"].astype(float) - 1) / 7
    bandwidth = len(plane) ** (-1 / 6) / np.sqrt(12)
    distance = (across - column / 63) ** 2 + (up - row / 63) ** 2
    weights = np.exp(-distance / bandwidth**2 / 2)
    assert contour.z[row, column] == pytest.approx(np.average(plane["objective"], weights=weights))
    values = contour.z[~np.isnan(contour.z)]
    assert plane["objective"].min() <= values.min() < values.max() <= plane["objective"].max()


def test_a_contour_leaves_out_what_is_far_from_every_run(tmp_path: Path) -> None:
    for i, (rate, cycles) in enumerate([(1e-4, 1), (2e-4, 2), (5e-2, 8), (1e-1, 7)]):
        fabricate_run(tmp_path / str(i), {"optim.encoder_lr": rate, "anneal.cycle_count": cycles})
    surface = figures.contour(results.load(tmp_path), "optim.encoder_lr", "anneal.cycle_count")
    z = surface.data[0].z
    assert np.isnan(z[0, -1]) and np.isnan(z[-1, 0])
    assert np.isfinite(z[0, 0]) and np.isfinite(z[-1, -1])


@pytest.mark.parametrize(
    ("across", "rows", "said"),
    [
        ("anneal", 24, "not choices; anneal is none: take figures.rank"),
        ("model.latent_size", 24, "not choices; model.latent_size is none"),
        ("optim.encoder_lr", 3, "a contour needs 4 complete runs"),
        ("optim.encoder_lx", 24, "did you mean"),
    ],
)
def test_why_there_is_no_contour(plane: pd.DataFrame, across: str, rows: int, said: str) -> None:
    with pytest.raises(results.ResultsError, match=said):
        figures.contour(plane.iloc[:rows], across, "anneal.cycle_count")


def test_the_front_is_that_of_the_parts_that_count(search: pd.DataFrame) -> None:
    runs = search.assign(objective_generation="variety")
    runs["objective_gaussian_variety"] = runs["objective_gaussian_score"].rank()
    figure = figures.pareto(runs)
    assert figure.layout.yaxis.title.text == "objective_gaussian_variety"
    front = results.pareto(runs)
    assert traces(figure)["Pareto front"].y.tolist() == front["objective_gaussian_variety"].tolist()
    named = figures.pareto(runs, by=results.PARETO)
    assert named.layout.yaxis.title.text == "objective_gaussian_score"


def test_tenses_and_lengths_show_accuracy(seeds: pd.DataFrame) -> None:
    conversions = results.conversions(seeds)
    (heatmap,) = figures.tenses(conversions).data
    matrix = conversion_errors.accuracy_by_tense(conversions, "regular")
    assert np.array(heatmap.z, dtype=float) == pytest.approx(matrix.to_numpy(), nan_ok=True)
    assert heatmap.y[0] == "simple present"
    (line,) = figures.lengths(conversions).data
    by_length = conversion_errors.accuracy_by_length(conversions)
    assert line.y.tolist() == by_length["accuracy"].tolist()


def test_every_figure_becomes_a_page(seeds: pd.DataFrame, tmp_path: Path) -> None:
    conversions = results.conversions(seeds)
    made = [
        *(figures.history(seeds), figures.curves(seeds, "kl"), figures.pareto(seeds)),
        *(figures.importance(seeds), figures.slices(seeds), figures.tenses(conversions)),
        figures.lengths(conversions),
    ]
    for i, figure in enumerate(made):
        figure.write_html(tmp_path / f"{i}.html", include_plotlyjs=False)
        assert "Plotly.newPlot" in (tmp_path / f"{i}.html").read_text()


def test_names_in_hover_cannot_be_markup(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", status="failed", reason="<img src=x>")
    shown = traces(figures.history(results.load(tmp_path)))
    assert "&lt;img" in shown["failed"].text[0] and "<img" not in shown["failed"].text[0]


def test_the_figure_of_a_run_is_drawn_from_its_directory(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a", {"anneal.ramp": "linear", "training.epochs": 40})
    found = figures.training(run, ["png"])
    assert Image.open(io.BytesIO(found["png"])).width > 1000
    fabricate_run(tmp_path / "b", {"seed": 1})
    with pytest.raises(results.ResultsError, match="holds 2 runs; name one"):
        figures.training(tmp_path)
    (run / "metrics.csv").write_text("a,b\nx,y\n")
    with pytest.raises(results.ResultsError, match="no table of numbers"):
        figures.training(run)


def test_what_cannot_be_drawn_is_said(seeds: pd.DataFrame) -> None:
    with pytest.raises(results.ResultsError, match="no numeric column 'dev_bleu': did you mean"):
        figures.curves(seeds, "dev_bleu")
    with pytest.raises(results.ResultsError, match="along is 'seconds': choose from epoch, step"):
        figures.curves(seeds, "kl", along="seconds")
    with pytest.raises(results.ResultsError, match="no key varies"):
        figures.slices(seeds.iloc[:1], parameters=[])
    with pytest.raises(results.ResultsError, match="none of the 1 runs is complete"):
        figures.curves(seeds[seeds["status"] == "failed"], "kl")


def test_importing_it_imports_neither_plotly_nor_matplotlib_nor_torch() -> None:
    program = (
        "import sys; from cvae import figures\n"
        "assert not {'plotly', 'matplotlib', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
