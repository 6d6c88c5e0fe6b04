"""Free memory goes back to the system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cvae import memory


def resident_bytes() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_pieces_that_are_free_are_returned() -> None:
    if memory._trim() is None:
        pytest.skip("no glibc")
    # Small enough for the heap, and the last one keeps the others from its end.
    pieces = [bytes(50_000) for _ in range(2_000)]
    full = resident_bytes()
    del pieces[:-1]
    memory.return_free_memory()
    assert full - resident_bytes() > 80e6


def test_where_there_is_no_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    memory._trim.cache_clear()
    memory.return_free_memory()
    assert memory._trim() is None
    memory._trim.cache_clear()
