"""Start the stand-in application as a user would, and read the study it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPACE = ["x=interval(0.0,6.0)"]


@dataclass
class Standin:
    """The stand-in application in a directory of its own."""

    directory: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    file: str = "study.db"

    @property
    def sweep(self) -> Path:
        return self.directory / "sweep"

    def environment(self, **more: str) -> dict[str, str]:
        """What a program of this application is started with."""
        # COLUMNS and LINES speak of pytest's own terminal.
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CVAE_") and name not in ("COLUMNS", "LINES")
        }
        return variables | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"} | more

    def start(self, *overrides: str, **environment: str) -> subprocess.Popen[str]:
        """Start a sweep and return at once."""
        process = subprocess.Popen(
            [sys.executable, str(HERE / "standin_app.py"), "-m", *overrides],
            cwd=self.directory,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *overrides: str, code: int = 0, **environment: str) -> str:
        """Run a sweep to its end; what it printed."""
        return self.finish(self.start(*overrides, **environment), code)

    def finish(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """Wait for a sweep; what it printed."""
        output, _ = process.communicate(timeout=300)  # for a machine that does other work, too
        assert process.returncode == code, output
        return output

    def study(self, name: str = "standin", file: str | None = None) -> optuna.study.Study:
        """The study as anyone would load it."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = quote(os.fsencode(self.directory / (file or self.file)))
        # SQLAlchemy 2.1 quotes the path once more in the text of a URL.
        url = URL.create("sqlite", database=f"file:{path}", query={"uri": "true"})
        return optuna.load_study(study_name=name, storage=str(url))

    def trials(self) -> list[FrozenTrial]:
        return self.study().trials

    def place(self, trial: FrozenTrial) -> Path:
        """A trial's directory, which the study has relative to the sweep's."""
        assert not os.path.isabs(trial.user_attrs["directory"])
        return self.sweep / trial.user_attrs["directory"]

    def counted(self) -> list[FrozenTrial]:
        """Trials that count towards the total."""
        return [trial for trial in self.trials() if not trial.user_attrs.get("interrupted")]

    def wait_for(
        self, condition: Callable[[list[FrozenTrial]], Any], seconds: float = 40.0
    ) -> None:
        """Wait until the study's trials fulfil a condition."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                # Whoever opens a database makes its tables: not before the sweep has done so.
                if self._is_announced() and condition(self.trials()):
                    return
            except Exception:  # the database is busy
                pass
            time.sleep(0.05)
        raise AssertionError("the study did not get there")

    def _is_announced(self) -> bool:
        path = self.sweep / "sweep.log"
        return path.exists() and "trials done" in path.read_text()


def running(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.RUNNING]


def complete(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]
