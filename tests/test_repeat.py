"""``cvae.repeat``: the command that is printed repeats the run, wherever it is pasted."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shared import REPOSITORY, python

from cvae import repeat, report_page, results
from cvae.run import config_directory

PROGRAM = f"{sys.executable} -m cvae.run"


@pytest.fixture(autouse=True)
def no_python_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def recorded(run: Path, cwd: Path, sources: str, name: str = "config") -> Path:
    """A run's directory with Hydra's record, as far as it is looked at."""
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "hydra.yaml").write_text(
        f"""hydra:
  run:
    dir: outputs
  job:
    name: run
    config_name: {name}
  runtime:
    version: 1.3.2
    cwd: {json.dumps(str(cwd))}
    config_sources:
    - path: hydra.conf
      schema: pkg
      provider: hydra
{sources}    - path: ''
      schema: structured
      provider: schema
    output_dir: {json.dumps(str(run))}
  verbose: false
"""
    )
    return run


def source(path: Path, provider: str) -> str:
    return f"    - path: {json.dumps(str(path))}\n      schema: file\n      provider: {provider}\n"


def test_the_place_is_named_unless_one_is_there(tmp_path: Path) -> None:
    place = tmp_path / "a place's"
    place.mkdir()
    run = recorded(tmp_path / "run", place, source(config_directory(), "main"))
    assert repeat.command_of(run, "seed=1", here=place) == f"{PROGRAM} seed=1"
    there = f"cd {shlex.quote(str(place))} && {PROGRAM} seed=1"
    assert repeat.command_of(run, "seed=1", here=tmp_path) == there
    assert repeat.command_of(run, "seed=1") == there
    place.rmdir()
    assert repeat.command_of(run, "seed=1", here=tmp_path) == f"{PROGRAM} seed=1"


def test_the_options_are_those_by_which_the_configs_were_found(tmp_path: Path) -> None:
    own, more = tmp_path / "own configs", tmp_path / "more"
    own.mkdir()
    sources = source(own, "main") + source(more, "command-line")
    run = recorded(tmp_path / "run", tmp_path, sources, name="mine")
    assert repeat.command_of(run, "", here=tmp_path) == (
        f"{PROGRAM} --config-path {shlex.quote(str(own))} --config-dir {more} --config-name mine"
    )


@pytest.mark.parametrize("place", ["cvae/_configs", "checkout/configs"])
def test_the_packages_own_configs_are_no_option(place: str, tmp_path: Path) -> None:
    """In another checkout, or installed elsewhere."""
    configs = tmp_path / place
    configs.mkdir(parents=True)
    (configs.parent / "cvae").mkdir()
    (configs.parent / "cvae" / "run.py").write_text("")
    run = recorded(tmp_path / "run", tmp_path, source(configs, "main"))
    assert repeat.command_of(run, "", here=tmp_path) == PROGRAM


@pytest.mark.parametrize("content", [None, "", "hydra: [", "\0", "  runtime:\n    cwd: {a: [\n"])
def test_without_a_record_the_overrides_remain(content: str | None, tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    if content is not None:
        (tmp_path / ".hydra" / "hydra.yaml").write_text(content)
    assert repeat.command_of(tmp_path, "seed=1 anneal=constant") == (
        f"{PROGRAM} seed=1 anneal=constant"
    )


def test_a_python_on_the_path_goes_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    monkeypatch.setattr(sys, "orig_argv", ["/somewhere/" + os.path.basename(sys.executable)])
    name = os.path.basename(sys.executable)
    assert repeat.command_of(tmp_path, "") == f"{name} -m cvae.run"


@pytest.mark.slow
def test_what_is_printed_repeats_the_run_when_pasted(tmp_path: Path) -> None:
    """With configs of one's own, and a path relative to where the run was started."""
    began, elsewhere = tmp_path / "began here", tmp_path / "elsewhere"
    (began / "my configs" / "anneal").mkdir(parents=True)
    elsewhere.mkdir()
    lemmas = ["walk", "talk", "jump", "open", "help", "turn"]
    (began / "my verbs.txt").write_text("".join(f"{w} {w}s {w}ing {w}ed\n" for w in lemmas))
    own = Path(shutil.copytree(config_directory(), tmp_path / "own configs"))
    shutil.copy(own / "anneal" / "constant.yaml", began / "my configs" / "anneal" / "mine.yaml")
    shutil.copy(own / "optim" / "adam.yaml", own / "optim" / "mine.yaml")
    words = [
        "debug=smoke",
        "data=files",
        'data.train_path="my verbs.txt"',
        "anneal=mine",
        "seed=3",
        "optim=mine",
    ]
    options = ["--config-path", str(own), "--config-dir", "my configs"]
    words.append(f"hydra.run.dir={tmp_path / 'run'}")
    ran = python("-m", "cvae.run", *options, *words, cwd=began, timeout=400)
    assert ran.returncode == 0, ran.stderr
    compared = python("-m", "cvae.compare", str(tmp_path / "run"), cwd=elsewhere, timeout=400)
    (printed,) = [line for line in compared.stdout.splitlines() if line.startswith("run again")]
    pasted = printed.removeprefix("run again").strip()
    data = report_page.page_data(results.load(tmp_path / "run"), "")
    assert data["commands"] == {"0": pasted}
    subprocess.run(
        ["sh", "-c", f"{pasted} hydra.run.dir={tmp_path / 'again'}"],
        cwd=elsewhere,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        check=True,
        timeout=400,
    )
    first, again = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("run", "again")
    )
    for key in ("config", "metrics", "objective", "overrides"):
        assert again[key] == first[key]
