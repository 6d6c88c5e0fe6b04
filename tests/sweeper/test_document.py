"""The applications of docs/sweeper.md run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from standin import ROOT, Standin

TEXT = (ROOT / "docs" / "sweeper.md").read_text(encoding="utf-8")
FIRST, REPORTING = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(COMMAND,) = re.findall(r"```console\npython (.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(
    ("program", "more"),
    [
        (FIRST, ""),
        (REPORTING, "hydra/sweeper/pruner=median hydra.sweeper.pruner.n_startup_trials=2"),
    ],
    ids=["first", "reporting"],
)
def test_an_application_of_the_document(program: str, more: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(program)
    line = f"'{sys.executable}' {COMMAND.strip()} hydra.sweeper.n_trials=8 hydra.sweeper.n_jobs=1"
    done = subprocess.run(
        ["bash", "-c", f"{line} hydra.sweeper.seed=0 {more}"],
        cwd=tmp_path,
        env=Standin(tmp_path).environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    trials = optuna.load_study(study_name="first", storage=f"sqlite:///{tmp_path}/study.db").trials
    states = {trial.state for trial in trials}
    assert len(trials) == 8 and TrialState.COMPLETE in states
    assert (TrialState.PRUNED in states) == bool(more)
    assert len(list((tmp_path / "multirun").glob("*/*/trial_*/.hydra"))) == 8
