"""The upper level of a two-level model: how the prior network between z and the code is trained.

It learns from the encoder's codes, and its losses pass no gradient to the encoder, which would
otherwise change the codes to make them easier to generate. The phases, by progress:

    prior_start      the latent starts to learn from the rows' codes, with its own bound
    partition_start  the latent is frozen: the prior is partitioned among the rows once, and
                     the generator learns from prior draws only
    coverage_start   the decoder learns from prior draws, and the generator with it

docs/derivation.md, section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from cvae.batches import TrainingRows
from cvae.coverage import CoverageSettings, PriorPartition, row_posteriors
from cvae.losses import code_nll, kl_per_unit
from cvae.model import ConditionalVAE, PriorNetwork
from cvae.optimizers import Part
from cvae.schedules import Schedule, share_between
from cvae.state import StateError

GRID_RATE: Final = 30.0
"""Learning rate of the generator's grids, in multiples of its perceptron's.

It is higher because only few draws reach each grid point.
"""


@dataclass(frozen=True, kw_only=True)
class UpperLevelSettings(CoverageSettings):
    """The phases of a two-level model, in addition to those of prior coverage.

    Attributes:
        word_kl_weight: weight of the code's KL.
        prior_start: progress at which the latent starts to learn from the codes; its KL weight runs
            through its schedule from here.
        partition_start: progress at which the latent is frozen: the prior is partitioned among the
            rows once, and the generator learns from prior draws only.
        code_steps: steps of the generator alone, between partition_start and coverage_start, after
            each step of the whole model.
        code_draws: prior draws in each of these steps.
    """

    word_kl_weight: float
    prior_start: float
    partition_start: float
    code_steps: int
    code_draws: int


class UpperLevel:
    """The additional losses of a two-level model in a training step.

    Attributes:
        kl_nats: the latent's most recent KL, in nats per row; 0 before the latent learns.
    """

    def __init__(
        self,
        model: ConditionalVAE,
        prior: PriorNetwork,
        rows: TrainingRows,
        partition: PriorPartition,
        settings: UpperLevelSettings,
        device: torch.device,
    ) -> None:
        """Make the upper level.

        Args:
            prior: the model's prior network.
            partition: the partition that is settled when the latent is frozen.
        """
        self.model = model
        self.prior = prior
        self.rows = rows
        self.partition = partition
        self.settings = settings
        self.device = device
        self.kl_nats = 0.0
        self._started = False
        self._codes = torch.zeros(0)  # (rows, code) standardised
        self._codes_epoch: int | None = None

    def latent_progress(self, progress: float) -> float:
        """Progress of the phase in which the latent learns, in [0, 1]."""
        first, last = self.settings.prior_start, self.settings.partition_start
        return share_between(progress, first=first, last=last)

    def kl_schedule(self, schedule: Schedule) -> Schedule:
        """Let a KL weight schedule run while the latent learns."""
        return lambda progress: schedule(self.latent_progress(progress))

    def parts(self, peak: float) -> dict[str, Part]:
        """The parts of the prior network, each with a learning rate that starts at ``peak``.

        The inference network's rate falls linearly to 0 while the latent learns. The generator's
        rate is constant until the latent is frozen, then falls linearly to 0. The rate of its grids
        is ``GRID_RATE`` times as large.
        """

        def inference(progress: float, epoch: int) -> float:
            return peak * (1.0 - self.latent_progress(progress))

        def generator(progress: float, epoch: int) -> float:
            start = self.settings.partition_start
            return peak * (1.0 if progress <= start else (1.0 - progress) / (1.0 - start))

        def grids(progress: float, epoch: int) -> float:
            return generator(progress, epoch) * GRID_RATE

        return {
            "inference": Part(list(self.prior.inference.parameters()), inference),
            "generator": Part(list(self.prior.generator.parameters()), generator),
            "grids": Part(list(self.prior.grids), grids),
        }

    def word_penalty(self, units: Tensor) -> Tensor:
        """The KL term of the batch's codes; (batch, code) nats per unit -> ()."""
        return self.settings.word_kl_weight * units.sum(dim=1).mean()

    def prepare(self, progress: float, epoch: int, generator: torch.Generator) -> None:
        """Call before a step of the whole model: start or freeze the latent when it is due.

        The codes are read in the first step of an epoch and at the start of a phase.
        """
        settings = self.settings
        self._started = self._started or progress >= settings.prior_start
        learns = self._started and progress < settings.coverage_start
        settles = progress >= settings.partition_start and self.partition.settled is None
        if settles or (learns and epoch != self._codes_epoch):
            self._read_codes()
            self._codes_epoch = epoch
        if settles:
            with torch.no_grad():
                posteriors = self.prior.infer_standardised(self._codes)
            self.partition.settle(posteriors, generator)
            self.kl_nats = _nats_per_row(kl_per_unit(posteriors))

    def losses(
        self,
        rows: Tensor,
        progress: float,
        generator: torch.Generator,
        penalty: Callable[[Tensor], Tensor],
    ) -> Iterator[Tensor]:
        """Call after a step of the whole model: yield the additional losses, one for each step.

        Each loss is computed when it is requested, with the weights after the previous step.

        Args:
            rows: (batch,) the batch's rows.
            penalty: the KL term of the latent; (batch, latent) nats per unit -> ().
        """
        if not self._started:
            return
        if self.partition.settled is None:
            yield self._bound(rows, generator, penalty)
        elif progress < self.settings.coverage_start:
            for _ in range(self.settings.code_steps):
                yield self._covered_codes(generator)

    def _bound(
        self, rows: Tensor, generator: torch.Generator, penalty: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The bound of the batch's codes: -log p(h|z) + KL weight * KL."""
        codes = self._codes[rows.to(self.device)]
        posterior = self.prior.infer_standardised(codes)
        units = kl_per_unit(posterior)
        self.kl_nats = _nats_per_row(units)
        predicted = self.prior.generate_standardised(posterior.sample(generator))
        return code_nll(predicted, codes).mean() + penalty(units)

    def _covered_codes(self, generator: torch.Generator) -> Tensor:
        """Prior coverage for codes: the generator's error at prior draws, in nats."""
        z, owners = self.partition.draw(self.settings.code_draws, generator)
        return code_nll(self.prior.generate_standardised(z), self._codes[owners]).mean()

    @torch.no_grad()
    def _read_codes(self) -> None:
        codes = row_posteriors(self.model, self.rows, self.device)
        if self.partition.settled is None:
            self.prior.fit_scale(codes)
        self._codes = self.prior.standardise(codes.mean)

    # State

    def state(self) -> dict[str, bool]:
        """The counters; the tensors belong to the model and the partition."""
        return {"prior_scaled": self._started}

    def check_state(self, counters: Mapping[str, Any]) -> None:
        """Check counters before ``load_state``.

        Raises:
            StateError: if a counter has another type.
        """
        if not isinstance(counters.get("prior_scaled"), bool):
            raise StateError("prior_scaled is neither true nor false")

    def load_state(self, counters: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned; the partition must be restored before.

        Raises:
            StateError: see ``check_state``.
        """
        self.check_state(counters)
        self._started = bool(counters["prior_scaled"])
        self._codes_epoch = None
        settled = self.partition.settled
        self.kl_nats = 0.0 if settled is None else _nats_per_row(kl_per_unit(settled))


def _nats_per_row(units: Tensor) -> float:
    return float(units.detach().sum(dim=1).mean())
