"""The errors that end a sweep."""

from __future__ import annotations

from hydra.errors import CompactHydraException


class SweepError(CompactHydraException, ValueError):
    """Ends the sweep: one line for the user, no traceback, exit code 1."""
