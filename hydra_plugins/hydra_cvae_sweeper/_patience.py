"""Waiting for the study's database while it does not answer."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ._errors import SweepError
from ._stop import StopRequest
from ._storage import STORAGE_TROUBLE, StudyStorage

log = logging.getLogger(__package__)

T = TypeVar("T")


class Patience:
    """Runs an action on the study, and repeats it while the database does not answer."""

    def __init__(self, storage: StudyStorage, stop: StopRequest, seconds: float) -> None:
        self._storage = storage
        self._stop = stop
        self._seconds = seconds

    def __call__(self, action: Callable[[], T], at_most: float = math.inf) -> T:
        """Return what the action returns; it must be one that may be repeated.

        Raises:
            SweepError: if there is no answer within the configured time, or within ``at_most``
                seconds, or if a signal ends the sweep.
        """
        result: T = patiently(
            action,
            seconds=min(at_most, self._seconds),
            trouble=STORAGE_TROUBLE,
            give_up=lambda: bool(self._stop),
            describe=self._storage.explain,
            complain=lambda why: log.warning("the study's database does not answer (%s)", why),
        )
        return result


def patiently(
    action: Callable[[], Any],
    *,
    seconds: float,
    trouble: tuple[type[Exception], ...],
    give_up: Callable[[], bool],
    describe: Callable[[Exception], str],
    complain: Callable[[str], None],
) -> Any:
    """Run an action that may be repeated until it raises none of ``trouble``."""
    began = time.monotonic()
    complained = False
    while True:
        try:
            return action()
        except trouble as error:
            waited = time.monotonic() - began
            if waited >= seconds or give_up():
                raise SweepError(
                    f"the study's database did not answer for {waited:.0f} s "
                    f"({describe(error)}); the same command continues the sweep when it is back"
                ) from None
            if not complained:
                complain(describe(error))
                complained = True
            time.sleep(min(1.0, seconds))
