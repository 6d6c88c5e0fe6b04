"""The fixture of the sweeper's tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin import Standin


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    """A stand-in application; what it started is ended with the test."""
    app = Standin(tmp_path)
    yield app
    for process in app.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=10)
