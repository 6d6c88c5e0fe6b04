"""A Chromium for each module, and the report page over the module's ``frame`` open in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cvae import report_page

sys.path.insert(0, str(Path(__file__).parent))
import webdriver


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with webdriver.Browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report_page.write(frame, path)
    return path


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.resize(1280, 900)
    browser.dark(False)
    browser.log()
    browser.open(page)
    yield browser
    severe = [entry["message"] for entry in browser.log() if entry["level"] == "SEVERE"]
    assert severe == []
