"""The thinned losses: their number, their means, and the same ones after an interruption."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvae.loss_curve import MOST_POINTS, LossCurve
from cvae.state import StateError


def filled(curve: LossCurve, first: int, last: int) -> LossCurve:
    for step in range(first, last):
        curve.add(step, 30.0 / (step + 1), step * 0.1, 3 + step % 2)
    return curve


@given(total=st.integers(1, 5000), share=st.floats(0.0, 1.0))
def test_the_curve_is_bounded_and_the_same_after_an_interruption(total: int, share: float) -> None:
    whole = filled(LossCurve(total, 7), 0, total)
    rows = whole.rows()
    assert min(total, MOST_POINTS / 2) <= len(rows) <= MOST_POINTS
    assert rows[-1]["step"] == total and rows[-1]["progress"] == 1.0
    stop = round(share * total)
    broken = filled(LossCurve(total, 7), 0, stop)
    resumed = LossCurve(total, 7)
    resumed.load_state(json.loads(json.dumps(broken.state())))
    assert filled(resumed, stop, total).rows() == rows


def test_a_window_is_the_mean_over_its_words() -> None:
    curve = LossCurve(1250, 10)  # windows of three steps
    for step, (loss, kl, words) in enumerate([(3.0, 1.0, 2), (6.0, 4.0, 1), (9.0, 7.0, 3)]):
        curve.add(step, loss, kl, words)
    curve.add(3, 8.0, 2.0, 5)
    first, last = curve.rows()
    assert first == {
        "step": 3,
        "epoch": 0.3,
        "progress": 3 / 1250,
        "cross_entropy": pytest.approx((6 + 6 + 27) / 6),
        "kl": pytest.approx((2 + 4 + 21) / 6),
    }
    assert (last["step"], last["cross_entropy"], last["kl"]) == (4, 8.0, 2.0)
    assert LossCurve(10, 2).rows() == []


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {},
        {"closed": [], "step": 0},
        {"closed": {}, "step": 0, "sums": [0.0, 0.0, 0.0]},
        {"closed": [[1, 2.0]], "step": 0, "sums": [0.0, 0.0, 0.0]},
        {"closed": [[1, 2.0, math.nan]], "step": 0, "sums": [0.0, 0.0, 0.0]},
        {"closed": [[1, 2.0, 3.0]] * 99, "step": 0, "sums": [0.0, 0.0, 0.0]},
        {"closed": [[1, 2.0, 10**400]], "step": 0, "sums": [0.0, 0.0, 0.0]},
        {"closed": [], "step": "0", "sums": [0.0, 0.0, 0.0]},
        {"closed": [], "step": 21, "sums": [0.0, 0.0, 0.0]},
        {"closed": [], "step": 1, "sums": [0.0, 0.0, -3.0]},
        {"closed": [], "step": 0, "sums": [0.0, True, 0.0]},
    ],
)
def test_what_is_no_state_is_refused_and_nothing_of_it_taken(state: Any) -> None:
    curve = filled(LossCurve(20, 2), 0, 5)
    before = curve.rows()
    with pytest.raises(StateError, match="loss_curve is no table of numbers"):
        curve.load_state(state)
    assert curve.rows() == before
