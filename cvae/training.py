"""The training loop, one epoch at a time.

An epoch uses every training word once as a source. All random numbers of an epoch come from one
generator seeded with (seed, epoch), so a run that is resumed between epochs repeats the
uninterrupted run to the bit.

The loop is ``Trainer.train_epoch``, its step ``_train_step``, and the loss of the step is computed
in ``_train_model``. A one-level model, such as the report's, needs nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from cvae.alphabet import PAD
from cvae.batches import PairBatch, TrainingRows
from cvae.coverage import PriorCoverage
from cvae.loss_curve import LossCurve
from cvae.losses import kl_penalty, kl_per_unit
from cvae.model import ConditionalVAE
from cvae.optimizers import Diverged, Optimizers, OptimizerSettings, Part
from cvae.schedules import Schedule
from cvae.state import StateError, below, check_tensors
from cvae.upper_level import UpperLevel, UpperLevelSettings

KL_LIMIT_NATS: Final = 1e5
"""Above this KL in nats per word, training has diverged: naming a word takes about 30."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(UpperLevelSettings):
    """Settings of a training step, including prior coverage and the phases of two-level models.

    Attributes:
        epochs: passes over the training words.
        batch_size: pairs per step.
        pairs: same or cross, see ``TrainingRows.epoch``.
        hallucination_share: share of pairs with a hallucinated stem.
        hallucination_start_share: share of these whose stem gets another start.
        character_dropout: probability that a decoder input is hidden.
        forcing_coin: token or sequence.
        reduction: of a word's reconstruction loss over its symbols: sum, or mean as
            ``nn.CrossEntropyLoss`` has it. What is reported is always the sum.
    """

    epochs: int
    batch_size: int
    pairs: Literal["same", "cross"]
    hallucination_share: float
    hallucination_start_share: float
    character_dropout: float
    forcing_coin: Literal["token", "sequence"]
    reduction: Literal["sum", "mean"]


@dataclass(frozen=True)
class EpochLosses:
    """Means over the words of an epoch, in nats per word, and the schedules' values at its end."""

    cross_entropy: float
    kl: float
    kl_weight: float
    teacher_forcing_ratio: float
    encoder_lr: float
    decoder_lr: float


class Trainer:
    """Trains one model; its state can be saved and restored between epochs."""

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
        self.teacher_forcing_ratio = teacher_forcing_ratio
        self.free_nats = free_nats
        self.target_nats = target_nats
        self.seed = seed
        self.device = device
        self.epoch = 0
        self.step = 0
        word_count = len(rows) * rows.lengths.shape[1]
        self.steps_per_epoch = math.ceil(word_count / settings.batch_size)
        self.loss_curve = LossCurve(self.total_steps, self.steps_per_epoch)
        parts = {
            "encoder": Part(list(model.encoder.parameters()), optimizer.encoder_rate),
            "decoder": Part(list(model.decoder.parameters()), optimizer.decoder_rate),
        }
        self.coverage = PriorCoverage(model, rows, settings, device)
        self.kl_weight = kl_weight
        self.upper_level: UpperLevel | None = None
        if model.prior is not None:
            self.upper_level = UpperLevel(
                model, model.prior, rows, self.coverage.partition, settings, device
            )
            self.kl_weight = self.upper_level.kl_schedule(kl_weight)
            parts |= self.upper_level.parts(optimizer.prior_lr)
        self.optimizers = Optimizers(optimizer, parts)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.settings.epochs

    @property
    def progress(self) -> float:
        """Share of training done, in [0, 1]; the argument of the schedules."""
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
        self.coverage.begin_epoch(ends_at=self._progress_at(self.step + self.steps_per_epoch))
        reconstruction_sum = kl_sum = word_count = 0.0
        for batch in self.rows.epoch(
            batch_size=self.settings.batch_size,
            pairs=self.settings.pairs,
            hallucination_share=self.settings.hallucination_share,
            hallucination_start_share=self.settings.hallucination_start_share,
            generator=generator,
        ):
            reconstruction, kl = self._train_step(batch, generator)
            size = len(batch.rows)
            reconstruction_sum += reconstruction * size
            kl_sum += kl * size
            word_count += size
            self.loss_curve.add(self.step - 1, reconstruction, kl, size)
        for name, parameter in self.model.named_parameters():
            # The last step may have broken the weights, and no later loss would show it.
            if not bool(torch.isfinite(parameter).all()):
                raise Diverged(f"{name} was not finite any more after step {self.step - 1}")
        self.epoch += 1
        last = self._progress_at(self.step - 1)
        rates = self.optimizers.rates(last, self.epoch - 1)
        return EpochLosses(
            cross_entropy=reconstruction_sum / word_count,
            kl=kl_sum / word_count,
            kl_weight=self.kl_weight(last),
            teacher_forcing_ratio=self.teacher_forcing_ratio(last),
            encoder_lr=rates["encoder"],
            decoder_lr=rates["decoder"],
        )

    def _train_step(self, batch: PairBatch, generator: torch.Generator) -> tuple[float, float]:
        """Train on one batch; return its reconstruction and the latent's KL, in nats per word."""
        progress, upper = self.progress, self.upper_level
        self.optimizers.set_rates(progress, self.epoch)
        if upper is None:
            reconstruction, kl = self._train_model(batch, generator, self._kl_penalty)
        else:
            upper.prepare(progress, self.epoch, generator)
            reconstruction, _ = self._train_model(batch, generator, upper.word_penalty)
            for loss in upper.losses(batch.rows, progress, generator, self._kl_penalty):
                self._minimise([loss], upper.kl_nats)
            kl = upper.kl_nats
        self.step += 1
        return reconstruction, kl

    def _train_model(
        self,
        batch: PairBatch,
        generator: torch.Generator,
        penalty: Callable[[Tensor], Tensor],
    ) -> tuple[float, float]:
        """Take one step of the whole model; return reconstruction and code KL in nats per word.

        Args:
            penalty: the KL term of the code; (batch, code) nats per unit -> ().
        """
        source, target = batch.source.to(self.device), batch.target.to(self.device)
        source_tense = batch.source_tense.to(self.device)
        target_tense = batch.target_tense.to(self.device)

        # Encode the source, sample its code, decode the target from it.
        posterior = self.model.encode(source.symbols, source.lengths, source_tense)
        code = posterior.sample(generator)
        units = kl_per_unit(posterior)
        loss = penalty(units)
        reconstruction = self._reconstruction(code, target_tense, target.symbols, generator)
        loss = loss + self._reduced(reconstruction, target.symbols)
        kl = float(units.detach().sum(dim=1).mean())
        self._minimise(self._and_coverage(loss, generator), kl)
        return float(reconstruction.detach().mean()), kl

    def _and_coverage(self, loss: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """The loss of the words; once prior coverage has begun, also that of prior draws."""
        yield loss
        if self.coverage.started(self.progress):
            yield self._coverage_loss(generator)

    def _coverage_loss(self, generator: torch.Generator) -> Tensor:
        """Decode prior draws to the words of the rows that own them."""
        z, tense, symbols = self.coverage.deal(generator)
        code = self.model.code_of_latent(z)
        covered = self._reconstruction(code, tense, symbols, generator)
        return self.settings.coverage_weight * self._reduced(covered, symbols)

    def _minimise(self, losses: Iterable[Tensor], kl: float) -> None:
        """Take a step on the sum of losses, unless one or the KL (nats per word) has exploded."""
        self.optimizers.step((self._checked(loss, kl) for loss in losses), number=self.step)

    def _checked(self, loss: Tensor, kl: float) -> Tensor:
        if not math.isfinite(float(loss.detach())):
            raise Diverged(f"the loss became {float(loss.detach())} at step {self.step}")
        if not kl <= KL_LIMIT_NATS:
            raise Diverged(
                f"the KL exploded to {kl:.3g} nats per word at step {self.step} "
                f"(limit {KL_LIMIT_NATS:.0e})"
            )
        return loss

    def _reconstruction(
        self, code: Tensor, tense: Tensor, symbols: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Negative log-likelihood of each word, in nats; (batch,)."""
        return self.model.reconstruction(
            code,
            tense,
            symbols,
            forced=self._coins(symbols, generator),
            dropped=self._dropped(symbols, generator),
        )

    def _reduced(self, reconstruction: Tensor, symbols: Tensor) -> Tensor:
        """The mean over the words of the loss that is minimised; ()."""
        if self.settings.reduction == "mean":
            reconstruction = reconstruction / (symbols != PAD).sum(dim=1)
        return reconstruction.mean()

    def _kl_penalty(self, units: Tensor) -> Tensor:
        """The KL term of the prior latent; (batch, latent) nats per unit -> ()."""
        return kl_penalty(
            units,
            kl_weight=self.kl_weight(self.progress),
            free_nats=self.free_nats,
            target_nats=self.target_nats,
        ).mean()

    def _coins(self, symbols: Tensor, generator: torch.Generator) -> Tensor | None:
        """True where the true symbol is fed, (batch, time); None if it is always fed."""
        ratio = self.teacher_forcing_ratio(self.progress)
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

    # State

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to resume: tensors by name, and plain counters."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= self.coverage.partition.state() | self.optimizers.state()
        # A one-level model has no upper level to provide prior_scaled.
        counters: dict[str, Any] = {"epoch": self.epoch, "step": self.step, "prior_scaled": False}
        counters["loss_curve"] = self.loss_curve.state()
        if self.upper_level is not None:
            counters |= self.upper_level.state()
        return {name: value.detach().clone() for name, value in tensors.items()}, counters

    def load_state(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned.

        Raises:
            StateError: if the state has other shapes or counters, or is not finite; nothing is
                loaded then.
        """
        self._check_state(tensors, counters)
        self.model.load_state_dict(below("model.", tensors))
        self.coverage.partition.load_state(tensors)
        self.optimizers.load_state(tensors)
        if self.upper_level is not None:
            self.upper_level.load_state(counters)
        if "loss_curve" in counters:  # a checkpoint of an older version has none
            self.loss_curve.load_state(counters["loss_curve"])
        self.epoch, self.step = int(counters["epoch"]), int(counters["step"])

    def _check_state(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        expected = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        check_tensors("model.", tensors, expected, finite=True)
        self.coverage.partition.check_state(tensors)
        self.optimizers.check_state(tensors)
        if self.upper_level is not None:
            self.upper_level.check_state(counters)
        if "loss_curve" in counters:
            self.loss_curve.check_state(counters["loss_curve"])
        epoch, step = counters.get("epoch"), counters.get("step")
        if type(epoch) is not int or not 0 <= epoch <= self.settings.epochs:
            raise StateError(f"epoch is {epoch!r:.40}")
        if type(step) is not int or step != epoch * self.steps_per_epoch:
            raise StateError(f"step is {step!r:.40} after {epoch} epochs")


def _epoch_seed(seed: int, epoch: int) -> int:
    """A distinct seed for each (seed, epoch), for seeds and epochs below 2**31."""
    return (seed << 31) + epoch
