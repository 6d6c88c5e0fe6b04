"""Ctrl-C and termination signals: end the sweep at a safe point, with the study in order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Ends a call that does not check the flag, such as a batch of a stock launcher."""


class StopRequest:
    """Records the first signal. The second one has its usual effect."""

    def __init__(self) -> None:
        self.name = ""
        self.number = 0
        self._raises = False
        self._former: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        return self.number != 0

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                if signal.getsignal(signum) != signal.SIG_IGN:  # nohup stays effective
                    self._former[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Context in which a signal raises Stopped immediately, and does not only set the flag."""
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def _handle(self, signum: int, _: FrameType | None) -> None:
        self.number, self.name = signum, signal.Signals(signum).name
        self._restore()
        if self._raises:
            raise Stopped

    def _restore(self) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        self._former = {}
