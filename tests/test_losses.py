"""The terms of the loss, compared with samples, brute force and hand-computed values."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from cvae.losses import code_nll, kl_penalty, kl_per_unit
from cvae.model import Gaussian

PATIENT = settings(deadline=None)  # a slow machine is not a failure

# KL


def test_kl_is_the_mean_log_ratio_of_samples() -> None:
    posterior = Gaussian(torch.tensor([[0.7, -1.2]]), torch.tensor([[-0.5, 0.8]]))
    generator = torch.Generator().manual_seed(1)
    many = Gaussian(posterior.mean.expand(200_000, 2), posterior.logvar.expand(200_000, 2))
    z = many.sample(generator)
    prior, q = Normal(0.0, 1.0), Normal(posterior.mean, torch.exp(0.5 * posterior.logvar))
    log_ratio = q.log_prob(z) - prior.log_prob(z)  # (draws, 2)
    error = log_ratio.std(dim=0) / math.sqrt(len(z))
    difference = (kl_per_unit(posterior)[0] - log_ratio.mean(dim=0)).abs()
    assert (difference < 4 * error).all()


@PATIENT
@given(st.floats(-20, 20), st.floats(-14, 8))
def test_kl_is_the_closed_form_of_torch_and_never_negative(mean: float, logvar: float) -> None:
    posterior = Gaussian(
        torch.tensor([[mean]], dtype=torch.float64), torch.tensor([[logvar]], dtype=torch.float64)
    )
    expected = torch.distributions.kl_divergence(
        Normal(posterior.mean, torch.exp(0.5 * posterior.logvar)), Normal(0.0, 1.0)
    )
    units = kl_per_unit(posterior)
    torch.testing.assert_close(units, expected.double(), rtol=1e-6, atol=1e-9)
    assert float(units) >= -1e-12


def test_kl_of_the_prior_itself_is_zero() -> None:
    assert kl_per_unit(Gaussian(torch.zeros(3, 2), torch.zeros(3, 2))).tolist() == [[0, 0]] * 3


# Penalty

UNITS = torch.tensor([[0.1, 3.0], [0.3, 5.0]])  # two words, two units; means 0.2 and 4.0


def test_the_plain_penalty_is_each_words_own_weighted_kl() -> None:
    torch.testing.assert_close(kl_penalty(UNITS, kl_weight=0.5), torch.tensor([1.55, 2.65]))
    assert kl_penalty(UNITS, kl_weight=0.0).tolist() == [0.0, 0.0]


def test_free_bits_raise_each_unit_to_its_allowance_after_the_batch_mean() -> None:
    penalty = kl_penalty(UNITS, kl_weight=0.5, free_nats=1.0)
    torch.testing.assert_close(penalty, torch.full((2,), 0.5 * (1.0 + 4.0)))
    # The mean is taken first: unit 0 of word 1 (0.3) is above 0.25, but the batch mean is not.
    penalty = kl_penalty(UNITS, kl_weight=1.0, free_nats=0.25)
    torch.testing.assert_close(penalty, torch.full((2,), 0.25 + 4.0))


def test_free_bits_hold_no_gradient_for_a_unit_within_its_allowance() -> None:
    units = UNITS.clone().requires_grad_()
    kl_penalty(units, kl_weight=1.0, free_nats=1.0).mean().backward()
    assert units.grad is not None
    assert units.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]


def test_no_free_nats_cost_the_same_on_average_as_the_plain_penalty() -> None:
    free, plain = kl_penalty(UNITS, kl_weight=0.7, free_nats=0.0), kl_penalty(UNITS, kl_weight=0.7)
    torch.testing.assert_close(free.mean(), plain.mean())


@pytest.mark.parametrize(("target", "distance", "slope"), [(1.0, 3.2, 0.5), (6.2, 2.0, -0.5)])
def test_the_target_rate_pulls_the_batchs_kl_from_both_sides(
    target: float, distance: float, slope: float
) -> None:
    units = UNITS.clone().requires_grad_()
    penalty = kl_penalty(units, kl_weight=2.0, target_nats=target)
    torch.testing.assert_close(penalty, torch.full((2,), 2.0 * distance))
    penalty.mean().backward()
    assert units.grad is not None
    torch.testing.assert_close(units.grad, torch.full((2, 2), 2.0 * slope))


def test_kl_golden_values() -> None:
    means = torch.tensor([[0.0, 0.0], [1.0, -2.0], [0.0, 0.0]], dtype=torch.float64)
    logvars = torch.tensor([[0.0, 0.0], [0.0, 0.0], [math.log(4.0), 0.0]], dtype=torch.float64)
    expected = [0.0, 2.5, 0.5 * (4.0 - 1.0 - math.log(4.0))]
    assert kl_per_unit(Gaussian(means, logvars)).sum(dim=1).tolist() == pytest.approx(expected)


def test_kl_near_the_prior_is_never_negative() -> None:
    logvars = torch.linspace(-1e-3, 1e-3, 101).unsqueeze(1)
    assert kl_per_unit(Gaussian(torch.zeros_like(logvars), logvars)).min() >= 0.0


# The upper level's likelihood


def test_code_nll_is_a_unit_gaussians_up_to_its_constant() -> None:
    generator = torch.Generator().manual_seed(2)
    predicted, codes = torch.randn(2, 4, 6, generator=generator)
    constant = 0.5 * 6 * math.log(2 * math.pi)
    expected = -Independent(Normal(predicted, 1.0), 1).log_prob(codes) - constant
    torch.testing.assert_close(code_nll(predicted, codes), expected)
