"""``python benchmarks/profile_run.py``: which parts of a whole run its processor time goes to.

Whole runs, from the config to the last file, each in a process of its own on one thread. Every
moment belongs to one phase: a clock of the process's own processor time (user and system) is read
where one phase ends and another begins. Processor seconds hardly change with what else the machine
does, unlike the clock on the wall.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import trial_overhead

RUNS: Final = {
    "default": [],
    "best": ["experiment=best"],
    "single_tuned": ["experiment=single_tuned"],
    "report_tuned": ["experiment=report_tuned"],
    "a trial of sweep=default": ["training.epochs=16", "evaluation.every_epochs=4"],
}

PHASES: Final = (
    "start",
    "words",
    "prior coverage",
    "partition",
    "upper level",
    "optimizers",
    "evaluation",
    "final metrics",
    "likelihoods",
    "files",
    "rest",
)
"""In the order of the table: ``start`` is imports, config, data and networks; ``words`` the step of
the whole model, on the words of a batch; ``prior coverage`` the same on prior draws; ``partition``
settling, following and asking who owns a draw; ``upper level`` its codes, its bound and its own
steps; ``optimizers`` clipping and updates of all parts; ``evaluation`` what training asks for, also
at the end; ``final metrics`` what only the end measures, but for the likelihoods."""


class PhaseClock:
    """Processor seconds by phase; phases nest, and each has only the time of its own."""

    def __init__(self, phase: str) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._phases = [phase]
        self._since = 0.0  # of the process's life, so that the imports count

    def _settle(self) -> None:
        now = time.process_time()
        self.seconds[self._phases[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Within: the time counts for this phase."""
        self._settle()
        self._phases.append(name)
        try:
            yield
        finally:
            self._settle()
            self._phases.pop()

    @property
    def outer(self) -> str:
        """The phase around the innermost."""
        return self._phases[-2]

    def stop(self) -> None:
        """Count the time since the last change."""
        self._settle()

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, whose time counts for a phase."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            with self.phase(name):
                return function(*arguments, **keywords)

        return call


def watch(clock: PhaseClock) -> None:
    """Put the clock around the parts of a run, in this process for good."""
    import torch

    from cvae import evaluation, experiment, figures
    from cvae.coverage import PriorCoverage, PriorPartition
    from cvae.optimizers import Optimizers
    from cvae.run_directory import RunDirectory
    from cvae.training import Trainer
    from cvae.upper_level import UpperLevel

    def wrap(owner: Any, phase: str, *names: str) -> None:
        for name in names:
            setattr(owner, name, clock.timed(getattr(owner, name), phase))

    writers = [name for name in vars(RunDirectory) if name.startswith(("write_", "clear_"))]
    wrap(RunDirectory, "files", *writers)
    wrap(figures, "files", "curves")
    wrap(experiment._Run, "rest", "execute")
    wrap(Trainer, "words", "train_epoch", "_train_model")
    wrap(Trainer, "upper level", "_train_step")  # what is left of it: the steps of its own
    wrap(UpperLevel, "upper level", "prepare")
    wrap(PriorCoverage, "prior coverage", "begin_epoch", "deal")
    wrap(PriorPartition, "partition", "draw", "settle", "update")
    wrap(Optimizers, "optimizers", "set_rates", "step")

    coverage_loss = Trainer._coverage_loss
    covered: list[Any] = []

    def watched_coverage_loss(trainer: Any, generator: Any) -> Any:
        with clock.phase("prior coverage"):
            covered[:] = [coverage_loss(trainer, generator)]
        return covered[0]

    Trainer._coverage_loss = watched_coverage_loss  # type: ignore[method-assign]

    backward = torch.Tensor.backward

    def watched_backward(loss: Any) -> None:
        is_coverage = any(loss is one for one in covered)
        with clock.phase("prior coverage" if is_coverage else clock.outer):  # not the optimizers'
            backward(loss)

    torch.Tensor.backward = watched_backward  # type: ignore[method-assign]

    def measure(seen: Any, which: Any) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for metric in which:
            phase = "evaluation" if metric in evaluation.DURING_TRAINING else "final metrics"
            with clock.phase("likelihoods" if metric is evaluation.likelihood else phase):
                table.update(metric(seen))
        return table

    evaluation.measure = measure


def profiled(overrides: list[str]) -> dict[str, Any]:
    """Run one config in this process, which is good for nothing else afterwards."""
    clock = PhaseClock("start")
    import project

    from cvae import experiment

    watch(clock)
    config = project.compose([*overrides, "threads=1"])
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        experiment.run(config, Path(directory), [])
        wall = time.perf_counter() - began
    clock.stop()
    return {
        "overrides": overrides,
        "epochs": config["training"]["epochs"],
        "processor_seconds": time.process_time(),
        "wall_seconds": wall,
        "phases": clock.seconds,
    }


_PROGRAM: Final = """
import json, sys
sys.path.insert(0, sys.argv[1])
import profile_run
print(json.dumps(profile_run.profiled(json.loads(sys.argv[2]))))
"""


def measure(toy: bool, only: list[str], epochs: int | None) -> Iterator[dict[str, Any]]:
    """Profile the runs, one after the other."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        few = trial_overhead.few_verbs(Path(directory)) if toy else []
        shorter = [] if epochs is None else [f"training.epochs={epochs}"]
        for name in only or RUNS:
            rows.append(_row(name, [*few, *shorter]))
            yield {"rows": rows}


def _row(name: str, extra: list[str]) -> dict[str, Any]:
    overrides = [*RUNS[name], *extra]
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent), json.dumps(overrides)],
        env=measuring.fresh_environment() | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {"run": name, **json.loads(finished.stdout.splitlines()[-1])}


def show(result: dict[str, Any]) -> str:
    """The table that ``docs/performance.md`` takes."""
    rows = result["rows"]

    def shares(phase: str) -> list[str]:
        return [f"{row['phases'][phase] / row['processor_seconds']:.1%}" for row in rows]

    return measuring.table(
        ["phase", *(row["run"] for row in rows)],
        [
            *([phase, *shares(phase)] for phase in PHASES),
            ["epochs", *(row["epochs"] for row in rows)],
            ["processor, s", *(f"{row['processor_seconds']:.0f}" for row in rows)],
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description="Which phases a run's processor time goes to.")
    parser.add_argument("--run", action="append", choices=RUNS, help="only this run; repeatable")
    parser.add_argument("--epochs", type=int, help="shorter runs, for a first look")
    known, _ = parser.parse_known_args(arguments)
    return measuring.command(
        "profile_run",
        measure,
        show,
        parser,
        arguments,
        only=known.run or [],
        epochs=known.epochs,
    )


if __name__ == "__main__":
    sys.exit(main())
