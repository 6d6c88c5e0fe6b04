"""Two tests run at the same time on two cores, so each of them uses one thread."""

import os

import pytest

# Before torch is imported; programs that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, so that no worker waits for another one's at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def png_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw only the PNG: PDF and SVG take half of a toy run's time."""
    from cvae import run_figure

    monkeypatch.setattr(run_figure, "FORMATS", ("png",))
