"""The terms of the training loss, unreduced, in nats per word.

docs/derivation.md derives them; reconstruction itself is ``ConditionalVAE.reconstruction``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cvae.model import Gaussian


def kl_per_unit(posterior: Gaussian) -> Tensor:
    """KL(q || N(0, I)) of each latent unit, in nats; (batch, latent).

    Source: Kingma and Welling 2014, appendix B; docs/derivation.md, equation (7).
    """
    mean, logvar = posterior
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar)


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
    not only the neighbourhoods of the posteriors (*prior coverage*). A bias per row, moved until
    all rows own the same share of the prior, makes it a partition into equal parts (semi-discrete
    optimal transport). It exists in training only: generation never looks a row up.
    """

    BALANCE_RATE = 0.02  # nats a step; the border of a region then moves by a few percent of it

    def __init__(self, row_count: int, device: torch.device) -> None:
        self.bias = torch.zeros(row_count, device=device)  # (rows,) nats
        self._quadratic = self._linear = torch.zeros(0)
        self._constant = torch.zeros(0)

    @torch.no_grad()
    def update(self, posterior: Gaussian) -> None:
        """Take the posteriors q(z|row) of all training rows; tensors (rows, latent)."""
        precision = torch.exp(-posterior.logvar)
        self._quadratic = -0.5 * precision.T
        self._linear = (posterior.mean * precision).T
        self._constant = -0.5 * (
            posterior.logvar + math.log(2.0 * math.pi) + posterior.mean.square() * precision
        ).sum(dim=1)

    @torch.no_grad()
    def owners(self, z: Tensor, *, balance: bool) -> Tensor:
        """The owning row of each z; (draws, latent) -> (draws,) int64.

        Args:
            balance: whether to move the biases by what these draws show.
        """
        log_density = z.square() @ self._quadratic + z @ self._linear + self._constant
        owners = (log_density + self.bias).argmax(dim=1)
        if balance:
            share = torch.bincount(owners, minlength=len(self.bias)) * (len(self.bias) / len(z))
            self.bias += self.BALANCE_RATE * (1.0 - share).clamp(min=-3.0)
        return owners
