"""Verbs beyond the training rows: codes drawn from p(h|z), not only its mean.

Prior coverage teaches a two-level model to say a training row wherever z lies, so its prior draws
are verbs that it knows. The generative model has room between them: p(h|z) is a Gaussian around the
code that ``code_of_latent`` returns. ``invent`` samples it with a temperature, a factor on its
standard deviation. Most codes that are drawn so lie beside those of words, and the four forms that
are decoded there belong to different stems. So the past tense is read once more, and the four forms
are decoded from its code (one step of a walkback, Bengio et al. 2013, "Generalized Denoising
Auto-Encoders as Generative Models"): a word has one stem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from cvae.alphabet import TENSES
from cvae.batches import words_to_tensor
from cvae.data import Forms
from cvae.evaluation import decode_codes
from cvae.model import ConditionalVAE, PriorNetwork
from cvae.reranking import encode_words

_CHUNK: Final = 512
_PAST: Final = TENSES.index("past")


class NoUpperLevelError(ValueError):
    """Raised for a one-level model: its code is z itself, so p(h|z) has no spread."""


def noise_for(model: ConditionalVAE, draws: int, generator: torch.Generator) -> Tensor:
    """Noise for ``invent``; (draws, code), from N(0, I).

    Raises:
        NoUpperLevelError: if the model has one level.
    """
    return torch.randn(draws, len(_upper_level(model).code_mean), generator=generator)


@torch.no_grad()
def invent(
    model: ConditionalVAE, z: Tensor, noise: Tensor, *, temperature: float, device: torch.device
) -> list[Forms]:
    """Decode prior draws under all four tenses, from codes around the one that z generates.

    Args:
        model: a two-level model in evaluation mode.
        z: (draws, latent), from N(0, I).
        noise: (draws, code), from N(0, I).
        temperature: factor on the noise, at least 0, in units of a standardised code; 0 decodes the
            mean of p(h|z), read once more.

    Raises:
        NoUpperLevelError: if the model has one level.
    """
    prior = _upper_level(model)
    paradigms: list[Forms] = []
    for part, step in zip(torch.split(z, _CHUNK), torch.split(noise, _CHUNK), strict=True):
        means = prior.generate_standardised(part.to(device))
        codes = prior.destandardise(means + temperature * step.to(device))
        paradigms += _read_again(model, decode_codes(model, codes), device)
    return paradigms


def _upper_level(model: ConditionalVAE) -> PriorNetwork:
    if model.prior is None:
        raise NoUpperLevelError("a one-level model has no distribution of codes around a draw")
    return model.prior


def _read_again(
    model: ConditionalVAE, decoded: Sequence[Forms], device: torch.device
) -> list[Forms]:
    """The four forms of what each past tense is read as; one that is no word is left as it is."""
    readable = [place for place, forms in enumerate(decoded) if forms[_PAST].isalpha()]
    again = list(decoded)
    if readable:
        words = words_to_tensor([decoded[place][_PAST] for place in readable]).to(device)
        tenses = torch.full((len(readable),), _PAST, device=device)
        found = decode_codes(model, encode_words(model, words, tenses).mean)
        for place, forms in zip(readable, found, strict=True):
            again[place] = forms
    return again
