"""Owners of the prior's points, and what the decoder learns there."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal
from trainers import CPU, MODELS, ROWS, make, tiny

from cvae.alphabet import decode
from cvae.coverage import CoverageSettings, PriorCoverage, PriorPartition, row_posteriors
from cvae.model import Gaussian
from cvae.state import StateError

SETTINGS = CoverageSettings(coverage_start=0.5, coverage_draws=4, coverage_weight=1.0)


def random_gaussian(rows: int, size: int, seed: int = 0) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(rows, size, generator=generator, dtype=torch.float64)
    return Gaussian(mean, torch.randn(rows, size, generator=generator, dtype=torch.float64))


def distribution(posterior: Gaussian) -> Independent:
    return Independent(Normal(posterior.mean, torch.exp(0.5 * posterior.logvar)), 1)


# Partition


def partition_of(posterior: Gaussian) -> PriorPartition:
    partition = PriorPartition(*posterior.mean.shape, CPU)
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
    # All rows have the same variances, their mean.
    logvar = torch.exp(posterior.logvar).mean(dim=0).log().expand(7, 3)
    alike = Gaussian(posterior.mean, logvar)
    # Biases are in a unit in which a cell is about one wide.
    spread = float((posterior.mean.var(dim=0, unbiased=False) / torch.exp(logvar[0])).sum())
    unit = spread / (3 * 7 ** (2 / 3))
    for point, owner in zip(z, owners.tolist(), strict=True):
        density = distribution(alike).log_prob(point) / unit + partition.bias
        assert owner == int(density.argmax())
    assert len(set(owners.tolist())) > 3  # the test would be trivial if one row owned everything


def test_owners_without_balancing_leave_the_biases_alone() -> None:
    partition = partition_of(random_gaussian(5, 2))
    before = partition.bias.clone()
    partition.owners(draws(100, 2), balance=False)
    assert torch.equal(partition.bias, before)


# Four rows close together and one far out: without balancing, the cells are very unequal.
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
    partition.settle(UNEQUAL, torch.Generator().manual_seed(0))
    assert float((shares(partition) - 0.2).abs().max()) < 0.03
    assert partition.bias.grad is None


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_the_scale_of_the_posteriors_does_not_change_the_cells(scale: float) -> None:
    """Nor does it change how fast the partition settles."""
    posterior = Gaussian(UNEQUAL.mean, UNEQUAL.logvar + 2.0 * math.log(scale))
    partition, other = partition_of(posterior), partition_of(UNEQUAL)
    z = draws(500, 2)
    assert torch.equal(partition.owners(z, balance=False), other.owners(z, balance=False))
    partition.settle(posterior, torch.Generator().manual_seed(0))
    assert float((shares(partition) - 0.2).abs().max()) < 0.03


def test_a_row_that_owns_nothing_gains_and_one_that_owns_all_loses_at_a_bounded_rate() -> None:
    posterior = Gaussian(torch.tensor([[0.0], [50.0]] + [[60.0]] * 8), torch.zeros(10, 1))
    partition = PriorPartition(10, 1, CPU)
    partition.update(posterior)
    owners = partition.owners(torch.zeros(20, 1), balance=True)
    assert owners.tolist() == [0] * 20
    rate = PriorPartition.BALANCE_RATE
    torch.testing.assert_close(partition.bias, torch.tensor([-3 * rate] + [rate] * 9))


def test_until_it_is_settled_a_partition_is_balanced_by_every_draw() -> None:
    partition = partition_of(UNEQUAL)
    generator = torch.Generator().manual_seed(0)
    for settled in (False, True):
        if settled:
            partition.settle(UNEQUAL, generator)
        bias = partition.bias.clone()
        z, owners = partition.draw(100, generator)
        assert torch.equal(partition.bias, bias) == settled
        partition.bias.copy_(bias)
        assert torch.equal(owners, partition.owners(z, balance=False))


# State


@pytest.mark.parametrize("settled", [False, True])
def test_a_partition_comes_back_to_the_bit(settled: bool) -> None:
    posterior = Gaussian(UNEQUAL.mean.float(), UNEQUAL.logvar.float())
    generator = torch.Generator().manual_seed(0)
    first, second = (PriorPartition(5, 2, CPU) for _ in range(2))
    first.update(posterior)
    first.draw(100, generator)
    second.settle(Gaussian(-posterior.mean, posterior.logvar), generator)  # must be replaced
    if settled:
        first.settle(posterior, generator)
    state = first.state()
    names = {"partition.bias", "partition.mean", "partition.logvar"}
    assert state.keys() == (names if settled else {"partition.bias"})
    second.load_state({**state, "model.other": torch.zeros(2)})
    assert torch.equal(second.bias, first.bias) and second.bias is not first.bias
    assert (second.settled is not None) == settled
    if settled:
        z = draws(500, 2).float()
        assert torch.equal(first.owners(z, balance=False), second.owners(z, balance=False))


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no biases": ({"partition.bias": None}, "lacks tensor 'partition.bias'"),
    "biases of other rows": ({"partition.bias": torch.zeros(4)}, "is of shape"),
    "biases that are no numbers": ({"partition.bias": torch.full((5,), math.nan)}, "not finite"),
    "half a posterior": ({"partition.mean": None}, "lacks tensor 'partition.mean'"),
    "the other half": ({"partition.logvar": None}, "lacks tensor 'partition.logvar'"),
    "another latent": ({"partition.mean": torch.zeros(5, 3)}, "is of shape"),
    "doubles": ({"partition.logvar": torch.zeros(5, 2).double()}, "is of type"),
    "infinite": ({"partition.mean": torch.full((5, 2), math.inf)}, "not finite"),
    "unknown": ({"partition.other": torch.zeros(5)}, "has the unknown tensor"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_state_that_does_not_match_is_refused_and_not_loaded(fault: str) -> None:
    change, message = FAULTS[fault]
    posterior = Gaussian(UNEQUAL.mean.float(), UNEQUAL.logvar.float())
    settled = PriorPartition(5, 2, CPU)
    settled.settle(posterior, torch.Generator().manual_seed(0))
    state = {**settled.state(), **change}
    partition = PriorPartition(5, 2, CPU)
    with pytest.raises(StateError, match=message):
        partition.load_state({name: value for name, value in state.items() if value is not None})
    assert partition.settled is None and not partition.bias.any()


# Rows in the prior


@pytest.mark.parametrize("kind", list(MODELS))
def test_a_rows_posterior_is_the_mean_of_its_four_forms(kind: str) -> None:
    model = tiny(kind)
    posterior = row_posteriors(model, ROWS, CPU)
    assert len(posterior.mean) == len(ROWS)
    for row in (0, 5):
        words = ROWS.words(torch.full((4,), row), torch.arange(4))
        forms = model.encode(words.symbols, words.lengths, torch.arange(4))
        torch.testing.assert_close(posterior.mean[row], forms.mean.mean(dim=0))
        torch.testing.assert_close(posterior.logvar[row], forms.logvar.mean(dim=0))


# Prior draws for the decoder


@pytest.mark.parametrize(
    ("change", "ends_at", "follows"),
    [
        ({}, 0.49, False),
        ({}, 0.5, True),
        ({"coverage_draws": 0}, 1.0, False),
    ],
)
def test_the_partition_follows_the_rows_from_the_epoch_in_which_coverage_starts(
    change: dict[str, Any], ends_at: float, follows: bool
) -> None:
    model = tiny("one level")
    coverage = PriorCoverage(model, ROWS, dataclasses.replace(SETTINGS, **change), CPU)
    coverage.begin_epoch(ends_at=ends_at)
    assert (len(coverage.partition._linear) > 0) == follows
    if follows:
        expected = PriorPartition(len(ROWS), model.latent_size, CPU)
        expected.update(row_posteriors(model, ROWS, CPU))
        assert torch.equal(coverage.partition._linear, expected._linear)


def test_a_settled_partition_does_not_change() -> None:
    model = tiny("one level")
    coverage = PriorCoverage(model, ROWS, SETTINGS, CPU)
    posterior = row_posteriors(model, ROWS, CPU)
    coverage.partition.settle(
        Gaussian(-posterior.mean, posterior.logvar), torch.Generator().manual_seed(0)
    )
    before = coverage.partition._linear.clone()
    coverage.begin_epoch(ends_at=1.0)
    assert torch.equal(coverage.partition._linear, before)


def test_coverage_starts_at_its_progress_and_only_with_draws() -> None:
    for count, expected in [(4, [False, True, True]), (0, [False] * 3)]:
        chosen = dataclasses.replace(SETTINGS, coverage_draws=count)
        coverage = PriorCoverage(tiny("one level"), ROWS, chosen, CPU)
        assert [coverage.started(progress) for progress in (0.49, 0.5, 1.0)] == expected


def test_no_draw_is_kept_for_the_next_epoch() -> None:
    """A resumed run has no kept draws, so an uninterrupted one must not either."""
    coverage = PriorCoverage(tiny("one level"), ROWS, SETTINGS, CPU)
    dealt = []
    for _ in range(2):
        coverage.begin_epoch(ends_at=1.0)
        coverage.partition.bias.zero_()
        dealt.append(coverage.deal(torch.Generator().manual_seed(0)))
    for first, second in zip(*dealt, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["one level", "two levels"])
def test_coverage_teaches_the_owners_words_in_the_drawn_tenses(kind: str) -> None:
    trainer = make(kind)
    generator = torch.Generator().manual_seed(0)
    if trainer.upper_level is not None:
        trainer.upper_level.prepare(0.0, 0, generator)
    trainer.coverage.begin_epoch(ends_at=0.3)
    partition = trainer.coverage.partition
    bias = partition.bias.clone()
    dealt = [trainer.coverage.deal(generator) for _ in range(8)]
    # A one-level model balances here; in a two-level model the partition is settled.
    assert torch.equal(partition.bias, bias) == (kind == "two levels")
    partition.bias.copy_(bias)
    tenses = torch.cat([tense for _, tense, _ in dealt])
    words = [decode(row) for _, _, symbols in dealt for row in symbols.tolist()]
    z = torch.cat([z for z, _, _ in dealt])
    owners = partition.owners(z[:16], balance=False)
    assert len(z) == len(words) == 32
    assert set(tenses.tolist()) == {0, 1, 2, 3}
    expected = [
        ROWS.paradigms[row][tense]
        for row, tense in zip(owners.tolist(), tenses[:16].tolist(), strict=True)
    ]
    assert words[:16] == expected
