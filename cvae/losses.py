"""The terms of the training loss, unreduced, in nats per word.

docs/derivation.md derives them; reconstruction itself is ``ConditionalVAE.reconstruction``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cvae.model import Gaussian


def kl_per_unit(posterior: Gaussian) -> Tensor:
    """KL(q || N(0, I)) of each latent unit, in nats; (batch, latent).

    Source: Kingma and Welling 2014, appendix B; docs/derivation.md, equation (7).
    """
    mean, logvar = posterior
    return 0.5 * (mean.square() + torch.expm1(logvar) - logvar)  # expm1: never below 0


def kl_penalty(
    units: Tensor,
    *,
    kl_weight: float,
    free_nats: float | None = None,
    target_nats: float | None = None,
) -> Tensor:
    """What the KL adds to the loss; (batch,), the same for all words where it is a batch's.

    Args:
        units: (batch, latent), from ``kl_per_unit``.
        kl_weight: weight of the penalty.
        free_nats: nats per unit that cost nothing: sum over units of
            max(free_nats, KL averaged over the batch). Source: Kingma et al. 2016, appendix C.8.
        target_nats: penalise |KL - target_nats| of the batch's mean instead of the KL.
    """
    if free_nats is not None:
        penalty = units.mean(dim=0).clamp(min=free_nats).sum().expand(len(units))
    elif target_nats is not None:
        penalty = (units.sum(dim=1).mean() - target_nats).abs().expand(len(units))
    else:
        penalty = units.sum(dim=1)
    return kl_weight * penalty


def code_nll(predicted: Tensor, codes: Tensor) -> Tensor:
    """-log p(h|z) of standardised codes under N(predicted, I), less its constant; (batch,)."""
    return 0.5 * (predicted - codes).square().sum(dim=1)


class PriorPartition:
    """Which training row owns a point of the prior: the one most likely to have put it there.

    Training the generator on z ~ N(0, I), labelled by the owner, teaches it the whole prior and
    not only the neighbourhoods of the posteriors (*prior coverage*). All rows are given the same
    posterior variances, their mean over the rows: the parts are then convex, a power diagram. A
    bias per row, moved until all rows own the same share of the prior, makes the parts equal
    (semi-discrete optimal transport). Its unit is chosen so that a part is about one wide, which
    changes no part: how far a bias moves a border would else hang on how wide the posteriors are.
    It exists in training only: generation never looks a row up.
    """

    BALANCE_RATE = 0.02  # a step; the border of a part then moves by a few percent of its width
    SETTLE_STEPS = 60
    SETTLE_DRAWS = 8192
    SETTLE_RATES = (2.0, 0.02)  # first and last; a part far out moves by many times its width

    def __init__(self, row_count: int, device: torch.device) -> None:
        self.bias = torch.zeros(row_count, device=device)  # (rows,)
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

    @torch.no_grad()
    def settle(self, generator: torch.Generator) -> None:
        """Move the biases until the parts are about equal, for posteriors that stay as they are.

        Ascent on the concave dual of the transport problem, each row's steps scaled by Adam: a
        border between distant posteriors takes a far larger bias than one between near ones.
        """
        first, last = self.SETTLE_RATES
        optimizer = torch.optim.Adam([self.bias], lr=first, betas=(0.9, 0.9), maximize=True)
        for step in range(self.SETTLE_STEPS):
            optimizer.param_groups[0]["lr"] = first * (last / first) ** (step / self.SETTLE_STEPS)
            z = torch.randn(self.SETTLE_DRAWS, len(self._linear), generator=generator)
            owners = self.owners(z.to(self._linear), balance=False)
            self.bias.grad = 1.0 - self._shares(owners).to(self.bias)
            optimizer.step()
        self.bias.grad = None

    def _shares(self, owners: Tensor) -> Tensor:
        """What each row owns, in multiples of an equal share; (rows,)."""
        rows = len(self.bias)
        return torch.bincount(owners, minlength=rows) * (rows / len(owners))
