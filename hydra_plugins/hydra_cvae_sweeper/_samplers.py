"""Samplers that need a word to Optuna before they are made."""

from __future__ import annotations

import warnings
from typing import Any

import optuna


def parallel_tpe(**settings: Any) -> optuna.samplers.TPESampler:
    """TPE for several trials at once, without the warning that its option is experimental.

    Hydra makes a sampler before it makes the sweeper, which could not silence it in time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(**settings)
