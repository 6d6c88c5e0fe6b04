"""The program in a new process."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import hydra
import pytest
from shared import python

from cvae import compare, convert, generate, report_page, results
from cvae.run import set_up_torch


def run(*arguments: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return python("-m", "cvae.run", *arguments, cwd=cwd, timeout=timeout)


def test_a_smoke_run_prints_what_the_report_prints(tmp_path: Path) -> None:
    finished = run("debug=smoke", "data=common", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    (directory,) = (tmp_path / "outputs").glob("*/*")
    result = json.loads((directory / "result.json").read_text())
    lines = finished.stdout.splitlines()
    assert sum(" > " in line for line in lines) == 11  # a heading and ten conversions
    assert any(line.startswith("  abandon ") for line in lines)
    assert any(line.startswith("epoch    1  CE") for line in lines)
    assert any(line.startswith("Gaussian score") for line in lines)
    assert any(line.startswith("dev exact match") for line in lines)
    assert max(len(line) for line in lines if not line.startswith(("  ", "Files in"))) <= 80
    assert result["overrides"] == ["debug=smoke", "data=common"]
    assert (directory / ".hydra" / "overrides.yaml").exists()


def test_bad_data_gives_one_message(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("walk walks walking walked\nrun runs running\n")
    finished = run("data=files", f"data.train_path={tmp_path}/train.txt", cwd=tmp_path)
    assert finished.returncode == 2
    assert "train.txt" in finished.stderr
    assert "line 2" in finished.stderr or ":2" in finished.stderr
    assert "Traceback" not in finished.stderr


TOY = (
    "debug=smoke", "data=files", "training.epochs=1", "training.batch_size=16",
    "training.coverage_draws=4", "training.code_draws=8", "evaluation.draws=10",
    "model.hidden_size=8", "model.encoder_hidden_size=4", "model.prior_hidden_size=4",
    "model.grid_size=4", "model.grid_features=1",
)  # fmt: skip


NOT_UTF_8 = pytest.param(
    b"caf\xe9 {b}",
    marks=pytest.mark.skipif(
        not hydra.__version__.startswith("1.3."),
        reason="OmegaConf 2.4 writes YAML by libyaml, which refuses bytes that are not UTF-8",
    ),
)


@pytest.mark.parametrize("name", [b"a {b}?#%='\"\xc3\xa9\\\nc$d,[e]&;*", NOT_UTF_8])
def test_every_program_works_in_a_directory_of_any_name(
    tmp_path: Path, name: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / os.fsdecode(name)
    place.mkdir()
    (place / "train.txt").write_text("Walk,walks,walking,walked\ntalk talks talking talked\n" * 2)
    # The path is relative to the working directory, not to the run's directory.
    words = (*TOY, "data.train_path=train.txt", "hydra.job.chdir=true", "hydra.run.dir=run")
    finished = run(*words, cwd=place, timeout=300)
    assert finished.returncode == 0, finished.stderr
    read, dropped, *_ = (place / "run" / "run.log").read_text().splitlines()
    assert "train.txt: capitals are read in lower case" in read
    assert dropped.endswith("train.txt: 2 repeated rows were dropped")
    assert finished.stdout.startswith(f"{read}\n{dropped}\n") and finished.stderr == ""
    result = json.loads((place / "run" / "result.json").read_text())
    assert result["config"]["data"]["train_path"] == "train.txt"
    directory = str(place / "run")
    for main, *options in (
        (convert.main, directory, "walk", "--to", "past"),
        (generate.main, directory, "-n", "2"),
        (compare.main, str(tmp_path), "--csv", f"{place}/x.csv", "--html", f"{place}/x.html"),
    ):
        assert main(options) == 0
        out, err = capsys.readouterr()
        assert err == ""
    assert "1 run in 1 directory: 1 complete" in out and (place / "x.html").exists()
    frame = results.load(tmp_path)
    assert results.directory_of(frame["run"][0]) == place / "run"
    assert len(results.curves(frame)) == 1
    assert len(report_page.page_data(frame, "Title")["conversions"]) == 1


def test_a_name_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9.txt")
    interpolation = tmp_path / "a${b}"
    interpolation.mkdir()
    for place, path, says in (
        (tmp_path, latin, r"error: data.train_path is 'caf\udce9.txt'; allowed: a text in UTF-8"),
        (interpolation, "train.txt", f"error: {interpolation}: Hydra interprets ${{...}} in the "),
    ):
        (place / path).write_text("walk walks walking walked\n")
        finished = run(*TOY, f"data.train_path='{path}'", cwd=place)
        assert finished.returncode == 2
        assert finished.stderr.startswith(says) and finished.stderr.count("\n") == 1
        assert set(place.iterdir()) - {interpolation} == {place / path}


@pytest.mark.parametrize("program", ["run", "convert", "calibrate", "generate", "compare"])
def test_help(program: str, tmp_path: Path) -> None:
    finished = python("-m", f"cvae.{program}", "--help", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert f"cvae.{program}" in finished.stdout


HEAVY = (
    "torch",
    "optuna",
    "sqlalchemy",
    "alembic",
    "numpy",
    "pandas",
    "scipy",
    "nltk",
    "matplotlib",
)


@pytest.mark.parametrize(
    ("argument", "code", "said"),
    [
        ("--help", 0, "teacher_forcing: constant, exponential"),
        ("seed=x", 2, "error: seed is 'x'"),
        ("training.epoch=3", 2, "did you mean training.epochs?"),
        ("anneal=cyclic", 2, "did you mean cyclical?"),
    ],
)
def test_help_and_errors_do_not_wait_for_slow_imports(
    argument: str, code: int, said: str, tmp_path: Path
) -> None:
    program = (
        "import json, sys\n"
        "from cvae import run\n"
        "try:\n"
        f"    code = run.main([{argument!r}])\n"
        "except SystemExit as exit:\n"
        "    code = exit.code or 0\n"
        "sys.stdout.flush()\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print(json.dumps([code, heavy]))\n"
    )
    finished = python("-c", program, cwd=tmp_path)
    assert said in finished.stdout + finished.stderr
    assert json.loads(finished.stdout.splitlines()[-1]) == [code, []]


def test_help_is_hydras_own_text(tmp_path: Path) -> None:
    """The program avoids copies in Hydra; the help text is the same without this."""
    plain = (
        "import hydra, sys\n"
        "from cvae.run import config_directory\n"
        "sys.argv[1:] = ['--help']\n"
        "config = str(config_directory())\n"
        "hydra.main(version_base='1.3', config_path=config, config_name='config')(print)()\n"
    )
    commands = (["-c", plain], ["-m", "cvae.run", "--help"])
    texts = [python(*command, cwd=tmp_path).stdout for command in commands]
    assert "== Config ==" in texts[0]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_the_default_run_keeps_the_readmes_promise(tmp_path: Path) -> None:
    finished = run("anneal=cyclical", cwd=tmp_path, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    (directory,) = (tmp_path / "outputs").glob("*/*")
    metrics = json.loads((directory / "result.json").read_text())["metrics"]
    assert metrics["bleu4"] >= 0.95
    assert metrics["gaussian_score"] >= 0.45
    assert metrics["gaussian_draws"] == 1000


def test_threads_sleep_soon_unless_the_environment_sets_a_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        monkeypatch.delenv(name, raising=False)
    set_up_torch()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("PASSIVE", "1000")

    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    set_up_torch()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE" and "GOMP_SPINCOUNT" not in os.environ


def test_onednn_keeps_few_kernels_unless_the_environment_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    set_up_torch()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "64"
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "1024")
    set_up_torch()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "1024"
