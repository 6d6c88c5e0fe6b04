"""The tests that Hydra ships for every launcher and sweeper plugin.

Its launcher suite wants a sweeper that returns its jobs, in the order of a product of values. No
Optuna sweeper does: the stock one fails each of the tests that are left out here, for that reason.
"""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.plugins import Plugins
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.test_utils.test_utils import TSweepRunner
from hydra.version import VersionBase
from omegaconf import DictConfig

# Hydra 1.4 imports plugins once: their configs must be in the store that fixtures restore.
Plugins.instance()

LOCAL = "hydra/launcher=cvae_local"
OURS = ["hydra/sweeper=cvae_optuna", "hydra.sweeper.n_trials=1"]

# Each reads `sweep.returns`; the last one is of Hydra 1.4.
OF_RETURNED_JOBS = [
    "test_sweep_1_job",
    "test_sweep_1_job_strict",
    "test_sweep_2_jobs",
    "test_sweep_2_optimizers",
    "test_sweep_over_unspecified_mandatory_default",
    "test_sweep_and_override",
    "test_sweep_with_custom_resolver",
    "test_failure_preserves_task_traceback",
]


@pytest.fixture(autouse=True)
def as_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What other tests, or pytest's own arguments, would change; and nothing of it stays behind."""
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    fresh = object.__new__(VersionBase)  # not the one that there is already
    fresh.__init__()  # type: ignore[misc]
    monkeypatch.setattr(VersionBase.instance(), "version_base", fresh.version_base)
    disabled = {log for log in _loggers() if log.disabled}
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    for log in _loggers():
        log.disabled = log in disabled


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [log for log in known if isinstance(log, logging.Logger)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("cvae_local", [])])
class TestLauncher(LauncherTestSuite):
    """Our launcher under the basic sweeper."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [("cvae_local", ["hydra.sweeper.max_batch_size=2"])]
)
class TestLauncherInBatches(BatchedSweeperTestSuite):
    """Our launcher under the basic sweeper, called several times."""


@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", LOCAL])])
class TestLauncherInPrograms(IntegrationTestSuite):
    """Our launcher under the basic sweeper, in programs of their own."""


@pytest.mark.parametrize("launcher_name", ["basic", "cvae_local"])
@pytest.mark.parametrize("overrides", [OURS])
class TestSweeper(LauncherTestSuite):
    """Our sweeper. BatchedSweeperTestSuite has one test, which reads the returned jobs, too."""


def left_out(self: Any, launcher_name: str, overrides: list[str]) -> None:
    pytest.skip("reads the returned jobs; the stock Optuna sweeper returns none")


for _name in OF_RETURNED_JOBS:
    if hasattr(LauncherTestSuite, _name):
        setattr(TestSweeper, _name, left_out)


@pytest.mark.parametrize("task_launcher_cfg", [{}])
@pytest.mark.parametrize(
    "extra_flags",
    [
        ["-m", *OURS, LOCAL],
        pytest.param(["-m", *OURS, "hydra/launcher=basic"], marks=pytest.mark.slow),
    ],
    ids=["local", "basic"],
)
class TestSweeperInPrograms(IntegrationTestSuite):
    """Our sweeper in programs of their own."""

    def generate_custom_cmd(self) -> Callable[..., list[str]]:
        """An objective; without one the stock sweeper fails all of these tests."""

        def with_objective(command: list[str], filename: str) -> list[str]:
            program = Path(command[1])
            text = program.read_text()
            program.write_text(text.replace("\nif __name__", "    return 1.0\n\nif __name__"))
            return command

        return with_objective


def task_that_fails(config: DictConfig) -> None:
    raise LookupError(f"no {config.foo}")


def children() -> set[str]:
    """The commands of this process's children, zombies among them."""
    found = subprocess.run(
        ["ps", "-eo", "ppid=,pid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    ours = (line for line in found if line.split()[0] == str(os.getpid()))
    return {line for line in ours if " ps -eo " not in line}


def sweep(runner: TSweepRunner, directory: Path, *overrides: str, task: Any = None) -> Any:
    return runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=task,
        config_path="configs",
        config_name="compose.yaml",
        overrides=[*overrides, LOCAL],
        temp_dir=directory,
    )


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_failed_job_returns_everything_and_its_traceback(
    hydra_sweep_runner: TSweepRunner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(LookupError, match="no 20") as caught,
        sweep(hydra_sweep_runner, tmp_path, "group1=file2", task=task_that_fails),
    ):
        pass
    shown = "".join(traceback.format_exception(caught.value))
    assert "in task_that_fails" in shown
    assert "overrides: ['group1=file2']" in capfd.readouterr().err


@pytest.mark.usefixtures("hydra_restore_singletons")
@pytest.mark.parametrize("sweeper", ["hydra/sweeper=basic", "hydra/sweeper=cvae_optuna"])
def test_no_process_outlives_its_sweep(
    sweeper: str, hydra_sweep_runner: TSweepRunner, tmp_path: Path
) -> None:
    before = children()
    for number in range(5):
        with sweep(hydra_sweep_runner, tmp_path / str(number), sweeper, "bar=100"):
            pass
    gc.collect()
    assert children() <= before


RESTORED = """
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

Plugins.instance()
names = (("sweeper", "cvae_optuna"), ("launcher", "cvae_local"))
state, store = Singleton.get_state(), ConfigStore.instance()
for group, name in names:
    del state["instances"][ConfigStore].repo["hydra"][group][f"{name}.yaml"]
Singleton.set_state(state)
assert ConfigStore.instance() is not store
for group, name in names:
    assert f"{name}.yaml" in ConfigStore.instance().list(f"hydra/{group}")
"""


@pytest.mark.skipif(
    not hydra.__version__.startswith("1.3."),
    reason="Hydra 1.4 imports plugins once: what is restored without them lacks all of them",
)
def test_the_configs_survive_restored_singletons() -> None:
    """In a process of its own: what other tests did to the singletons would show here."""
    finished = subprocess.run([sys.executable, "-c", RESTORED], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
