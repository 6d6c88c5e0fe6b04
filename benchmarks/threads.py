"""``python benchmarks/threads.py``: how torch's threads should wait for work.

The loop of an LSTM has thousands of small operations per step; between them all threads but one
wait. Threads that spin react at once, but occupy a core that another program could use, at worst
the one that runs the thread they wait for. Threads that sleep must be woken. Each row is a new
process that trains late epochs of the default config, in which all parts are trained: alone on the
machine, and beside a program that keeps one core busy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring

WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin a moment (as cvae.run does)": {},
    "spin": {"OMP_WAIT_POLICY": "ACTIVE"},
}
_EPOCHS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import measuring, project
overrides, toy = json.loads(sys.argv[2])
made = project.setup([*overrides, *project.LATE], verbs=20 if toy else None)
print(json.dumps(measuring.alternate([made.trainer.train_epoch], 2 if toy else 5)[0]))
"""


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Context in which another process keeps one core busy."""
    program = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        program.kill()
        program.wait()


def epochs(way: dict[str, str], toy: bool) -> dict[str, float]:
    """Seconds per epoch in a new process whose threads wait in this way."""
    overrides = ["debug=smoke"] if toy else []
    environment = measuring.fresh_environment()
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        environment.pop(name, None)
    finished = subprocess.run(
        [sys.executable, "-c", _EPOCHS, str(Path(__file__).parent), json.dumps([overrides, toy])],
        env=environment | way,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return measuring.summary(json.loads(finished.stdout))


def measure(toy: bool) -> dict[str, Any]:
    """All rows."""
    rows = []
    for name, way in WAYS.items():
        alone = epochs(way, toy)
        with busy_core():
            beside = epochs(way, toy)
        rows.append({"way": name, "alone_seconds": alone, "beside_seconds": beside})
    return {"rows": rows}


def show(result: dict[str, Any]) -> str:
    """The table for ``docs/performance.md``."""
    one = result["rows"][0]["alone_seconds"]["median"]
    return measuring.table(
        [
            "threads that wait",
            "epoch alone, s",
            "epoch beside one busy process, s",
            "alone / one thread",
            "beside / alone",
        ],
        [
            [
                row["way"],
                measuring.spread(row["alone_seconds"]),
                measuring.spread(row["beside_seconds"]),
                f"{row['alone_seconds']['median'] / one:.2f}",
                f"{row['beside_seconds']['median'] / row['alone_seconds']['median']:.2f}",
            ]
            for row in result["rows"]
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="How torch's threads should wait.")
    return measuring.command("threads", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
