"""The errors that end a sweep."""

from __future__ import annotations

from hydra.errors import CompactHydraException


class SweepError(CompactHydraException, ValueError):
    """Ends the sweep: one line for the user, no traceback.

    The exit code is 2 where the sweep could not begin or go on (a mistake in the config, a database
    that is away), as for every other mistake.
    """

    code = 2


class SweepFailed(SweepError):
    """The sweep was run, and its trials or the process that starts them failed."""

    code = 1
