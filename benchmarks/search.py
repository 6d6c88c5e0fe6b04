"""``python benchmarks/search.py``: what a search gets out of its cores, its memory and its start.

Searches of full-size trials of few epochs, as a user starts them, by one worker and by two:

* work: how many times the work of one trial alone two trials at once do. A trial's own seconds of
  training and evaluation count, so that starts and ends, which ``trial_overhead.py`` measures, do
  not. It needs a machine that does nothing else.
* memory: the highest proportional set size that was seen of a trial (Linux counts a page that
  several processes share once, in equal parts), and of the whole search.
* start: from the command to the first step of the first trial, on the wall clock, and what all
  processes of the search used of the processors by then, which other work hardly changes, over
  what importing torch used in the same turn. ``--start`` measures this alone, in searches that are
  stopped there.

Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import startup
import trial_overhead

EPOCHS: Final = 4  # of a trial
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[list[int]]:
    """A process, its children, their children, and so on: one list for each generation."""
    generations = [[pid]]
    while generations[-1]:
        generations.append([child for parent in generations[-1] for child in children(parent)])
    return generations[:-1]


def children(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            found += map(int, path.read_text().split())
    return found


def processor_seconds(pid: int) -> float:
    """User and system time of one process so far."""
    try:
        # From the third field on: the second, a name in brackets, may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def proportional_megabytes(pid: int) -> float:
    """Proportional set size of one process; 0 once it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    sizes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")]
    return sum(sizes) * 1024 / 1e6


class Watched:
    """A search that runs, seen from outside.

    Attributes:
        megabytes: the most that all its processes together were seen to have.
        trial_megabytes: the most that one trial was seen to have.
        start_seconds: from the command to the first step of the first trial; None before.
        start_processor_seconds: what all its processes had used by then.
    """

    def __init__(self, directory: Path, *, memory: bool) -> None:
        """Watch a search in ``directory``.

        Args:
            memory: whether to watch that, which takes a few percent of a core.
        """
        self.directory = directory
        self.memory = memory
        self.megabytes = 0.0
        self.trial_megabytes = 0.0
        self.start_seconds: float | None = None
        self.start_processor_seconds: float | None = None

    def run(self, command: Sequence[str], *, only_start: bool = False) -> None:
        """Run it to its end, or to the first step of its first trial; it must end well."""
        began = time.perf_counter()
        with subprocess.Popen(
            command,
            cwd=self.directory,
            env=measuring.fresh_environment(),
            stdout=subprocess.DEVNULL,
        ) as program:
            while program.poll() is None:
                if self.start_seconds is None and self._has_begun():
                    self.start_seconds = time.perf_counter() - began
                    everyone = [each for some in family(program.pid) for each in some]
                    self.start_processor_seconds = sum(map(processor_seconds, everyone))
                    if only_start:
                        program.send_signal(signal.SIGTERM)
                if self.memory:
                    self.look(program.pid)
                time.sleep(0.1 if self.start_seconds is None else 0.5)
        if program.returncode != (128 + signal.SIGTERM if only_start else 0):
            raise RuntimeError(f"the search ended with code {program.returncode}")

    def _has_begun(self) -> bool:
        """Whether a trial has said what it trains, right before its first step."""
        logs = self.directory.glob("multirun/*/*/run.log")
        return any("steps an epoch" in path.read_text() for path in logs)

    def look(self, pid: int) -> None:
        """See how much memory the search has now."""
        sizes = [[proportional_megabytes(each) for each in some] for some in family(pid)]
        if len(sizes) > 2:  # the search, the process that starts the trials, the trials
            self.trial_megabytes = max(self.trial_megabytes, *sizes[2])
        self.megabytes = max(self.megabytes, sum(map(sum, sizes)))


def watched(workers: int, *, memory: bool, toy: bool) -> tuple[Watched, float]:
    """A search of two trials a worker (toy: one), and a trial's own seconds in it (median)."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        size = [f"training.epochs={EPOCHS}"]
        if toy:
            size = trial_overhead.few_verbs(directory)
        found = Watched(directory, memory=memory)
        found.run(
            trial_overhead.sweep_command(
                trials=workers if toy else 2 * workers, workers=workers, overrides=size, extra=[]
            )
        )
        ended = [
            json.loads(path.read_text())["seconds"] for path in trial_overhead.results(directory)
        ]
    return found, statistics.median(each["train"] + each["evaluate"] for each in ended)


def started() -> Watched:
    """A search that was stopped at the first step of its first trial."""
    with tempfile.TemporaryDirectory() as name:
        found = Watched(Path(name), memory=False)
        found.run(
            trial_overhead.sweep_command(trials=1, workers=1, overrides=[], extra=[]),
            only_start=True,
        )
    return found


def measure_start(toy: bool) -> dict[str, Any]:
    """Starts of searches, and imports of torch, in turns."""
    searches: list[Watched] = []
    imports: list[float] = []
    for _ in range(1 if toy else 5):
        before = startup.processor_seconds()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        imports.append(startup.processor_seconds() - before)
        searches.append(started())
    used = [one.start_processor_seconds or 0.0 for one in searches]
    return {
        "start_seconds": measuring.summary([one.start_seconds or 0.0 for one in searches]),
        "start_processor_seconds": measuring.summary(used),
        "start_over_import": measuring.ratio(used, imports),
    }


def measure(toy: bool, only_start: bool) -> dict[str, Any]:
    """Searches by one worker and by two, in turns, and starts."""
    return measure_start(toy) if only_start else measure_whole(toy) | measure_start(toy)


def measure_whole(toy: bool) -> dict[str, Any]:
    """Searches by one worker and by two, in turns."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    heavy: dict[int, Watched] = {}
    for _ in range(1 if toy else 3):
        for workers, times in seconds.items():
            found, time_of_trial = watched(workers, memory=toy, toy=toy)
            times.append(time_of_trial)
            heavy[workers] = found
    if not toy:  # for memory alone: to look at it takes time from the trials
        heavy = {workers: watched(workers, memory=True, toy=False)[0] for workers in seconds}
    return {
        "epochs": None if toy else EPOCHS,
        "trial_alone_seconds": measuring.summary(seconds[1]),
        "trial_of_two_seconds": measuring.summary(seconds[2]),
        "work_of_two": measuring.ratio([2 * value for value in seconds[1]], seconds[2]),
        "trial_megabytes": {str(workers): one.trial_megabytes for workers, one in heavy.items()},
        "search_megabytes": {str(workers): one.megabytes for workers, one in heavy.items()},
    }


def show(result: dict[str, Any]) -> str:
    """The table that ``docs/performance.md`` takes."""
    start = [
        ["to the first step, s", "3.0", measuring.spread(result["start_seconds"])],
        ["the same, processor seconds", "", measuring.spread(result["start_processor_seconds"])],
        ["the same / import of torch", "", measuring.spread(result["start_over_import"])],
    ]
    if "work_of_two" not in result:
        return measuring.table(["what", "goal", "measured"], start)
    return measuring.table(
        ["what", "goal", "measured"],
        [
            ["two trials at once / one alone", "1.90", measuring.spread(result["work_of_two"])],
            ["memory a trial, two at once, MB", "350", f"{result['trial_megabytes']['2']:.0f}"],
            ["memory a trial, one at a time, MB", "", f"{result['trial_megabytes']['1']:.0f}"],
            [
                "memory of the whole search, two at once, MB",
                "",
                f"{result['search_megabytes']['2']:.0f}",
            ],
            *start,
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="A search's work, memory and start.")
    parser.add_argument("--start", action="store_true", help="only the start")
    known, _ = parser.parse_known_args(arguments)
    return measuring.command("search", measure, show, parser, arguments, only_start=known.start)


if __name__ == "__main__":
    sys.exit(main())
