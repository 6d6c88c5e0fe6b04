"""``python benchmarks/profile_epoch.py``: which operations an epoch's time goes to.

Torch's profiler around whole epochs: of ``experiment=report``, the loop that takes one word a step
(over some hundred words), and of the default config, late epochs in which all of its parts learn.
Shares are of the operations' own processor time; what is left to the whole, the interpreter between
them among it, is said beside them. The profiler itself slows small operations.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import project
import torch
from torch.profiler import ProfilerActivity, profile

SHOWN = 10


def measure(toy: bool) -> dict[str, Any]:
    """The longest operations of both epochs."""
    smoke = ["debug=smoke"] if toy else []
    rows = []
    for name, overrides, verbs in (
        ("one word a step", ["experiment=report", *smoke], 2 if toy else 50),
        ("default", [*smoke, *project.LATE], 20 if toy else None),
    ):
        made = project.setup(overrides, verbs=verbs)
        made.trainer.train_epoch()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # else what the other threads do is counted for some, not all
        began = time.perf_counter()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            made.trainer.train_epoch()
        whole = time.perf_counter() - began
        torch.set_num_threads(threads)
        found = sorted(
            seen.key_averages(), key=lambda event: event.self_cpu_time_total, reverse=True
        )
        inside = sum(event.self_cpu_time_total for event in found) / 1e6
        rows.append(
            {
                "epoch": name,
                "seconds": whole,
                "share_in_operations": inside / whole,
                "calls": sum(event.count for event in found),
                "operations": [
                    {
                        "name": event.key,
                        "share": event.self_cpu_time_total / 1e6 / whole,
                        "calls": event.count,
                    }
                    for event in found[:SHOWN]
                ],
            }
        )
    return {"rows": rows}


def show(result: dict[str, Any]) -> str:
    """The tables that ``docs/performance.md`` takes."""
    shown = []
    for row in result["rows"]:
        table = measuring.table(
            [f"{row['epoch']}: operation", "share of the time", "calls"],
            [
                [f"`{each['name']}`", f"{each['share']:.1%}", f"{each['calls']:,}"]
                for each in row["operations"]
            ],
        )
        shown.append(
            f"{table}\n\n{row['calls']:,} calls, which take {row['share_in_operations']:.0%} of "
            f"{row['seconds']:.2f} s under the profiler, one thread."
        )
    return "\n\n".join(shown)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Which operations an epoch's time goes to.")
    return measuring.command("profile_epoch", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
