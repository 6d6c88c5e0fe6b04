"""What a run prints on a terminal of 80 columns."""

from __future__ import annotations

import io

import pytest

from cvae.reporting import ProgressReport


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_losses_and_scores_fit_beside_a_bar_in_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda _: (80, 24))
    with ProgressReport(1200, 0, print) as report:
        row = {"epoch": 4, "bleu4": 0.1234, "dev_gaussian_score": 0.5, "dev_exact_match": 0.25}
        report.evaluation({**row, "cross_entropy": 12.3, "kl": 33.4})
        report._bar.n = 1198
        report._bar.mininterval = 0
        report.epoch(12.34567, 26.123)
    (line,) = [line for line in terminal.getvalue().splitlines() if "epoch" in line]
    line = line.split("\r")[-1]
    assert line == (
        "epoch    4  CE 12.300  KL 33.40  BLEU-4 ten 0.123  dev Gauss 0.500 exact 0.250"
    )
    assert len(line) < 80
    last = [line for line in terminal.getvalue().split("\r") if "1199/1200" in line][-1]
    assert last.rstrip().endswith("CE 12.35 KL 26.12 ten 0.123 dev Gauss 0.500")
    assert len(last) <= 80
    assert "|#" in last  # what tqdm draws where there is no UTF-8
