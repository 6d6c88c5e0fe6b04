"""The training loop: batches in, steps out, an epoch at a time.

An epoch takes every training word once as a source. All randomness of an epoch comes from one
generator seeded by (seed, epoch), so that a run resumed between epochs repeats the
uninterrupted one to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from cvae.batches import PairBatch, TrainingRows
from cvae.coverage import CoverageSettings, PriorCoverage, row_posteriors
from cvae.losses import code_nll, kl_penalty, kl_per_unit
from cvae.model import ConditionalVAE, PriorNetwork
from cvae.optimizers import Diverged, Optimizers, OptimizerSettings, Part
from cvae.schedules import Schedule
from cvae.state import StateError, below, check_tensors

GRID_RATE: Final = 30.0
"""How much faster than its perceptron the generator's grids learn: few draws reach a point."""

KL_LIMIT_NATS: Final = 1e5
"""A KL above this many nats per word has exploded: naming a word takes about 30."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(CoverageSettings):
    """What a training step consists of.

    Attributes:
        epochs: passes over the training words.
        batch_size: pairs a step.
        pairs: same or cross, see ``TrainingRows.epoch``.
        hallucination_share: share of pairs with a made-up stem.
        character_dropout: probability that a decoder input is hidden.
        word_kl_weight: weight of the code's KL in a two-level model.
        prior_start: progress at which the latent of a two-level model starts to learn, from the
            codes as they then are; its KL weight runs through its schedule from here.
        partition_start: progress at which it comes to rest: the prior is divided among the rows
            for good, and the generator learns from prior draws alone.
        code_steps: steps that the generator takes alone, between partition_start and
            coverage_start, after each step of the whole model.
        code_draws: prior draws in each of them.
        forcing_coin: token or sequence.
    """

    epochs: int
    batch_size: int
    pairs: Literal["same", "cross"]
    hallucination_share: float
    character_dropout: float
    word_kl_weight: float
    prior_start: float
    partition_start: float
    code_steps: int
    code_draws: int
    forcing_coin: Literal["token", "sequence"]


@dataclass(frozen=True)
class EpochLosses:
    """Means over the words of an epoch, in nats per word, and the schedules at its end."""

    cross_entropy: float
    kl: float
    kl_weight: float
    teacher_forcing_ratio: float
    encoder_lr: float
    decoder_lr: float


class Trainer:
    """Trains one model; its state can be taken out and put back between epochs."""

    def __init__(
        self,
        model: ConditionalVAE,
        rows: TrainingRows,
        settings: TrainingSettings,
        optimizer: OptimizerSettings,
        *,
        kl_weight: Schedule,
        teacher_forcing_ratio: Schedule,
        free_nats: float | None,
        target_nats: float | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.rows = rows
        self.settings = settings
        self.kl_weight = kl_weight
        self.teacher_forcing_ratio = teacher_forcing_ratio
        self.free_nats = free_nats
        self.target_nats = target_nats
        self.seed = seed
        self.device = device
        self.epoch = 0
        self.step = 0
        word_count = len(rows) * rows.lengths.shape[1]
        self.steps_per_epoch = math.ceil(word_count / settings.batch_size)
        self.coverage = PriorCoverage(model, rows, settings, device)
        self._prior_scaled = False
        self._codes = torch.zeros(0)  # (rows, code) standardised, refreshed every epoch
        self._settled_kl = 0.0  # of the rows' posteriors when the latent came to rest; nats per row

        parts = {
            "encoder": Part(list(model.encoder.parameters()), optimizer.encoder_rate),
            "decoder": Part(list(model.decoder.parameters()), optimizer.decoder_rate),
        }
        if model.prior is not None:
            parts |= self._upper_parts(model.prior, optimizer.prior_lr)
        self.optimizers = Optimizers(optimizer, parts)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.settings.epochs

    @property
    def progress(self) -> float:
        """Share of training done, in [0, 1]; the schedules' argument."""
        return self._progress_at(self.step)

    def _progress_at(self, step: int) -> float:
        return min(1.0, step / max(1, self.total_steps - 1))

    @property
    def finished(self) -> bool:
        return self.epoch >= self.settings.epochs

    def train_epoch(self) -> EpochLosses:
        """Run one epoch.

        Raises:
            Diverged: if a loss is not finite or the KL has exploded.
        """
        generator = torch.Generator().manual_seed(_epoch_seed(self.seed, self.epoch))
        self.model.train()
        self._refresh_rows()
        self.coverage.begin_epoch(ends_at=self._progress_at(self.step + self.steps_per_epoch))
        reconstruction_sum = kl_sum = word_count = 0.0
        for batch in self.rows.epoch(
            batch_size=self.settings.batch_size,
            pairs=self.settings.pairs,
            hallucination_share=self.settings.hallucination_share,
            generator=generator,
        ):
            reconstruction, kl = self._train_step(batch, generator)
            size = len(batch.rows)
            reconstruction_sum += reconstruction * size
            kl_sum += kl * size
            word_count += size
        for name, parameter in self.model.named_parameters():
            # The last step may have been the one too far, and no later loss would show it.
            if not bool(torch.isfinite(parameter).all()):
                raise Diverged(f"{name} was not finite any more after step {self.step - 1}")
        self.epoch += 1
        last = self._progress_at(self.step - 1)
        rates = self.optimizers.rates(last, self.epoch - 1)
        return EpochLosses(
            cross_entropy=reconstruction_sum / word_count,
            kl=kl_sum / word_count,
            kl_weight=self.kl_weight(self._latent_progress(last)),
            teacher_forcing_ratio=self.teacher_forcing_ratio(last),
            encoder_lr=rates["encoder"],
            decoder_lr=rates["decoder"],
        )

    def _train_step(self, batch: PairBatch, generator: torch.Generator) -> tuple[float, float]:
        progress, settings = self.progress, self.settings
        self.optimizers.set_rates(progress, self.epoch)
        source, target = batch.source.to(self.device), batch.target.to(self.device)
        target_tense = batch.target_tense.to(self.device)
        two_level = self.model.prior is not None
        if two_level:
            self._prepare_upper_level(progress, generator)

        codes = self.model.encode(
            source.symbols, source.lengths, batch.source_tense.to(self.device)
        )
        code = codes.sample(generator)
        kl = kl_per_unit(codes)
        if two_level:
            losses = settings.word_kl_weight * kl.sum(dim=1).mean()
        else:
            losses = self._kl_penalty(kl, progress)
        reconstruction = self._reconstruction(code, target_tense, target.symbols, generator)
        losses = losses + reconstruction
        if self.coverage.started(progress):
            z, tense, symbols = self.coverage.deal(generator)
            code = self.model.code_of_latent(z)
            covered = self._reconstruction(code, tense, symbols, generator)
            losses = losses + settings.coverage_weight * covered
        kl_nats = float(kl.detach().sum(dim=1).mean())
        self._check(float(losses.detach()), kl_nats)
        self.optimizers.step(losses, number=self.step)
        if two_level:
            kl_nats = self._train_upper_level(batch.rows, progress, generator)
        self.step += 1
        return float(reconstruction.detach()), kl_nats

    def _reconstruction(
        self, code: Tensor, tense: Tensor, symbols: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Mean over the words of their negative log-likelihood, in nats."""
        return self.model.reconstruction(
            code,
            tense,
            symbols,
            forced=self._coins(symbols, self.progress, generator),
            dropped=self._dropped(symbols, generator),
        ).mean()

    def _kl_penalty(self, units: Tensor, progress: float) -> Tensor:
        return kl_penalty(
            units,
            kl_weight=self.kl_weight(self._latent_progress(progress)),
            free_nats=self.free_nats,
            target_nats=self.target_nats,
        ).mean()

    # The upper level of a two-level model. It learns from codes as they are, and no gradient of
    # its own reaches the encoder: it must not bend the codes to its wishes.

    def _latent_progress(self, progress: float) -> float:
        """Share done of the time in which the latent learns; the KL weight's progress."""
        if self.model.prior is None:
            return progress
        first, last = self.settings.prior_start, self.settings.partition_start
        return min(1.0, max(0.0, progress - first) / max(last - first, 1e-9))

    def _prepare_upper_level(self, progress: float, generator: torch.Generator) -> None:
        """Start the latent, and bring it to rest, when their time has come."""
        if progress >= self.settings.prior_start and not self._prior_scaled:
            self._refresh_codes()
        if progress >= self.settings.partition_start and self.coverage.partition.settled is None:
            self._refresh_codes()
            prior = self.model.prior
            assert prior is not None
            with torch.no_grad():
                posteriors = prior.infer_standardised(self._codes)
            self.coverage.partition.settle(posteriors, generator)
            self._settled_kl = float(kl_per_unit(posteriors).sum(dim=1).mean())

    def _train_upper_level(
        self, rows: Tensor, progress: float, generator: torch.Generator
    ) -> float:
        """Its steps beside a step of the whole model; the latent's KL, in nats per row."""
        prior, settings = self.model.prior, self.settings
        assert prior is not None
        if progress < settings.prior_start:
            return 0.0
        if self.coverage.partition.settled is not None:
            if progress < settings.coverage_start:
                for _ in range(settings.code_steps):
                    self.optimizers.step(self._covered_codes(generator), number=self.step)
            return self._settled_kl
        # Its own bound, on the batch's codes: -log p(h|z) + KL weight * KL.
        codes = self._codes[rows.to(self.device)]
        posterior = prior.infer_standardised(codes)
        units = kl_per_unit(posterior)
        bound = code_nll(prior.generate_standardised(posterior.sample(generator)), codes).mean()
        bound = bound + self._kl_penalty(units, progress)
        kl_nats = float(units.detach().sum(dim=1).mean())
        self._check(float(bound.detach()), kl_nats)
        self.optimizers.step(bound, number=self.step)
        return kl_nats

    def _covered_codes(self, generator: torch.Generator) -> Tensor:
        """Prior coverage of codes: the generator's error at prior draws, in nats."""
        assert self.model.prior is not None
        z, owners = self.coverage.partition.draw(self.settings.code_draws, generator)
        return code_nll(self.model.prior.generate_standardised(z), self._codes[owners]).mean()

    def _coins(self, symbols: Tensor, progress: float, generator: torch.Generator) -> Tensor | None:
        """True where the true symbol is fed; None if that is everywhere. (batch, time)."""
        ratio = self.teacher_forcing_ratio(progress)
        if ratio >= 1.0:
            return None
        batch, time = symbols.shape
        width = time if self.settings.forcing_coin == "token" else 1
        coins = torch.rand(batch, width, generator=generator) < ratio
        return coins.expand(batch, time).to(self.device)

    def _dropped(self, symbols: Tensor, generator: torch.Generator) -> Tensor | None:
        if self.settings.character_dropout == 0.0:
            return None
        drawn = torch.rand(*symbols.shape, generator=generator)
        return (drawn < self.settings.character_dropout).to(self.device)

    def _check(self, loss: float, kl: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss} at step {self.step}")
        if not kl <= KL_LIMIT_NATS:
            raise Diverged(
                f"the KL exploded to {kl:.3g} nats per word at step {self.step} "
                f"(limit {KL_LIMIT_NATS:.0e})"
            )

    def _upper_parts(self, prior: PriorNetwork, peak: float) -> dict[str, Part]:
        def inference(progress: float, epoch: int) -> float:
            return peak * (1.0 - self._latent_progress(progress))

        def generator(progress: float, epoch: int) -> float:
            return peak * self._left_after(self.settings.partition_start, progress)

        def grids(progress: float, epoch: int) -> float:
            return generator(progress, epoch) * GRID_RATE

        return {
            "inference": Part(list(prior.inference.parameters()), inference),
            "generator": Part(list(prior.generator.parameters()), generator),
            "grids": Part(list(prior.grids), grids),
        }

    @staticmethod
    def _left_after(start: float, progress: float) -> float:
        """1 until ``start``, then linearly to 0."""
        return 1.0 if progress <= start else (1.0 - progress) / (1.0 - start)

    @torch.no_grad()
    def _refresh_rows(self) -> None:
        """Bring what the upper level takes from the model up to date."""
        if self._prior_scaled and self.progress < self.settings.coverage_start:
            self._refresh_codes()

    @torch.no_grad()
    def _refresh_codes(self) -> None:
        prior = self.model.prior
        assert prior is not None
        codes = row_posteriors(self.model, self.rows, self.device)
        if self.coverage.partition.settled is None:
            prior.fit_scale(codes)
            self._prior_scaled = True
        self._codes = prior.standardise(codes.mean)

    # State

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on: tensors by name, and plain counters."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= self.coverage.partition.state() | self.optimizers.state()
        counters = {"epoch": self.epoch, "step": self.step, "prior_scaled": self._prior_scaled}
        return {name: value.detach().clone() for name, value in tensors.items()}, counters

    def load_state(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave.

        Raises:
            StateError: if it is of another shape, of another moment or not finite.
        """
        self._check_state(tensors, counters)
        self.model.load_state_dict(below("model.", tensors))
        self.coverage.partition.load_state(tensors)
        if self.coverage.partition.settled is not None:
            self._settled_kl = float(kl_per_unit(self.coverage.partition.settled).sum(dim=1).mean())
        self.optimizers.load_state(tensors)
        self.epoch, self.step = int(counters["epoch"]), int(counters["step"])
        self._prior_scaled = bool(counters["prior_scaled"])

    def _check_state(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        expected = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        check_tensors("model.", tensors, expected, finite=True)
        self.coverage.partition.check_state(tensors)
        self.optimizers.check_state(tensors)
        epoch, step = counters.get("epoch"), counters.get("step")
        if type(epoch) is not int or not 0 <= epoch <= self.settings.epochs:
            raise StateError(f"epoch is {epoch!r:.40}")
        if type(step) is not int or step != epoch * self.steps_per_epoch:
            raise StateError(f"step is {step!r:.40} after {epoch} epochs")
        if not isinstance(counters.get("prior_scaled"), bool):
            raise StateError("prior_scaled is neither true nor false")


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for every (seed, epoch); distinct for seeds and epochs below 2**31."""
    return (seed << 31) + epoch
