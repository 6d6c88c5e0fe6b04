"""Prior coverage: each point of the prior is owned by a training row, whose words are taught there.

A decoder that is trained on posteriors only sees the regions around them. Prior coverage also
trains it on z ~ N(0, I), each with the words of the row that owns z, so that it learns the whole
prior. The owners exist in training only: generation looks up no row. See docs/derivation.md,
section 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cvae.batches import TrainingRows, by_length, length_buckets
from cvae.eager_optimizers import Adam
from cvae.model import ConditionalVAE, Gaussian
from cvae.state import check_tensors

_DEALT_STEPS: Final = 4
_SIDE_BY_SIDE: Final = 512  # words of like length encoded at once; fits the cache


@dataclass(frozen=True, kw_only=True)
class CoverageSettings:
    """Settings of prior coverage.

    Attributes:
        coverage_start: progress at which the decoder starts to learn from prior draws.
        coverage_draws: prior draws per step for the decoder; 0 for none.
        coverage_weight: their weight in the loss.
    """

    coverage_start: float
    coverage_draws: int
    coverage_weight: float


class PriorPartition:
    """Assigns each point of the prior to a training row, its owner: the likeliest row to encode it.

    All rows share the same posterior variances, their mean over the rows. Then the cells are convex
    (a power diagram). The biases of the rows are adjusted until all rows own the same share of the
    prior (semi-discrete optimal transport). They are measured in a unit in which a cell is about
    one wide. The unit does not change the cells, but without it the effect of a bias would depend
    on how wide the posteriors are.

    The posteriors and the biases may change until the partition is settled.

    Attributes:
        settled: the rows' posteriors q(z|row) when the partition was settled; None before.
    """

    BALANCE_RATE = 0.02  # per step: moves the border of a cell by a few percent of the cell's width
    SETTLE_STEPS = 60
    SETTLE_DRAWS = 8192
    SETTLE_RATES = (2.0, 0.02)  # first and last; a far-out cell moves by many times its width

    def __init__(self, row_count: int, latent_size: int, device: torch.device) -> None:
        self.bias = torch.zeros(row_count, device=device)  # (rows,)
        self.latent_size = latent_size
        self.settled: Gaussian | None = None
        self._linear = torch.zeros(0)
        self._constant = torch.zeros(0)

    @torch.no_grad()
    def update(self, posterior: Gaussian) -> None:
        """Set the posteriors q(z|row) of all training rows; tensors (rows, latent)."""
        precision = 1.0 / torch.exp(posterior.logvar).mean(dim=0)
        rows, size = posterior.mean.shape
        spread = (posterior.mean.var(dim=0, unbiased=False) * precision).sum()
        precision = precision * size * rows ** (2.0 / size) / spread.clamp(min=1e-12)
        self._linear = (posterior.mean * precision).T
        self._constant = -0.5 * (posterior.mean.square() * precision).sum(dim=1)

    @torch.no_grad()
    def owners(self, z: Tensor, *, balance: bool) -> Tensor:
        """The owner of each z; (draws, latent) -> (draws,) int64.

        Args:
            balance: whether to adjust the biases to the shares observed in these draws.
        """
        offset = self._constant + self.bias
        owners = torch.cat(
            [  # in chunks whose scores fit the cache
                torch.addmm(offset, part, self._linear).argmax(dim=1)
                for part in torch.split(z, 1024)
            ]
        )
        if balance:
            self.bias += self.BALANCE_RATE * (1.0 - self._shares(owners)).clamp(min=-3.0)
        return owners

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Prior draws (count, latent) and their owners (count,); balances until settled."""
        z = torch.randn(count, self.latent_size, generator=generator).to(self.bias)
        return z, self.owners(z, balance=self.settled is None)

    @torch.no_grad()
    def settle(self, posterior: Gaussian, generator: torch.Generator) -> None:
        """Adjust the biases until the cells are about equal, for posteriors that no longer change.

        Gradient ascent on the concave dual of the transport problem. Adam scales the steps per row,
        because a border between distant posteriors needs a far larger bias than one between near
        posteriors.
        """
        self.update(posterior)
        first, last = self.SETTLE_RATES
        optimizer = Adam([self.bias], lr=first, betas=(0.9, 0.9), maximize=True)
        for step in range(self.SETTLE_STEPS):
            optimizer.param_groups[0]["lr"] = first * (last / first) ** (step / self.SETTLE_STEPS)
            z = torch.randn(self.SETTLE_DRAWS, self.latent_size, generator=generator)
            owners = self.owners(z.to(self.bias), balance=False)
            self.bias.grad = 1.0 - self._shares(owners).to(self.bias)
            optimizer.step()
        self.bias.grad = None
        self.settled = posterior

    def _shares(self, owners: Tensor) -> Tensor:
        """The share of each row, in multiples of an equal share; (rows,)."""
        rows = len(self.bias)
        return torch.bincount(owners, minlength=rows) * (rows / len(owners))

    # State

    def state(self) -> dict[str, Tensor]:
        """The biases and, once settled, the posteriors; not copies."""
        tensors = {"partition.bias": self.bias}
        if self.settled is not None:
            tensors["partition.mean"], tensors["partition.logvar"] = self.settled
        return tensors

    def check_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Check tensors before ``load_state``.

        Raises:
            StateError: if a tensor has another shape or is not finite.
        """
        expected = {"partition.bias": self.bias}
        if "partition.mean" in tensors or "partition.logvar" in tensors:
            latent = self.bias.new_zeros(len(self.bias), self.latent_size)
            expected |= {"partition.mean": latent, "partition.logvar": latent}
        check_tensors("partition.", tensors, expected, finite=True)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned.

        Raises:
            StateError: see ``check_state``.
        """
        self.check_state(tensors)
        self.bias.copy_(tensors["partition.bias"])
        self.settled = None
        if "partition.mean" in tensors:
            self.settled = Gaussian(
                tensors["partition.mean"].to(self.bias), tensors["partition.logvar"].to(self.bias)
            )
            self.update(self.settled)


class PriorCoverage:
    """Prior draws for the decoder, with the words of the rows that own them."""

    def __init__(
        self,
        model: ConditionalVAE,
        rows: TrainingRows,
        settings: CoverageSettings,
        device: torch.device,
    ) -> None:
        self.model = model
        self.rows = rows
        self.settings = settings
        self.device = device
        self.partition = PriorPartition(len(rows), model.latent_size, device)
        self._dealt: list[tuple[Tensor, Tensor, Tensor]] = []

    def begin_epoch(self, *, ends_at: float) -> None:
        """Update the partition from the rows' posteriors, unless it is settled.

        Args:
            ends_at: progress at the end of the epoch; no owners are needed before coverage starts.
        """
        self._dealt.clear()
        due = self.settings.coverage_draws and ends_at >= self.settings.coverage_start
        if due and self.partition.settled is None:
            self._follow()

    @torch.no_grad()
    def _follow(self) -> None:
        codes = row_posteriors(self.model, self.rows, self.device)
        self.partition.update(self.model.infer_latent(codes))

    def started(self, progress: float) -> bool:
        """Whether the decoder learns from prior draws."""
        return self.settings.coverage_draws > 0 and progress >= self.settings.coverage_start

    def deal(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One step's prior draws, random tenses, and the symbols of the owners' words.

        Draws are made for several steps at once and grouped by length, which saves padding.
        """
        if not self._dealt:
            self._draw(generator)
        z, owners, tense = self._dealt.pop()
        words = self.rows.words(owners, tense).to(self.device)
        return z, tense.to(self.device), words.symbols

    def _draw(self, generator: torch.Generator) -> None:
        draws = self.settings.coverage_draws
        z, owners = self.partition.draw(draws * _DEALT_STEPS, generator)
        owners = owners.cpu()
        tense = torch.randint(self.rows.lengths.shape[1], owners.shape, generator=generator)
        lengths = self.rows.lengths[owners, tense]
        for chosen in length_buckets(lengths, draws, generator):
            self._dealt.append((z[chosen.to(self.device)], owners[chosen], tense[chosen]))


@torch.no_grad()
def row_posteriors(model: ConditionalVAE, rows: TrainingRows, device: torch.device) -> Gaussian:
    """q(code|row) of each training row: the mean of its four forms' means and log-variances.

    The posteriors are averaged because a row has one place in the prior.
    """
    row_count, tense_count, _ = rows.symbols.shape
    parts = by_length(rows.lengths.flatten(), _SIDE_BY_SIDE)
    means, logvars = [], []
    for part in parts:
        tense = part % tense_count
        words = rows.words(part // tense_count, tense).to(device)
        posterior = model.encode(words.symbols, words.lengths, tense.to(device))
        means.append(posterior.mean)
        logvars.append(posterior.logvar)
    place = torch.cat(parts).argsort().to(device)
    shape = (row_count, tense_count, -1)
    return Gaussian(
        torch.cat(means)[place].view(shape).mean(dim=1),
        torch.cat(logvars)[place].view(shape).mean(dim=1),
    )
