"""``python -m cvae.compare``: what it prints and writes, and how it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cvae import compare, figures, results

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run, fabricate_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("multirun") / "search"
    fabricate_sweep(directory, 40)
    return directory


def test_leaderboard_is_ranked_and_fits_80_columns(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(sweep), "--top", "5"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert " ".join(lines[:2]).startswith(
        "40 runs in 1 directory: 35 complete, 1 pruned, 1 diverged, 1 failed, 1 interrupted, 1 unr"
    )
    assert "best 5 of 35 complete, by objective (higher is better)" in lines
    best = results.best(results.load(sweep), 5)
    start = next(i for i, line in enumerate(lines) if line.startswith("#"))
    rows = [line.split() for line in lines[start + 2 : start + 7]]
    assert [row[1] for row in rows] == [str(trial) for trial in best["trial"]]
    assert [row[2] for row in rows] == [f"{value:.4f}" for value in best["objective"]]
    assert "latent_size" in lines[start]
    (again,) = [line for line in lines if line.startswith("run again  ")]
    assert again.endswith(f" -m cvae.run {best['overrides'].iloc[0]}")
    assert "  7  failed  RuntimeError: out of memory" in lines
    unlimited = ("best run", "run again")
    assert all(len(line) <= 80 for line in lines if not line.startswith(unlimited))


def test_ranks_by_any_numeric_column(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(sweep), "--by", "nll", "--top", "1"]) == 0
    out = capsys.readouterr().out
    best = results.load(sweep).query("status == 'complete'").sort_values("nll").iloc[0]
    assert "by nll (lower is better)" in out
    assert f"best run   {best['run']}\n" in out


def test_pairs_show_the_pareto_front_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, lr in enumerate((0.001, 0.003, 0.01, 0.03)):
        overrides = {"objective": "pareto", "optim.encoder_lr": lr}
        fabricate_run(tmp_path / str(i), overrides, objective=[0.1, 0.2])
    assert compare.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    front = results.pareto(results.load(tmp_path))
    assert f"the Pareto front of BLEU-4 and Gaussian score ({len(front)} runs) first" in out
    assert f"best run   {front['run'].iloc[0]}\n" in out


def test_the_variety_stands_beside_the_score_that_it_replaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate_run(tmp_path / "0", {"objective": "pareto", "objective.generation": "variety"})
    assert compare.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^ *# +trial +objective +obj_bleu4 +obj_gauss +obj_variety", out, re.MULTILINE
    )
    fabricate_run(
        tmp_path / "1", {"objective": "pareto", "objective.generation": "variety"}, objective=[1, 1]
    )
    assert compare.main([str(tmp_path / "1")]) == 0
    assert "the Pareto front of BLEU-4 and Gaussian variety (1 runs) first" in (
        capsys.readouterr().out
    )


def test_without_a_complete_run_the_reasons_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate_run(tmp_path / "0", status="failed", reason="ValueError: no\x1b[31m data\nat all")
    assert compare.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "no leaderboard: none of the 1 runs is complete" in out
    assert "0  failed  ValueError: no\\x1b[31m data\\nat all" in out


def test_writes_csv_parquet_and_html(sweep: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    files = {kind: tmp_path / f"runs.{kind}" for kind in ("csv", "parquet", "html")}
    arguments = [f"--{kind}={path}" for kind, path in files.items()]
    assert compare.main([str(sweep), *arguments]) == 0
    frame = results.load(sweep)
    assert pd.read_csv(files["csv"])["objective"].tolist() == pytest.approx(
        frame["objective"].tolist(), nan_ok=True
    )
    pd.testing.assert_frame_equal(pd.read_parquet(files["parquet"]), frame)
    assert files["html"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in files.values()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "cvae.compare: missing: no such directory"),
        (["."], "holds no run (a directory with result.json or .hydra)"),
        (
            ["{sweep}", "--by", "bleu5"],
            "no numeric column 'bleu5': did you mean bleu4? Choose from trial, objective",
        ),
        (["{sweep}", "--by", "anneal"], "no numeric column 'anneal': choose from"),
        (
            ["{sweep}", "--csv", "no/such/x.csv"],
            "x.csv: cannot be written: no/such is no directory",
        ),
        (["{sweep}", "--html", "."], ".: cannot be written: it is a directory"),
        (
            ["{sweep}", "--parquet", "no/x.parquet"],
            "x.parquet: cannot be written: no is no directory",
        ),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(
    sweep: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare.main([text.replace("{sweep}", str(sweep)) for text in arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_wrong_number_of_rows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        compare.main(["x", "--top", "0"])
    assert caught.value.code == 2
    assert "'0' is no whole number of at least 1" in capsys.readouterr().err


def _python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    root = str(Path(compare.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_help_is_quick_and_torch_is_never_imported(sweep: Path, tmp_path: Path) -> None:
    before = os.times()
    shown = _python("-m", "cvae.compare", "--help", cwd=tmp_path)
    after = os.times()
    # Processor time, which other programs change little.
    assert after.children_user - before.children_user < 1
    assert shown.returncode == 0
    assert "--parquet FILE" in shown.stdout
    code = (
        "import sys; from cvae import compare; "
        f"compare.main([{str(sweep)!r}, '--html', 'x.html']); sys.exit('torch' in sys.modules)"
    )
    assert _python("-c", code, cwd=tmp_path).returncode == 0


def test_a_reader_that_closes_the_pipe_early_causes_no_error(sweep: Path, tmp_path: Path) -> None:
    root = str(Path(compare.__file__).parents[1])
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -m cvae.compare '{sweep}' | head -1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.startswith("40 runs in 1 directory")
    assert ran.stderr == ""


@pytest.fixture
def confirmed(tmp_path: Path) -> Path:
    """Three trials, of which a search repeats two under two more seeds each; #0 is best by luck."""
    values = {0: (0.9, 0), 1: (0.8, 0), 2: (0.3, 0), 3: (0.5, 1), 4: (0.6, 2), 5: (0.82, 1)}
    values[6] = (0.84, 2)
    for number, (value, seed) in values.items():
        confirms = None if number < 3 else (0 if number < 5 else 1)
        rate = [0.1, 0.2, 0.3][number if confirms is None else confirms]
        overrides = {"optim.encoder_lr": rate, "seed": seed}
        directory = tmp_path / "study" / f"trial_{number:05d}"
        fabricate_run(directory, overrides, number=number, confirms=confirms, objective=value)
    return tmp_path / "study"


def test_repeats_of_the_best_are_no_trials(confirmed: Path) -> None:
    frame = results.load(confirmed)
    assert frame["confirms"].dropna().tolist() == [0, 0, 1, 1]
    text = compare.leaderboard(frame)
    assert "complete, by objective" in text
    lines = text.splitlines()
    assert lines[0].endswith("7 complete; 4 of them repeat the best under other seeds")
    ranked = [line.split()[:3] for line in lines if re.match(r"\d+  \d", line)]
    assert ranked == [["1", "0", "0.9000"], ["2", "1", "0.8000"], ["3", "2", "0.3000"]]
    place = lines.index("repeated under other seeds, by the mean of objective")
    assert lines[place + 1 : place + 3] == [
        "  1  mean 0.8200 of 3 seeds: 5 0.8200, 6 0.8400",
        "  0  mean 0.6667 of 3 seeds: 3 0.5000, 4 0.6000",
    ]
    # Of the repeats alone there is nothing else to show.
    alone = compare.leaderboard(frame[frame["confirms"].notna()])
    assert "repeated under" not in alone and "0.8400" in alone
    without = compare.leaderboard(frame[frame["confirms"].isna()])
    assert "repeated under" not in without and "0.9000" in without


def test_the_best_so_far_is_that_of_trials(confirmed: Path) -> None:
    runs = results.load(confirmed)
    runs.loc[runs["trial"] == 5, "objective"] = 0.99
    best = next(t for t in figures.history(runs).data if t.name == "best so far")
    assert list(best.y) == [0.9] * 7
