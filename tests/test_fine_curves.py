"""The page's schedules and losses: as they are, however rarely a run was evaluated."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from cvae import fine_curves, results, run_schedules

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run

VALID = {"anneal.ramp": "linear"}  # with it the fabricated schedule is one of this version


def test_cycles_between_two_evaluations_are_there(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a", VALID, evaluations=2)
    lines = ["step,epoch,progress,cross_entropy,kl"]
    lines += [f"{i},{i / 100},{i / 4000},{9 - i / 1000},{i % 2}" for i in range(1, 4001)]
    (run / "losses.csv").write_text("\n".join(lines))
    frame = results.load(tmp_path)
    fine = fine_curves.read(frame)["0"]
    points = fine["points"]["kl_weight"]
    expected = run_schedules.schedule_points(results.configuration(str(run)))["kl_weight"]
    assert np.array(points) == pytest.approx(np.array(expected), abs=1e-4)
    assert [value for _, value in points].count(0.0) == 4 == [y for _, y in points[1:]].count(0) + 1
    last = results.curves(frame).iloc[-1]
    assert fine["scale"] == pytest.approx(
        {axis: last[axis] / last["progress"] for axis in fine_curves.AXES}, rel=1e-5
    )
    losses = np.array(fine["points"]["cross_entropy"])
    assert len(losses) == 250
    assert losses[[0, -1]].tolist() == [pytest.approx([0.00025, 8.999], abs=1e-3), [1.0, 5.0]]


def test_a_schedule_ends_where_the_run_did(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a", VALID, evaluations=4)
    path = run / "metrics.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:3]))  # half-way
    points = fine_curves.read(results.load(tmp_path))["0"]["points"]["kl_weight"]
    assert points[-1][0] == 0.5
    assert max(value for _, value in points) == pytest.approx(0.1)


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a")  # a configuration of another version
    fabricate_run(tmp_path / "b", VALID, status="interrupted")
    (fabricate_run(tmp_path / "c", VALID) / "losses.csv").write_text("damaged,kl\nx,y\n")
    (fabricate_run(tmp_path / "d", VALID) / "metrics.csv").unlink()
    fine = fine_curves.read(results.load(tmp_path))
    assert list(fine) == ["0", "2"]
    assert not {"kl_weight", "cross_entropy"} & set(fine["0"]["points"])
    assert set(fine["2"]["points"]) == {"kl_weight"}
