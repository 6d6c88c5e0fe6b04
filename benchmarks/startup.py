"""``python benchmarks/startup.py``: seconds from the command to an answer that needs no training.

Each figure is of fresh processes. The processor's seconds (user and system, lowest of all) stand
beside the wall clock's: on a shared machine they say what the program itself takes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring

PROGRAMS = {
    "cvae.run --help": ["-m", "cvae.run", "--help"],
    "cvae.run, a wrong value": ["-m", "cvae.run", "seed=x"],
    "cvae.run, an unknown key": ["-m", "cvae.run", "training.epoch=3"],
    "cvae.run, an unknown member": ["-m", "cvae.run", "anneal=cyclic"],
    "cvae.run --cfg job": ["-m", "cvae.run", "--cfg", "job"],
    "cvae.convert --help": ["-m", "cvae.convert", "--help"],
    "cvae.generate --help": ["-m", "cvae.generate", "--help"],
    "cvae.compare --help": ["-m", "cvae.compare", "--help"],
    "import cvae.experiment (torch)": ["-c", "import cvae.experiment"],
    "import torch": ["-c", "import torch"],
    "import optuna": ["-c", "import optuna"],
    "import pandas": ["-c", "import pandas"],
    "nothing": ["-c", "pass"],
}
TOY = ("cvae.run --help", "cvae.run, a wrong value", "nothing")
ERRORS = ("cvae.run, a wrong value", "cvae.run, an unknown key", "cvae.run, an unknown member")


def processor_seconds() -> float:
    """User and system time of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(toy: bool) -> dict[str, Any]:
    """Seconds of every program."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for name, arguments in PROGRAMS.items():
            if toy and name not in TOY:
                continue
            codes: set[int] = set()
            used: list[float] = []

            def start(
                arguments: list[str] = arguments,
                codes: set[int] = codes,
                used: list[float] = used,
            ) -> None:
                before = processor_seconds()
                finished = subprocess.run(
                    [sys.executable, *arguments],
                    cwd=directory,
                    env=measuring.fresh_environment(),
                    capture_output=True,
                    check=False,
                )
                used.append(processor_seconds() - before)
                codes.add(finished.returncode)

            (times,) = measuring.alternate([start], 2 if toy else 7)
            (code,) = codes
            if code != (2 if name in ERRORS else 0):
                raise RuntimeError(f"{name} ended with code {code}")
            rows.append(
                {
                    "program": name,
                    "code": code,
                    "seconds": measuring.summary(times),
                    "processor_seconds": min(used),
                }
            )
    return {"rows": rows}


def show(result: dict[str, Any]) -> str:
    """The table that ``docs/performance.md`` takes."""
    medians = {row["program"]: row["seconds"]["median"] for row in result["rows"]}
    unit = medians.get("import torch")
    return measuring.table(
        ["program", "/ import torch", "wall, s (goal for help and errors 1.00)", "processor, s"],
        [
            [
                row["program"],
                "" if unit is None else f"{medians[row['program']] / unit:.2f}",
                measuring.spread(row["seconds"]),
                f"{row['processor_seconds']:.2f}",
            ]
            for row in result["rows"]
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Start-up times of the programs.")
    return measuring.command("startup", measure, show, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
