"""Imports that wait: what a search leaves out of Optuna, and that it is there once it is used."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hydra_plugins.hydra_cvae_sweeper._deferred import deferred

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package with a heavy and a light half, which imports both."""
    name = f"package_of_{tmp_path.name}"
    (tmp_path / name).mkdir()
    files = {
        "__init__": f"from {name} import heavy, light\n",
        "heavy": "number = 42\n",
        "light": f"from {name} import heavy\ndef number(): return heavy.number\n",
    }
    for file, text in files.items():
        (tmp_path / name / f"{file}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_deferred_module_is_imported_when_it_is_used(package: str) -> None:
    heavy = f"{package}.heavy"
    with deferred({heavy}):
        root = __import__(package)
    assert heavy not in sys.modules
    assert root.light.number() == 42  # by the stand-in that it had
    assert sys.modules[heavy].number == 42
    assert root.heavy is sys.modules[heavy]


def test_a_deferred_module_that_is_used_at_once_is_imported_at_once(package: str) -> None:
    with deferred({f"{package}.heavy"}):
        exec(f"from {package}.heavy import number\nassert number == 42")
        assert sys.modules[f"{package}.heavy"].__file__


def test_what_is_imported_later_is_the_module_itself(package: str) -> None:
    with deferred({f"{package}.heavy"}):
        __import__(package)
    exec(f"import {package}.heavy as heavy\nassert heavy.__file__.endswith('heavy.py')")


def test_a_module_that_is_not_installed_is_not_found() -> None:
    with deferred({"no_such_module"}), pytest.raises(ModuleNotFoundError):
        __import__("no_such_module")
    assert "no_such_module" not in sys.modules


def test_a_search_imports_of_optuna_what_it_uses_and_the_rest_on_demand(tmp_path: Path) -> None:
    program = """
        import importlib.util, inspect, sys
        from hydra_plugins.hydra_cvae_sweeper._deferred import OF_OPTUNA, deferred
        with deferred(OF_OPTUNA):
            from hydra_plugins.hydra_cvae_sweeper import _loop
        inspect.getmodule(inspect.currentframe())  # looks into all modules, as torch does
        assert not {"matplotlib", "pandas"} & set(sys.modules)
        import optuna
        if optuna.__version__.startswith("2."):
            assert "scipy" not in sys.modules
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=1))
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
        if importlib.util.find_spec("pandas"):
            assert len(study.trials_dataframe()) == 3
        if importlib.util.find_spec("plotly"):
            assert optuna.visualization.is_available()
    """
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
