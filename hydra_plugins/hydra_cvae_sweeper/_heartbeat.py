"""A worker's heartbeat in the study, by which workers on other machines see that it is alive."""

from __future__ import annotations

import logging
import threading

from ._book import Book

log = logging.getLogger(__package__)


class Heartbeat:
    """Beats from a thread, since a stock launcher blocks the main one."""

    def __init__(self, book: Book, seconds: float) -> None:
        self._book = book
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _beat(self) -> None:
        while True:
            try:
                self._book.beat()
            except Exception as error:
                # The main thread reports a lost database.
                log.debug("no heartbeat: %s", type(error).__name__)
            if self._ended.wait(self._seconds):
                return
