"""Prior coverage: every point of the prior belongs to a training row, whose words are taught there.

A decoder that is trained on posteriors alone sees only their neighbourhoods. Training it on
z ~ N(0, I) as well, each labelled by the row that owns z, teaches it the whole prior. All of this
exists in training only: generation never looks a row up. docs/derivation.md, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cvae.batches import TrainingRows, by_length, length_buckets
from cvae.model import ConditionalVAE, Gaussian
from cvae.state import check_tensors

_DEALT_STEPS: Final = 4
_SIDE_BY_SIDE: Final = 512  # words of like length encoded at once; fits the cache


@dataclass(frozen=True, kw_only=True)
class CoverageSettings:
    """Prior coverage of the decoder.

    Attributes:
        coverage_start: progress at which the decoder starts to learn from prior draws.
        coverage_draws: prior draws a step that the decoder learns from; 0 for none.
        coverage_weight: their weight in the loss.
    """

    coverage_start: float
    coverage_draws: int
    coverage_weight: float


class PriorPartition:
    """Which training row owns a point of the prior: the one most likely to have put it there.

    All rows are given the same posterior variances, their mean over the rows: the parts are then
    convex, a power diagram. A bias per row, moved until all rows own the same share of the prior,
    makes the parts equal (semi-discrete optimal transport). Its unit is chosen so that a part is
    about one wide, which changes no part: how far a bias moves a border would else hang on how wide
    the posteriors are.

    The posteriors may move, and the biases with them, until the partition is settled for good.

    Attributes:
        settled: the rows' posteriors q(z|row) that it was settled with; None before.
    """

    BALANCE_RATE = 0.02  # a step; the border of a part then moves by a few percent of its width
    SETTLE_STEPS = 60
    SETTLE_DRAWS = 8192
    SETTLE_RATES = (2.0, 0.02)  # first and last; a part far out moves by many times its width

    def __init__(self, row_count: int, latent_size: int, device: torch.device) -> None:
        self.bias = torch.zeros(row_count, device=device)  # (rows,)
        self.latent_size = latent_size
        self.settled: Gaussian | None = None
        self._linear = torch.zeros(0)
        self._constant = torch.zeros(0)

    @torch.no_grad()
    def update(self, posterior: Gaussian) -> None:
        """Take the posteriors q(z|row) of all training rows; tensors (rows, latent)."""
        precision = 1.0 / torch.exp(posterior.logvar).mean(dim=0)
        rows, size = posterior.mean.shape
        spread = (posterior.mean.var(dim=0, unbiased=False) * precision).sum()
        precision = precision * size * rows ** (2.0 / size) / spread.clamp(min=1e-12)
        self._linear = (posterior.mean * precision).T
        self._constant = -0.5 * (posterior.mean.square() * precision).sum(dim=1)

    @torch.no_grad()
    def owners(self, z: Tensor, *, balance: bool) -> Tensor:
        """The owning row of each z; (draws, latent) -> (draws,) int64.

        Args:
            balance: whether to move the biases by what these draws show.
        """
        offset = self._constant + self.bias
        owners = torch.cat(
            [  # in pieces whose scores fit the cache
                torch.addmm(offset, part, self._linear).argmax(dim=1)
                for part in torch.split(z, 1024)
            ]
        )
        if balance:
            self.bias += self.BALANCE_RATE * (1.0 - self._shares(owners)).clamp(min=-3.0)
        return owners

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Prior draws (count, latent) and their owners (count,); balances until it is settled."""
        z = torch.randn(count, self.latent_size, generator=generator).to(self.bias)
        return z, self.owners(z, balance=self.settled is None)

    @torch.no_grad()
    def settle(self, posterior: Gaussian, generator: torch.Generator) -> None:
        """Move the biases until the parts are about equal, for posteriors that stay as they are.

        Ascent on the concave dual of the transport problem, each row's steps scaled by Adam: a
        border between distant posteriors takes a far larger bias than one between near ones.
        """
        self.update(posterior)
        first, last = self.SETTLE_RATES
        optimizer = torch.optim.Adam([self.bias], lr=first, betas=(0.9, 0.9), maximize=True)
        for step in range(self.SETTLE_STEPS):
            optimizer.param_groups[0]["lr"] = first * (last / first) ** (step / self.SETTLE_STEPS)
            z = torch.randn(self.SETTLE_DRAWS, self.latent_size, generator=generator)
            owners = self.owners(z.to(self.bias), balance=False)
            self.bias.grad = 1.0 - self._shares(owners).to(self.bias)
            optimizer.step()
        self.bias.grad = None
        self.settled = posterior

    def _shares(self, owners: Tensor) -> Tensor:
        """What each row owns, in multiples of an equal share; (rows,)."""
        rows = len(self.bias)
        return torch.bincount(owners, minlength=rows) * (rows / len(owners))

    # State

    def state(self) -> dict[str, Tensor]:
        """The biases and, once settled, the posteriors; not copied."""
        tensors = {"partition.bias": self.bias}
        if self.settled is not None:
            tensors["partition.mean"], tensors["partition.logvar"] = self.settled
        return tensors

    def check_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Check what ``load_state`` would take.

        Raises:
            StateError: if it is of another shape or not finite.
        """
        expected = {"partition.bias": self.bias}
        if "partition.mean" in tensors or "partition.logvar" in tensors:
            latent = self.bias.new_zeros(len(self.bias), self.latent_size)
            expected |= {"partition.mean": latent, "partition.logvar": latent}
        check_tensors("partition.", tensors, expected, finite=True)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``state`` gave.

        Raises:
            StateError: as ``check_state`` would.
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
        """Let the partition follow the rows' posteriors, unless it is settled.

        Args:
            ends_at: progress at the end of the epoch; one before coverage starts needs no owners.
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
        """A step's prior draws, random tenses, and the symbols of the owners' words in them.

        Draws are made for some steps at once and dealt out by length, to save padding.
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
    """q(code|row) of every training row, read from its four forms: their mean and log-variance.

    The forms' posteriors are averaged, since one row has one place in the prior.
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
