"""The application's check of its trials before the first one: `hydra.sweeper.check`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Check:
    """The application's function, with its warnings and return values.

    Attributes:
        function: called with the config of a trial; None if there is none.
        notes: its warnings, each once.
        inputs: the texts by name that it returned, such as digests of input files. They are part of
            the study's identity.
    """

    function: Callable[[dict[str, Any]], Any] | None
    notes: list[tuple[int, str]]
    inputs: dict[str, str] = field(default_factory=dict)

    def __call__(self, config: dict[str, Any]) -> None:
        """Check the config of a trial, and raise what the function raises."""
        if self.function is None:
            return
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = self.function(config)
        for warning in caught:
            note = (logging.WARNING, " ".join(str(warning.message).split()))
            if note not in self.notes and issubclass(warning.category, UserWarning):
                self.notes.append(note)
        if isinstance(found, dict):
            self.inputs |= {str(name): str(text) for name, text in found.items()}
