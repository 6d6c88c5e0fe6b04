"""Helpers of the benchmarks: repetitions, spreads, ratios, the JSON file and the table.

Times are wall-clock seconds. Compared programs run alternately, so that both see the same
machine. A ratio is computed for each turn; its median and range are reported.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = Path(__file__).resolve().parent / "results"

if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from cvae.run import set_up_torch  # noqa: E402

set_up_torch()


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def alternate(runs: Sequence[Callable[[], Any]], repeats: int) -> list[list[float]]:
    """Seconds of the calls, (runs, repeats), which alternate after one unmeasured call each."""
    for run in runs:
        run()
    gc.collect()
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for index, run in enumerate(runs):
            times[index].append(seconds(run))
    return times


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest, highest, and their number."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "count": len(values),
    }


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """``summary`` of the ratios, turn by turn."""
    return summary([a / b for a, b in zip(over, under, strict=True)])


def spread(values: Mapping[str, float], digits: int = 2) -> str:
    """``1.31 (1.27 to 1.40)``."""
    median, low, high = (f"{values[key]:.{digits}f}" for key in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def fresh_environment() -> dict[str, str]:
    """The environment for a program that uses this checkout's modules."""
    known = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *([known] if known else [])]),
    }


def machine() -> dict[str, Any]:
    """Processor, cores, system, versions, and the machine's load."""
    import torch

    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def command(
    name: str,
    measure: Callable[..., dict[str, Any] | Iterator[dict[str, Any]]],
    show: Callable[[dict[str, Any]], str],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    **extra: Any,
) -> int:
    """The common command line of the benchmarks; returns the exit code.

    Args:
        measure: returns the results, or yields the results so far, each of which is written at
            once.
    """
    parser.add_argument("--toy", action="store_true", help="sizes that end in seconds")
    parser.add_argument(
        "--json",
        type=Path,
        help="where the result goes; as shipped benchmarks/results/NAME.json, but none with --toy",
    )
    options = parser.parse_args(arguments)
    path = options.json or (None if options.toy else RESULTS / f"{name}.json")
    result = {
        "benchmark": name,
        "toy": options.toy,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    measured = measure(options.toy, **extra)
    for found in [measured] if isinstance(measured, dict) else measured:
        result |= found
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result, indent=2) + "\n")
    print(show(result))
    return 0
