"""What an application checks of its trials before the first one: `hydra.sweeper.check`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Check:
    """The application's function, and what it has said so far.

    Attributes:
        function: called with the config of a trial; None if there is none.
        notes: its warnings, each once.
        inputs: what it returned: texts by name, such as the digests of input files, which make a
            study the same study.
    """

    function: Callable[[dict[str, Any]], Any] | None
    notes: list[tuple[int, str]]
    inputs: dict[str, str] = field(default_factory=dict)

    def __call__(self, config: dict[str, Any]) -> None:
        """Check the config of a trial; raises what the function raises."""
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
