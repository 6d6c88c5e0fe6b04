"""Other launchers under this sweeper: every trial once, with the right value, and bad ones as rows.

Slurm needs a cluster: tests/sweeper/slurm_node.sh starts one of a single node.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest
from optuna.trial import TrialState
from standin import Standin, complete
from test_halving import CONFIRMED, HALVED, check_halved

pytestmark = pytest.mark.slow


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(f"hydra_plugins.{module}") is not None


def slurm_is_up() -> bool:
    if shutil.which("sinfo") is None:
        return False
    found = subprocess.run(
        ["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True, timeout=30
    )
    return found.returncode == 0 and bool({"idle", "mix", "alloc"} & set(found.stdout.split()))


needs_submitit = pytest.mark.skipif(
    not is_installed("hydra_submitit_launcher"), reason="hydra-submitit-launcher is not installed"
)
LAUNCHERS = [
    pytest.param(
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        id="joblib",
        marks=pytest.mark.skipif(
            not is_installed("hydra_joblib_launcher"),
            reason="hydra-joblib-launcher is not installed",
        ),
    ),
    pytest.param(
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"],
        id="submitit_local",
        marks=needs_submitit,
    ),
    pytest.param(
        [
            "hydra/launcher=submitit_slurm",
            "hydra.launcher.timeout_min=5",
            "hydra.launcher.cpus_per_task=1",
        ],
        id="submitit_slurm",
        marks=[
            needs_submitit,
            pytest.mark.skipif(not slurm_is_up(), reason="sinfo finds no Slurm node at work"),
        ],
    ),
    pytest.param(
        [
            "hydra/launcher=ray",
            "+hydra.launcher.ray.init.num_cpus=2",
            "+hydra.launcher.ray.init.include_dashboard=false",
        ],
        id="ray",
        marks=pytest.mark.skipif(
            not is_installed("hydra_ray_launcher"), reason="hydra-ray-launcher is not installed"
        ),
    ),
]


# Ray's workers would otherwise wait for everything else on the machine.
NOT_NICE = {"RAY_worker_niceness": "0"}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_runs_every_trial_once(standin: Standin, launcher: list[str]) -> None:
    standin.run(
        "x=choice(1,2)", "mode=choice(fine,raise)", "steps=1", *launcher,
        "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.max_consecutive_failures=0", **NOT_NICE,
    )  # fmt: skip
    trials = standin.trials()
    found = {(trial.params["x"], trial.params["mode"]): trial for trial in trials}
    assert len(found) == len(trials) == 4, "every point, and none twice"
    for (x, mode), trial in found.items():
        value = (x - 3.0) ** 2
        directory = standin.place(trial)
        assert directory.name == f"trial_{trial.number:05d}"
        starts = (directory / "starts.txt").read_text().split()
        assert len(starts) == 2, "one start"
        assert int(starts[0]) != standin.started[0].pid, "in another process"
        assert trial.intermediate_values == {0: value}, "the job reached its own trial"
        if mode == "fine":
            assert trial.state == TrialState.COMPLETE and trial.value == value
        else:
            assert trial.state == TrialState.FAIL and trial.value is None
            assert trial.user_attrs["reason"] == "RuntimeError: the reason in two lines"
    jobs = [
        line
        for trial in complete(trials)
        for line in (standin.place(trial) / "environment.txt").read_text().splitlines()
        if line.startswith("SLURM_JOB_ID=")
    ]
    assert len(set(jobs)) == (2 if "hydra/launcher=submitit_slurm" in launcher else 0)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_continues_trials_in_later_batches(
    standin: Standin, launcher: list[str]
) -> None:
    standin.run(*HALVED, CONFIRMED, *launcher, "hydra.sweeper.n_jobs=2", **NOT_NICE)
    check_halved(standin, standin.trials())
    assert sum("confirms" in trial.user_attrs for trial in standin.trials()) == 4
