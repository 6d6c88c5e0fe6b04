"""The terms of the training loss, unreduced, in nats per word.

docs/derivation.md derives them. The reconstruction is ``ConditionalVAE.reconstruction``.
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
    """The KL term of the loss; (batch,), equal for all words if it is computed over the batch.

    Args:
        units: (batch, latent), from ``kl_per_unit``.
        kl_weight: weight of the term.
        free_nats: nats per unit that are not penalised: sum over units of
            max(free_nats, KL averaged over the batch). Source: Kingma et al. 2016, appendix C.8.
        target_nats: penalise |KL - target_nats|, with the mean KL of the batch, instead of the KL.
    """
    if free_nats is not None:
        penalty = units.mean(dim=0).clamp(min=free_nats).sum().expand(len(units))
    elif target_nats is not None:
        penalty = (units.sum(dim=1).mean() - target_nats).abs().expand(len(units))
    else:
        penalty = units.sum(dim=1)
    return kl_weight * penalty


def code_nll(predicted: Tensor, codes: Tensor) -> Tensor:
    """-log p(h|z) of standardised codes under N(predicted, I), without its constant; (batch,)."""
    return 0.5 * (predicted - codes).square().sum(dim=1)
