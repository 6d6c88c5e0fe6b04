"""The terms of the loss against samples, brute force and cases done by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, Normal

from cvae.losses import PriorPartition, code_nll, kl_penalty, kl_per_unit
from cvae.model import Gaussian

PATIENT = settings(deadline=None)  # a busy machine is no fault of the code
CPU = torch.device("cpu")


def random_gaussian(rows: int, size: int, seed: int = 0) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(rows, size, generator=generator, dtype=torch.float64)
    return Gaussian(mean, torch.randn(rows, size, generator=generator, dtype=torch.float64))


def distribution(posterior: Gaussian) -> Independent:
    return Independent(Normal(posterior.mean, torch.exp(0.5 * posterior.logvar)), 1)


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
    # Averaging comes first: unit 0 of word 1 (0.3) is above 0.25, the batch's mean is not.
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


# Partition


def partition_of(posterior: Gaussian) -> PriorPartition:
    partition = PriorPartition(len(posterior.mean), CPU)
    partition.bias = partition.bias.to(posterior.mean.dtype)
    partition.update(posterior)
    return partition


def draws(count: int, size: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("biased", [False, True])
def test_the_owner_is_the_row_with_the_largest_biased_density(biased: bool) -> None:
    posterior, z = random_gaussian(7, 3), draws(200, 3)
    partition = partition_of(posterior)
    if biased:
        partition.bias = torch.linspace(-2.0, 2.0, 7, dtype=torch.float64)
    owners = partition.owners(z, balance=False)
    # All rows with the same variances, their mean.
    logvar = torch.exp(posterior.logvar).mean(dim=0).log().expand(7, 3)
    alike = Gaussian(posterior.mean, logvar)
    # Biases count in a unit in which a part is about one wide.
    spread = float((posterior.mean.var(dim=0, unbiased=False) / torch.exp(logvar[0])).sum())
    unit = spread / (3 * 7 ** (2 / 3))
    for point, owner in zip(z, owners.tolist(), strict=True):
        density = distribution(alike).log_prob(point) / unit + partition.bias
        assert owner == int(density.argmax())
    assert len(set(owners.tolist())) > 3  # the case would be empty if one row owned everything


def test_owners_without_balancing_leave_the_biases_alone() -> None:
    partition = partition_of(random_gaussian(5, 2))
    before = partition.bias.clone()
    partition.owners(draws(100, 2), balance=False)
    assert torch.equal(partition.bias, before)


# Four rows close together and one far out: unbalanced, the parts are far from equal.
UNEQUAL = Gaussian(
    torch.tensor([[1.5, 0.0], [0.2, 0.0], [-0.2, 0.0], [0.0, 0.2], [0.0, -0.2]]).double(),
    torch.full((5, 2), -2.0).double(),
)


def shares(partition: PriorPartition) -> Tensor:
    owners = partition.owners(draws(4000, 2), balance=False)
    return torch.bincount(owners, minlength=5) / len(owners)


def test_balancing_gives_every_row_the_same_share_of_the_prior() -> None:
    partition = partition_of(UNEQUAL)
    assert float(shares(partition).min()) < 0.15
    for seed in range(600):
        partition.owners(draws(200, 2, seed=100 + seed), balance=True)
    assert float((shares(partition) - 0.2).abs().max()) < 0.03


def test_settling_gives_every_row_the_same_share_at_once() -> None:
    partition = partition_of(UNEQUAL)
    partition.settle(torch.Generator().manual_seed(0))
    assert float((shares(partition) - 0.2).abs().max()) < 0.03
    assert partition.bias.grad is None


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_the_size_of_the_posteriors_changes_no_part(scale: float) -> None:
    """Nor how fast they settle: posteriors narrow, or wide, in the same places."""
    posterior = Gaussian(UNEQUAL.mean, UNEQUAL.logvar + 2.0 * math.log(scale))
    partition, other = partition_of(posterior), partition_of(UNEQUAL)
    z = draws(500, 2)
    assert torch.equal(partition.owners(z, balance=False), other.owners(z, balance=False))
    partition.settle(torch.Generator().manual_seed(0))
    assert float((shares(partition) - 0.2).abs().max()) < 0.03


def test_a_row_that_owns_nothing_gains_and_one_that_owns_all_loses_at_a_bounded_rate() -> None:
    posterior = Gaussian(torch.tensor([[0.0], [50.0]] + [[60.0]] * 8), torch.zeros(10, 1))
    partition = PriorPartition(10, CPU)
    partition.update(posterior)
    owners = partition.owners(torch.zeros(20, 1), balance=True)
    assert owners.tolist() == [0] * 20
    rate = PriorPartition.BALANCE_RATE
    torch.testing.assert_close(partition.bias, torch.tensor([-3 * rate] + [rate] * 9))
