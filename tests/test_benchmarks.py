"""Every benchmark runs at toy size and writes its results; no times are asserted."""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARKS = REPOSITORY / "benchmarks"


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def toy(name: str, directory: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """Run one benchmark from its command line; return its result and output."""
    path = directory / f"{name}.json"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--toy", "--json", str(path)]
    finished = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=directory, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    result = json.loads(path.read_text())
    assert result["benchmark"] == name and result["toy"] is True
    assert set(result["machine"]) >= {"processor", "cores", "threads", "load", "torch"}
    return result, finished.stdout


def ordered(summary: dict[str, float]) -> None:
    """A summary is positive, finite and in order."""
    assert 0.0 < summary["low"] <= summary["median"] <= summary["high"] < math.inf
    assert summary["count"] >= 1


def test_startup(tmp_path: Path) -> None:
    result, printed = toy("startup", tmp_path)
    rows = {row["program"]: row for row in result["rows"]}
    assert rows["cvae.run --help"]["code"] == 0
    assert rows["cvae.run, a wrong value"]["code"] == 2
    for row in rows.values():
        ordered(row["seconds"])
    help_seconds = rows["cvae.run --help"]["processor_seconds"]
    assert help_seconds > rows["nothing"]["processor_seconds"]
    assert "| cvae.run --help | " in printed


def test_evaluation(tmp_path: Path) -> None:
    result, _ = toy("evaluation", tmp_path)
    assert [row["epochs_learned"] for row in result["rows"]] == [0, 1]
    for row in result["rows"]:
        assert row["pairs"] == 2700 and row["draws"] == 50
        for key in ("epoch_seconds", "evaluation_seconds", "evaluation_over_epoch"):
            ordered(row[key])


def test_threads(tmp_path: Path) -> None:
    result, printed = toy("threads", tmp_path)
    assert len(result["rows"]) == 4
    for row in result["rows"]:
        ordered(row["alone_seconds"])
        ordered(row["beside_seconds"])
    assert "| sleep at once | " in printed


def test_profile_run(tmp_path: Path) -> None:
    runs = ["default", "single_tuned"]
    result, printed = toy("profile_run", tmp_path, *(f"--run={run}" for run in runs))
    assert [row["run"] for row in result["rows"]] == runs
    two_levels, one_level = (row["phases"] for row in result["rows"])
    for row in result["rows"]:
        assert all(seconds >= 0.0 for seconds in row["phases"].values())
        assert sum(row["phases"].values()) == pytest.approx(row["processor_seconds"], abs=0.1)
    assert all(two_levels.values())
    assert one_level["upper level"] < 0.01 < two_levels["upper level"]
    assert "| likelihoods | " in printed


def test_every_moment_belongs_to_the_innermost_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    profile_run = importlib.import_module("profile_run")
    now = 0.0
    monkeypatch.setattr(profile_run.time, "process_time", lambda: now)
    clock = profile_run.PhaseClock("start")
    now = 1.0
    with clock.phase("words"):
        now = 3.0
        with clock.phase("optimizers"):
            assert clock.outer == "words"
            now = 7.0
        now = 15.0
    now = 31.0
    clock.stop()
    spent = {name: seconds for name, seconds in clock.seconds.items() if seconds}
    assert spent == {"start": 17.0, "words": 10.0, "optimizers": 4.0}


def test_profile_epoch(tmp_path: Path) -> None:
    result, printed = toy("profile_epoch", tmp_path)
    assert [row["epoch"] for row in result["rows"]] == ["one word a step", "default"]
    for row in result["rows"]:
        assert 0.0 < row["share_in_operations"] <= 1.0
        shares = [each["share"] for each in row["operations"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= row["share_in_operations"]
    assert "default: operation" in printed


def test_throughput(tmp_path: Path) -> None:
    result, printed = toy("throughput", tmp_path)
    assert [row["networks"] for row in result["epochs"]] == ["report", "one level"]
    for row in result["epochs"]:
        assert row["words"] == 80
        assert 0 < row["useful_flops_done"] < row["useful_flops"]
        for key in ("share", "share_done", "of_one_word_a_step", "product_flops_per_second"):
            ordered(row[key])
        expected = row["useful_flops"] / row["useful_flops_done"]
        assert row["share"]["median"] / row["share_done"]["median"] == pytest.approx(expected)
    modes = [(row["networks"], row["feedback"]) for row in result["scheduled_sampling"]]
    assert modes == [("report", "output"), ("report", "symbol"), ("one level", "symbol")]
    assert "| report | 16 | " in printed


def test_useful_flops_are_those_that_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the closed form with torch's counter, for a step without padding and loss."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cvae import recurrence
    from cvae.model import build_model

    # The counter does not count oneDNN's product.
    monkeypatch.setattr(recurrence, "_LINEAR", None)
    throughput = importlib.import_module("throughput")
    hidden, latent, condition, letters, words = 24, 6, 4, 5, 7
    model = build_model(
        "report",
        latent_size=latent,
        condition_size=condition,
        hidden_size=hidden,
        feedback="output",
    )
    symbols = torch.randint(26, (words, letters + 1))
    lengths, tense = torch.full((words,), letters + 1), torch.zeros(words, dtype=torch.long)
    # The counter counts mm, but not addmm_, which adds to an existing tensor.
    adding = {torch.ops.aten.addmm_: lambda _, left, right, **__: 2 * left[0] * left[1] * right[1]}
    counter = FlopCounterMode(display=False, custom_mapping=adding)
    with counter, torch.no_grad():
        code = model.encode(symbols, lengths, tense).mean
        model.reconstruction(code, tense, symbols)
    # The table's own products do not grow with the words: 30 rows for each of two LSTMs.
    table = 2 * 30 * 2 * 4 * hidden * hidden
    counted = throughput.useful_flops(model, [letters] * words, by_table=True)
    assert counter.get_total_flops() - table == counted / 3
    more = throughput.useful_flops(model, [letters] * words, by_table=False) - counted
    steps = (letters + 2) + (letters + 1)
    assert more == 3 * words * steps * 2 * 4 * hidden * hidden


def test_lstm_cell(tmp_path: Path) -> None:
    result, _ = toy("lstm_cell", tmp_path)
    (row,) = result["rows"]
    assert row["largest_difference"] < 1e-5
    ordered(row["training_ratio"])
    ordered(row["forward_ratio"])


def test_trial_overhead(tmp_path: Path) -> None:
    result, _ = toy("trial_overhead", tmp_path)
    assert result["trials"] == 3
    assert result["overhead_seconds"]["count"] == 2
    ordered(result["overhead_seconds"])
    whole, work = result["trial_seconds"], result["training_and_evaluation_seconds"]
    assert whole["median"] > work["median"]


def test_search(tmp_path: Path) -> None:
    result, printed = toy("search", tmp_path)
    for key in ("work_of_two", "start_seconds", "start_processor_seconds", "start_over_import"):
        ordered(result[key])
    for workers in ("1", "2"):
        assert 10.0 < result["trial_megabytes"][workers] < result["search_megabytes"][workers]
    assert "| memory a trial, two at once, MB | 350 | " in printed


def test_a_search_is_seen_with_all_its_processes(tmp_path: Path) -> None:
    search = importlib.import_module("search")
    holds = "x = b'x' * 50_000_000; import time; time.sleep(60)"
    starts = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with subprocess.Popen([sys.executable, "-c", starts, holds]) as program:
        try:
            deadline = time.monotonic() + 60
            size = 0.0
            while size < 50.0 and time.monotonic() < deadline:
                generations = search.family(program.pid)
                size = search.proportional_megabytes(generations[-1][0])
            assert len(generations) == 2 and 50.0 < size < 100.0
            assert search.processor_seconds(generations[-1][0]) > 0.0
        finally:
            for generation in reversed(search.family(program.pid)):
                for pid in generation:
                    os.kill(pid, signal.SIGKILL)
    assert search.proportional_megabytes(program.pid) == search.processor_seconds(program.pid) == 0


def test_growth(tmp_path: Path) -> None:
    result, _ = toy("growth", tmp_path, "--picture", str(tmp_path / "growth.png"))
    axes = {axis["axis"]: axis for axis in result["axes"]}
    names = ["verbs", "verbs, prior coverage", "hidden size", "batch size", "latent size"]
    assert list(axes) == names
    for axis in axes.values():
        assert len(axis["rows"]) == 3
        assert math.isfinite(axis["exponent"]) and axis["standard_error"] >= 0.0
    assert len(result["memory"]["megabytes"]) == 5
    assert result["memory"]["megabytes_at_the_end"] > 50
    ordered(result["sweep"]["one_over_two"])
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_exponent_of_a_square_is_two() -> None:
    growth = importlib.import_module("growth")
    found = growth.slope([10, 100, 1000], [3e-3, 0.3, 30.0])
    assert found["exponent"] == pytest.approx(2.0)
    assert found["standard_error"] == pytest.approx(0.0, abs=1e-6)


def test_made_up_verbs_are_different_and_can_be_spelled() -> None:
    growth = importlib.import_module("growth")
    from cvae.alphabet import MAX_WORD_LENGTH, encode

    verbs = growth.made_up_verbs(5000)
    words = {form for verb in verbs for form in verb.preferred}
    assert len({verb.preferred for verb in verbs}) == 5000
    assert max(map(len, words)) <= MAX_WORD_LENGTH
    assert all(encode(word) for word in words)


def test_time_to_quality(tmp_path: Path) -> None:
    result, _ = toy("time_to_quality", tmp_path)
    (run,) = result["runs"]
    assert run["reached"] and run["epoch"] == 1
    assert run["seconds"] > run["seconds_of_training_and_evaluation"] > 0.0


def test_quality_is_reached_by_both_numbers_in_one_row(tmp_path: Path) -> None:
    time_to_quality = importlib.import_module("time_to_quality")
    table = tmp_path / "metrics.csv"
    assert time_to_quality.reached(table, bleu4=0.9, gaussian=0.4) is None
    table.write_text(
        "epoch,seconds,bleu4,dev_gaussian_score\n1,5,0.99,0.1\n2,9,0.5,0.6\n3,14,0.9,0.4\n4,20,1,1\n"
    )
    assert time_to_quality.reached(table, bleu4=0.9, gaussian=0.4)["epoch"] == "3"
    assert time_to_quality.reached(table, bleu4=1.0, gaussian=1.1) is None


def test_summaries_and_ratios_by_hand() -> None:
    measuring = importlib.import_module("measuring")
    assert measuring.summary([3.0, 1.0, 2.0]) == {
        "median": 2.0,
        "low": 1.0,
        "high": 3.0,
        "count": 3,
    }
    assert measuring.ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0])["median"] == 2.0
    assert measuring.spread(measuring.summary([1.0, 2.0, 3.0])) == "2.00 (1.00 to 3.00)"
    assert measuring.table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
    calls: list[str] = []
    times = measuring.alternate([lambda: calls.append("a"), lambda: calls.append("b")], 2)
    assert "".join(calls) == "ababab" and [len(found) for found in times] == [2, 2]


def test_the_documents_tables_come_from_the_results(tmp_path: Path) -> None:
    report = importlib.import_module("report")
    text = (REPOSITORY / "docs" / "performance.md").read_text()
    document = tmp_path / "performance.md"
    document.write_text(text)
    toy("lstm_cell", tmp_path)
    report.main(["--results", str(tmp_path), "--document", str(document)])
    written = document.read_text()
    assert "| 8 | 12 | 16 | " in written
    assert "Not measured yet: `python benchmarks/growth.py`." in written
    strip = report.filled(written, dict.fromkeys(report.BENCHMARKS, ""))
    assert strip == report.filled(text, dict.fromkeys(report.BENCHMARKS, ""))
    with pytest.raises(ValueError, match="no markers for other"):
        report.filled(text, {"other": ""})
