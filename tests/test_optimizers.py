"""Rates, clipping, divergence and state of the optimizers, on two parts of a few numbers each."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cvae.optimizers import (
    RATE_LIMIT,
    Diverged,
    Optimizers,
    OptimizerSettings,
    Part,
)
from cvae.schedules import learning_rate_factor
from cvae.state import StateError

PATIENT = settings(deadline=None)  # a slow machine is not a failure

SGD = OptimizerSettings(
    algorithm="sgd",
    encoder_lr=0.4,
    decoder_lr=0.2,
    prior_lr=0.0,
    momentum=0.0,
    schedule="constant",
    encoder_step_epochs=0,
    encoder_step_gamma=1.0,
    gradient_clip=0.0,
)
ALGORITHMS = {
    "adam": dataclasses.replace(SGD, algorithm="adam"),
    "sgd": SGD,
    "sgd with momentum": dataclasses.replace(SGD, momentum=0.9),
}


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def make(settings: OptimizerSettings = SGD) -> tuple[Optimizers, nn.Parameter, nn.Parameter]:
    """Two parts; the second one halves its rate over the training."""
    near, far = parameter(1.0, 2.0), parameter(3.0)
    parts = {
        "near": Part([near], settings.decoder_rate),
        "far": Part([far], lambda progress, epoch: 0.1 * (1.0 - 0.5 * progress)),
        "empty": Part([], settings.decoder_rate),
    }
    return Optimizers(settings, parts), near, far


def step(optimizers: Optimizers, loss: Tensor, number: int = 0) -> None:
    optimizers.set_rates(0.0, 0)
    optimizers.step([loss], number=number)


# Learning rates


@PATIENT
@given(st.floats(0.0, 1.0))
def test_the_learning_rate_is_a_share_of_its_peak(progress: float) -> None:
    assert learning_rate_factor("constant", progress) == 1.0
    assert 0.0 <= learning_rate_factor("one_cycle", progress) <= 1.0


def test_one_cycle_rises_over_a_tenth_and_falls_to_zero() -> None:
    def factor(progress: float) -> float:
        return learning_rate_factor("one_cycle", progress)

    assert factor(0.0) == pytest.approx(0.04)
    assert factor(0.05) == pytest.approx(0.52)
    assert factor(0.1) == pytest.approx(1.0)
    assert factor(0.55) == pytest.approx(0.5)
    assert factor(1.0) == pytest.approx(0.0, abs=1e-12)
    path = [factor(step / 1000) for step in range(1001)]
    assert path[:101] == sorted(path[:101])
    assert path[100:] == sorted(path[100:], reverse=True)
    assert max(abs(a - b) for a, b in itertools.pairwise(path)) < 0.01  # no jump


@pytest.mark.parametrize("progress", [0.05, 0.7])
def test_the_decoder_follows_the_schedule_and_the_encoder_steplr_too(progress: float) -> None:
    chosen = dataclasses.replace(
        SGD, schedule="one_cycle", encoder_step_epochs=2, encoder_step_gamma=0.5
    )
    factor = learning_rate_factor("one_cycle", progress)
    assert [chosen.encoder_rate(progress, epoch) for epoch in range(5)] == pytest.approx(
        [0.4 * factor * drop for drop in (1.0, 1.0, 0.5, 0.5, 0.25)]
    )
    assert [chosen.decoder_rate(progress, epoch) for epoch in range(5)] == [0.2 * factor] * 5


def test_each_part_goes_down_the_gradient_at_its_own_rate() -> None:
    optimizers, near, far = make()
    assert optimizers.rates(1.0, 0) == pytest.approx({"near": 0.2, "far": 0.05})
    optimizers.set_rates(1.0, 0)
    optimizers.step([near.square().sum(), 2.0 * far.sum()], number=0)
    assert near.tolist() == pytest.approx([1.0 - 0.2 * 2.0, 2.0 - 0.2 * 4.0])
    assert far.tolist() == pytest.approx([3.0 - 0.05 * 2.0])


def test_a_loss_is_differentiated_before_the_next_is_made() -> None:
    optimizers, near, far = make()
    optimizers.set_rates(0.0, 0)

    def losses() -> Iterator[Tensor]:
        yield near.square().sum()
        assert near.grad is not None and near.grad.tolist() == [2.0, 4.0]
        assert far.grad is None
        yield near.sum() + far.sum()

    optimizers.step(losses(), number=0)
    assert near.grad is not None and near.grad.tolist() == [3.0, 5.0]
    assert near.tolist() == pytest.approx([1.0 - 0.2 * 3.0, 2.0 - 0.2 * 5.0])


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_a_part_that_the_loss_does_not_depend_on_is_not_changed(name: str) -> None:
    optimizers, near, far = make(ALGORITHMS[name])
    step(optimizers, near.sum() + far.sum())  # both have a gradient, which must not be used again
    before = near.clone(), far.clone()
    step(optimizers, far.sum())
    assert torch.equal(near, before[0]) and not torch.equal(far, before[1])


# Clipping


@pytest.mark.parametrize(("clip", "length"), [(0.0, 13.0), (6.5, 6.5), (20.0, 13.0)])
def test_the_gradient_of_all_parts_together_is_cut_to_the_clip(clip: float, length: float) -> None:
    optimizers, near, far = make(dataclasses.replace(SGD, gradient_clip=clip))
    before = near.detach().clone(), far.detach().clone()
    step(optimizers, (torch.tensor([3.0, 4.0]) * near).sum() + 12.0 * far.sum())
    gradient = torch.cat([(before[0] - near) / 0.2, (before[1] - far) / 0.1])
    expected = torch.tensor([3.0, 4.0, 12.0]) * length / 13.0
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)


# Divergence


@pytest.mark.parametrize("rate", [1.1 * RATE_LIMIT, math.inf, math.nan])
def test_a_rate_that_has_exploded_is_named(rate: float) -> None:
    part = Part([parameter(1.0)], lambda progress, epoch: rate)
    optimizers = Optimizers(SGD, {"near": part})
    with pytest.raises(Diverged, match=re.escape(f"the near's learning rate became {rate:.3g}")):
        optimizers.set_rates(0.5, 3)


def test_a_rate_that_overflows_is_infinite() -> None:
    chosen = dataclasses.replace(SGD, encoder_step_epochs=1, encoder_step_gamma=1e300)
    assert chosen.encoder_rate(0.5, 2) == math.inf


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(value: float) -> None:
    optimizers, near, far = make(dataclasses.replace(SGD, gradient_clip=1.0))
    with pytest.raises(Diverged, match=rf"the gradient's norm became {value} at step 7"):
        step(optimizers, near.sum() + value * far.sum(), number=7)
    assert (near.tolist(), far.tolist()) == ([1.0, 2.0], [3.0])


# State


@pytest.mark.parametrize("name", list(ALGORITHMS))
@pytest.mark.parametrize("learnt", [0, 1, 2])
def test_a_restored_state_continues_to_the_bit(name: str, learnt: int) -> None:
    """After no step, after a step of the first part, and after a step of both parts."""

    def steps(optimizers: Optimizers, near: nn.Parameter, far: nn.Parameter, last: int) -> None:
        if last >= 1:
            step(optimizers, near.square().sum())
        if last >= 2:
            step(optimizers, near.square().sum() + far.square().sum())

    first, near, far = make(ALGORITHMS[name])
    steps(first, near, far, learnt)
    state = {key: value.clone() for key, value in first.state().items()}
    second, near_again, far_again = make(ALGORITHMS[name])
    with torch.no_grad():
        near_again.copy_(near)
        far_again.copy_(far)
    second.load_state(state)
    assert second.state().keys() == state.keys()
    for trained in ((first, near, far), (second, near_again, far_again)):
        steps(*trained, last=2)
    assert torch.equal(near, near_again) and torch.equal(far, far_again)


def test_the_names_of_a_state_are_those_of_checkpoints() -> None:
    for name, slots in [
        ("adam", {"step", "exp_avg", "exp_avg_sq"}),
        ("sgd with momentum", {"momentum_buffer"}),
        ("sgd", set()),
    ]:
        optimizers, near, _ = make(ALGORITHMS[name])
        step(optimizers, near.sum())
        assert optimizers.state().keys() == {f"optimizer.near.0.{slot}" for slot in slots}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "shorter": ({"optimizer.near.0.exp_avg": torch.zeros(1)}, "is of shape"),
    "longer": ({"optimizer.near.0.exp_avg_sq": torch.zeros(3)}, "is of shape"),
    "doubles": ({"optimizer.near.0.exp_avg": torch.zeros(2).double()}, "is of type"),
    "counts": ({"optimizer.near.0.step": torch.zeros(2)}, "is of shape"),
    "a slot missing": ({"optimizer.near.0.exp_avg": None}, "lacks tensor"),
    "momentum": ({"optimizer.near.0.momentum_buffer": torch.zeros(2)}, "has the unknown tensor"),
    "another part": ({"optimizer.other.0.step": torch.zeros(())}, "has the unknown tensor"),
    "another parameter": ({"optimizer.near.1.step": torch.zeros(())}, "has the unknown tensor"),
    "no parameter": ({"optimizer.near": torch.zeros(())}, "has the unknown tensor"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_state_that_does_not_match_is_refused_and_not_loaded(fault: str) -> None:
    change, message = FAULTS[fault]
    trained, near, far = make(ALGORITHMS["adam"])
    step(trained, near.sum() + far.sum())
    state = {**trained.state(), **change}
    optimizers, _, _ = make(ALGORITHMS["adam"])
    with pytest.raises(StateError, match=message):
        optimizers.load_state({name: value for name, value in state.items() if value is not None})
    assert optimizers.state() == {}


def test_a_state_may_have_infinite_values_and_tensors_of_other_owners() -> None:
    """Adam's squared gradients may overflow although the weights are finite."""
    trained, near, _ = make(ALGORITHMS["adam"])
    step(trained, near.sum())
    state = {**trained.state(), "model.other": torch.zeros(5)}
    state["optimizer.near.0.exp_avg_sq"] = torch.tensor([math.inf, 1.0])
    optimizers, _, _ = make(ALGORITHMS["adam"])
    optimizers.load_state(state)
    assert optimizers.state()["optimizer.near.0.exp_avg_sq"].tolist() == [math.inf, 1.0]
