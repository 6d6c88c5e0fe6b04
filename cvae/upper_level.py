"""The upper level of a two-level model: how the network between z and the code is trained.

It learns from codes as they are, and no gradient of its own reaches the encoder: it must not bend
the codes to its wishes. Its phases, by progress:

    prior_start      the latent starts to learn, from the rows' codes, by a bound of its own
    partition_start  the latent comes to rest: the prior is divided among the rows for good, and
                     the generator learns from prior draws alone
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
"""How much faster than its perceptron the generator's grids learn: few draws reach a point."""


@dataclass(frozen=True, kw_only=True)
class UpperLevelSettings(CoverageSettings):
    """The phases of a two-level model, beside those of prior coverage.

    Attributes:
        word_kl_weight: weight of the code's KL.
        prior_start: progress at which the latent starts to learn, from the codes as they then are;
            its KL weight runs through its schedule from here.
        partition_start: progress at which it comes to rest: the prior is divided among the rows
            for good, and the generator learns from prior draws alone.
        code_steps: steps that the generator takes alone, between partition_start and
            coverage_start, after each step of the whole model.
        code_draws: prior draws in each of them.
    """

    word_kl_weight: float
    prior_start: float
    partition_start: float
    code_steps: int
    code_draws: int


class UpperLevel:
    """What a two-level model adds to a step of training.

    Attributes:
        kl_nats: KL of the latent, in nats per row, as last seen; 0 before it learns.
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
            prior: the model's.
            partition: to be settled when the latent comes to rest.
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
        """Share done of the time in which the latent learns."""
        first, last = self.settings.prior_start, self.settings.partition_start
        return share_between(progress, first=first, last=last)

    def kl_schedule(self, schedule: Schedule) -> Schedule:
        """A schedule of the KL weight, run through while the latent learns."""
        return lambda progress: schedule(self.latent_progress(progress))

    def parts(self, peak: float) -> dict[str, Part]:
        """The parts of the prior network, each with a learning rate that starts at ``peak``.

        The inference network's falls linearly to 0 while the latent learns. The generator's is
        constant until the latent rests, then falls linearly to 0; its grids' is ``GRID_RATE``
        times as large.
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
        """What the KL of the batch's codes costs; (batch, code) nats of each unit -> ()."""
        return self.settings.word_kl_weight * units.sum(dim=1).mean()

    def prepare(self, progress: float, epoch: int, generator: torch.Generator) -> None:
        """Before a step of the whole model: start the latent, and bring it to rest, when due.

        The codes are read in the first step of an epoch, and where a phase starts.
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
        """After a step of the whole model: what is to be minimised beside it, step by step.

        Each loss is computed when it is asked for, from the weights as the step before left them.

        Args:
            rows: (batch,) the batch's rows.
            penalty: what the latent's KL costs; (batch, latent) nats of each unit -> ().
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
        """Its own bound, on the batch's codes: -log p(h|z) + KL weight * KL."""
        codes = self._codes[rows.to(self.device)]
        posterior = self.prior.infer_standardised(codes)
        units = kl_per_unit(posterior)
        self.kl_nats = _nats_per_row(units)
        predicted = self.prior.generate_standardised(posterior.sample(generator))
        return code_nll(predicted, codes).mean() + penalty(units)

    def _covered_codes(self, generator: torch.Generator) -> Tensor:
        """Prior coverage of codes: the generator's error at prior draws, in nats."""
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
        """Its counters; its tensors are those of the model and of the partition."""
        return {"prior_scaled": self._started}

    def check_state(self, counters: Mapping[str, Any]) -> None:
        """Check what ``load_state`` would take.

        Raises:
            StateError: if it is not what ``state`` gives.
        """
        if not isinstance(counters.get("prior_scaled"), bool):
            raise StateError("prior_scaled is neither true nor false")

    def load_state(self, counters: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave, after the partition has its own again.

        Raises:
            StateError: as ``check_state`` would.
        """
        self.check_state(counters)
        self._started = bool(counters["prior_scaled"])
        self._codes_epoch = None
        settled = self.partition.settled
        self.kl_nats = 0.0 if settled is None else _nats_per_row(kl_per_unit(settled))


def _nats_per_row(units: Tensor) -> float:
    return float(units.detach().sum(dim=1).mean())
