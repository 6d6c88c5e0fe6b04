"""The tense of a word that comes without one: the tense under which the model reads it best."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import torch

from cvae.alphabet import TENSES
from cvae.batches import words_to_tensor
from cvae.model import ConditionalVAE
from cvae.reranking import encode_words, log_probabilities

ENDING_NATS: Final = 4.0
"""What an ending is worth when the tense of a word is inferred; the model, if surer, overrules."""

_ENDINGS: Final = (
    None,
    re.compile(r"[aeiouy].*(?<![su])s$"),
    re.compile(r"[aeiouy].*ing$"),
    re.compile(r"[aeiouy].*(?<!e)ed$"),
)
"""What speaks for a tense: its ending behind a vowel, so that bring and shed have none. Nor do
miss and bus; need has none and, at the price of agreed, is left to the model."""


def infer_tenses(
    model: ConditionalVAE, words: Sequence[str], device: torch.device | None = None
) -> list[int]:
    """Return the most likely tense (0..3) of each word.

    The word is read under each tense and spelled again under the same one. The tense with the
    greatest log p(word | code, tense) is taken, the lower one if two are equal; a tense that the
    word's ending speaks against pays ``ENDING_NATS``. What goes wrong are irregular pasts: nothing
    in an unknown *drank* says that it is no present. See docs/confidence.md.
    """
    packed = words_to_tensor(words).to(device or torch.device("cpu"))
    found = []
    for tense in range(len(TENSES)):
        tenses = torch.full((len(words),), tense, device=packed.lengths.device)
        codes = encode_words(model, packed, tenses).mean
        found.append(log_probabilities(model, codes, tenses, packed))
    against = torch.tensor([_against(word) for word in words], device=packed.lengths.device)
    total = torch.stack(found, dim=1) - ENDING_NATS * against  # (words, 4)
    return [int(tense) for tense in total.argmax(dim=1)]


def _against(word: str) -> list[bool]:
    """For each tense, whether the ending of ``word`` speaks against it.

    A word without an ending may be a present or an irregular past.
    """
    fits = [ending is not None and ending.search(word) is not None for ending in _ENDINGS]
    if not any(fits):
        fits = [True, False, False, True]
    return [not fit for fit in fits]
