"""Whether a made-up paradigm could be a verb, judged without a list of the real ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from nltk.lm import WittenBellInterpolated
from nltk.lm.preprocessing import pad_both_ends, padded_everygram_pipeline
from nltk.util import ngrams

from cvae.data import Forms, Paradigm
from cvae.inflection import is_regular

_ORDER: Final = 3
_LEAST_LIKELY: Final = 0.05


class WellFormed:
    """Whether a paradigm could be a verb: one stem by the rules, and letters like a real verb's.

    The letters are judged by a trigram model of the training verbs' presents with Witten-Bell
    smoothing. A present passes that is at least as likely, per letter, as the least likely
    twentieth of the dev verbs, which the letter model has not seen.
    """

    def __init__(self, training: Sequence[Paradigm], held_out: Sequence[Paradigm]) -> None:
        """Train the letter model and set its limit; ``held_out`` needs two verbs or more."""
        lemmas = [list(row.preferred[0]) for row in training]
        grams, letters = padded_everygram_pipeline(_ORDER, lemmas)
        self._letters = WittenBellInterpolated(_ORDER)
        self._letters.fit(grams, letters)
        scores = [self.log_probability(row.preferred[0]) for row in held_out]
        self._limit = statistics.quantiles(scores, n=round(1 / _LEAST_LIKELY))[0]

    def __call__(self, forms: Forms) -> bool:
        """Judge the four forms in the order of ``alphabet.TENSES``."""
        return self.has_one_stem(forms) and self.log_probability(forms[0]) >= self._limit

    @staticmethod
    def has_one_stem(forms: Forms) -> bool:
        """Whether the rules of inflection give these forms, in one of the spellings they allow."""
        return all(forms) and is_regular(forms)

    def log_probability(self, word: str) -> float:
        """Mean of log2 p(letter | the two before it) over the letters and the end of a word."""
        padded = pad_both_ends(word, n=_ORDER)
        scores = [
            self._letters.logscore(gram[-1], gram[:-1])
            for gram in list(ngrams(padded, _ORDER))[: len(word) + 1]
        ]
        return statistics.fmean(scores)
