"""The upper level: its phases, what each one trains, and what it does not change."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers import CPU, OPTIMIZER, PHASES, ROWS, SETTINGS, make, weights

from cvae import upper_level
from cvae.coverage import row_posteriors
from cvae.losses import code_nll, kl_per_unit
from cvae.state import StateError
from cvae.training import Trainer
from cvae.upper_level import GRID_RATE, UpperLevel


def two_levels() -> tuple[Trainer, UpperLevel, torch.Generator]:
    trainer = make(settings=PHASES)
    assert trainer.upper_level is not None
    return trainer, trainer.upper_level, torch.Generator().manual_seed(0)


def learn(
    trainer: Trainer, upper: UpperLevel, progress: float, generator: torch.Generator
) -> float:
    """Take the upper level's additional steps; return the KL of the latent."""
    trainer.optimizers.set_rates(progress, 0)
    for loss in upper.losses(torch.arange(6), progress, generator, lambda units: units.mean()):
        trainer.optimizers.step([loss], number=0)
    return upper.kl_nats


def test_neither_the_upper_level_nor_prior_draws_change_the_encoder() -> None:
    """After one step the encoder is the same with and without them; the other weights differ."""
    plain = dataclasses.replace(SETTINGS, character_dropout=0.0)
    alone = dataclasses.replace(plain, prior_start=1.0, partition_start=1.0, coverage_draws=0)
    busy = dataclasses.replace(plain, coverage_draws=4)
    unclipped = dataclasses.replace(OPTIMIZER, gradient_clip=0.0)
    before, after = weights(make()), []
    for chosen in (alone, busy):
        trainer = make(settings=chosen, optimizer=unclipped, ratio=1.0)
        assert trainer.upper_level is not None
        trainer.upper_level.prepare(0.0, 0, torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(0)
        (batch, *_) = ROWS.epoch(
            batch_size=8, pairs="cross", hallucination_share=0.0, generator=generator
        )
        trainer._train_step(batch, generator)
        after.append(weights(trainer))
    with_neither, with_both = after
    for name in before:
        if name.startswith("encoder."):
            assert not torch.equal(with_neither[name], before[name]), name
            torch.testing.assert_close(with_both[name], with_neither[name])
        elif name.startswith(("prior.generator.", "prior.grids.")):
            assert torch.equal(with_neither[name], before[name]), name
            assert not torch.equal(with_both[name], before[name]), name
        elif name.startswith("decoder."):
            assert not torch.equal(with_both[name], with_neither[name]), name


def test_the_upper_level_does_not_change_encoder_and_decoder() -> None:
    """The phases train: nothing; the latent and the generator; the generator; neither."""
    trainer, upper, generator = two_levels()
    for progress, moving in [
        (0.05, set()),
        (0.2, {"prior.inference", "prior.generator", "prior.grids"}),
        (0.5, {"prior.generator", "prior.grids"}),
        (0.8, set()),
    ]:
        upper.prepare(progress, 0, generator)
        before = weights(trainer)
        learn(trainer, upper, progress, generator)
        after = weights(trainer)
        moved = {
            ".".join(name.split(".")[:2])
            for name in before
            if not torch.equal(before[name], after[name])
        }
        assert moved == moving, progress


def test_the_kl_weight_runs_through_its_schedule_while_the_latent_learns() -> None:
    trainer, upper, _ = two_levels()
    expected = [0.0, 0.0, 0.5, 1.0, 1.0]
    for progress, share in zip((0.0, 0.1, 0.25, 0.4, 0.9), expected, strict=True):
        assert upper.latent_progress(progress) == pytest.approx(share)
        assert trainer.kl_weight(progress) == pytest.approx(0.2 * (0.5 + 0.5 * share))
    assert make("one level", settings=PHASES).kl_weight(0.3) == 0.2 * (0.5 + 0.5 * 0.3)


def test_the_partition_is_settled_once() -> None:
    trainer, upper, generator = two_levels()
    partition = trainer.coverage.partition
    upper.prepare(0.2, 0, generator)
    assert partition.settled is None
    with torch.no_grad():  # untrained, it maps all rows to almost the same place
        upper.prior.inference[-1].weight.mul_(30.0)
    upper.prepare(0.5, 0, generator)
    settled, bias = partition.settled, partition.bias.clone()
    assert settled is not None and settled.mean.shape == (6, 2)
    expected = upper.prior.infer_standardised(upper._codes)
    torch.testing.assert_close(settled.mean, expected.mean)
    z = torch.randn(4000, 2, generator=generator)
    owned = torch.bincount(partition.owners(z, balance=False), minlength=6) / 4000
    assert float((owned - 1 / 6).abs().max()) < 0.04
    kl = learn(trainer, upper, 0.5, generator)
    assert kl == pytest.approx(float(kl_per_unit(settled).sum(dim=1).mean())) and kl > 0.0
    upper.prepare(0.9, 0, generator)
    trainer.coverage.deal(generator)
    assert partition.settled is settled
    assert torch.equal(partition.bias, bias)


# What it learns from


def reads(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Count the times that the codes are read."""
    seen: list[None] = []

    def counted(*arguments: Any) -> Any:
        seen.append(None)
        return row_posteriors(*arguments)

    monkeypatch.setattr(upper_level, "row_posteriors", counted)
    return seen


def test_codes_are_read_in_every_epoch_and_at_the_start_of_a_phase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, upper, generator = two_levels()
    seen = reads(monkeypatch)
    for progress, epoch, count in [
        (0.05, 0, 0),
        (0.15, 0, 1),  # the latent starts
        (0.2, 0, 1),
        (0.35, 1, 2),
        (0.45, 1, 3),  # the latent is frozen
        (0.5, 1, 3),
        (0.65, 2, 4),
        (0.75, 2, 4),
        (0.9, 3, 4),  # only the decoder learns, from prior draws
    ]:
        upper.prepare(progress, epoch, generator)
        assert len(seen) == count, progress


def test_the_scale_of_the_codes_is_updated_until_the_latent_is_frozen() -> None:
    trainer, upper, generator = two_levels()
    scales = []
    for epoch, progress in enumerate((0.05, 0.2, 0.3, 0.5, 0.6)):
        with torch.no_grad():
            for parameter in trainer.model.encoder.parameters():
                parameter.mul_(1.5)
        upper.prepare(progress, epoch, generator)
        scales.append(upper.prior.code_scale.clone())
    moved = [not torch.equal(a, b) for a, b in itertools.pairwise(scales)]
    assert moved == [True, True, True, False]
    codes = row_posteriors(trainer.model, ROWS, CPU).mean  # the codes are still read again
    torch.testing.assert_close(upper._codes, upper.prior.standardise(codes))


def test_the_bound_is_the_codes_likelihood_and_the_latents_penalty() -> None:
    _, upper, generator = two_levels()
    upper.prepare(0.2, 0, generator)
    rows = torch.tensor([4, 1, 1])
    state = generator.get_state()
    (loss,) = upper.losses(rows, 0.2, generator, lambda units: 3.0 * units.sum())
    generator.set_state(state)
    codes = upper._codes[rows]
    posterior = upper.prior.infer_standardised(codes)
    predicted = upper.prior.generate_standardised(posterior.sample(generator))
    units = kl_per_unit(posterior)
    torch.testing.assert_close(loss, code_nll(predicted, codes).mean() + 3.0 * units.sum())
    assert upper.kl_nats == pytest.approx(float(units.detach().sum(dim=1).mean()))


def test_a_code_step_trains_the_generator_on_the_owners_codes() -> None:
    _, upper, generator = two_levels()
    upper.prepare(0.5, 0, generator)
    state = generator.get_state()
    losses = list(upper.losses(torch.arange(6), 0.5, generator, torch.sum))
    assert len(losses) == PHASES.code_steps
    generator.set_state(state)
    for loss in losses:
        z = torch.randn(PHASES.code_draws, 2, generator=generator)
        owners = upper.partition.owners(z, balance=False)
        expected = code_nll(upper.prior.generate_standardised(z), upper._codes[owners]).mean()
        torch.testing.assert_close(loss, expected)


def test_the_codes_kl_has_its_own_weight() -> None:
    _, upper, _ = two_levels()
    units = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert float(upper.word_penalty(units)) == pytest.approx(0.1 * 6.0)


def test_rates_fall_to_zero_at_the_end_of_their_phase() -> None:
    _, upper, _ = two_levels()
    parts = upper.parts(2.0)
    expected = {0.0: (2.0, 2.0), 0.25: (1.0, 2.0), 0.4: (0.0, 2.0), 0.7: (0.0, 1.0), 1.0: (0, 0)}
    for progress, (inference, generator) in expected.items():
        rates = [parts[name].rate(progress, 9) for name in ("inference", "generator", "grids")]
        assert rates == pytest.approx([inference, generator, GRID_RATE * generator]), progress


# State


@pytest.mark.parametrize("progress", [0.05, 0.2, 0.5])
def test_a_restored_state_prepares_and_learns_the_same(progress: float) -> None:
    first, upper, generator = two_levels()
    upper.prepare(progress, 0, generator)
    assert upper.state() == {"prior_scaled": progress >= 0.1}
    second, again, _ = two_levels()
    second.model.load_state_dict(first.model.state_dict())
    second.coverage.partition.load_state(first.coverage.partition.state())
    again.load_state(upper.state())
    assert again.state() == upper.state()
    if progress == 0.5:
        assert again.kl_nats == upper.kl_nats > 0.0
    state = generator.get_state()
    losses: list[list[Tensor]] = []
    for each in (upper, again):
        generator.set_state(state)
        each.prepare(progress, 1, generator)
        losses.append(list(each.losses(torch.arange(6), progress, generator, torch.sum)))
    assert len(losses[0]) == {0.05: 0, 0.2: 1, 0.5: 2}[progress]
    for one, other in zip(*losses, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("counters", [{}, {"prior_scaled": None}, {"prior_scaled": 1}])
def test_a_counter_of_another_type_is_refused(counters: dict[str, Any]) -> None:
    _, upper, _ = two_levels()
    with pytest.raises(StateError, match="prior_scaled is neither true nor false"):
        upper.load_state(counters)
