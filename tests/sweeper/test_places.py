"""A study in its directory: copied, moved, renamed, under any path; and its trials' names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import hydra
import pytest
from standin import SPACE, Standin, complete, running

# All that a study leaves lies in one directory.
FILE = "sweep/study.db"
INSIDE = f"hydra.sweeper.storage=sqlite:///{FILE}"


def content(directory: Path) -> dict[str, str]:
    """Every file below a directory with its content's digest."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("way", ["copied", "moved"])
def test_a_killed_study_goes_on_where_it_is(way: str, standin: Standin, tmp_path: Path) -> None:
    first, second = (Standin(tmp_path / name, standin.started, FILE) for name in ("a", "b{1}?"))
    first.directory.mkdir()
    command = (*SPACE, "mode=wait", INSIDE, "hydra.sweeper.n_trials=3")
    process = first.start(*command)
    first.wait_for(lambda _: len(list(first.sweep.glob("*/starts.txt"))) == 2, seconds=80)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    before = content(first.directory)
    if way == "copied":
        subprocess.run(["cp", "-rp", first.directory, second.directory], check=True)
    else:
        shutil.move(first.directory, second.directory)
    (second.directory / "go").touch()
    second.run(*command)
    trials = second.trials()
    assert len(complete(trials)) == 3
    for trial in trials:
        place = second.place(trial)
        if "retry_of" in trial.user_attrs:
            former = second.sweep / f"trial_{trial.user_attrs['retry_of']:05d}"
            told = (place / "environment.txt").read_text()
            assert f"CVAE_RESUME_FROM={json.dumps([str(former)])}\n" in told
            assert (former / "unfinished.json").exists()
    assert sum("retry_of" in trial.user_attrs for trial in trials) == 2
    if way == "copied":
        assert content(first.directory) == before, "the original is untouched"
    else:
        assert not first.directory.exists()


NOT_UTF_8 = pytest.param(
    b"caf\xe9",
    marks=pytest.mark.skipif(
        not hydra.__version__.startswith("1.3."),
        reason="OmegaConf 2.4 writes YAML by libyaml, which refuses bytes that are not UTF-8",
    ),
)


@pytest.mark.parametrize("name", [b'it\'s {x}?#% "y" $z:w', NOT_UTF_8, b"a\nb"])
def test_a_sweep_below_any_path_leaves_nothing_outside_it(name: bytes, tmp_path: Path) -> None:
    app = Standin(tmp_path / os.fsdecode(name), file=FILE)
    app.directory.mkdir()
    output = app.run(*SPACE, "steps=1", INSIDE, "hydra.sweeper.n_trials=2")
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    assert os.listdir(app.directory) == ["sweep"]
    trials = app.trials()
    assert len(complete(trials)) == 2
    assert all(trial.intermediate_values for trial in trials), "the jobs reached the study"
    assert "Traceback" not in output and "Logging error" not in output
    # The command that repeats the winner, as it stands there.
    lines = output.splitlines()
    at = next(index for index, line in enumerate(lines) if "to run it again, in " in line)
    place = lines[at].partition("to run it again, in ")[2].rstrip(":")
    command = lines[at + 1].strip()
    pasted = f"cd {place} && {command} hydra.run.dir=again"
    subprocess.run(["bash", "-c", pasted], check=True, env=app.environment(), capture_output=True)
    best = min(trials, key=lambda trial: trial.value or 0.0)
    assert (app.directory / "again/.hydra/config.yaml").read_bytes() == (
        app.place(best) / ".hydra/config.yaml"
    ).read_bytes()


def test_a_study_whose_directory_was_renamed_is_named(standin: Standin) -> None:
    standin.run(*SPACE, INSIDE, "hydra.sweeper.n_trials=1")
    output = standin.run(*SPACE, INSIDE, "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=new")
    assert "file that holds study standin; hydra.sweeper.study_name=standin continues" in output


def test_the_directories_of_trials_are_named_as_the_user_says(standin: Standin) -> None:
    command = (
        "x=choice(1,2)", "kind=choice('a,b',c)", "hydra/sweeper/sampler=grid",
        "hydra.sweep.subdir=mine/${hydra.job.override_dirname}-${hydra:job.num}",
        "hydra.job.config.override_dirname.exclude_keys=[kind]", "hydra.run.dir=elsewhere",
    )  # fmt: skip
    output = standin.run(*command)
    assert "hydra.run.dir has no effect on a sweep" in output
    trials = complete(standin.trials())
    assert len(trials) == 4
    for trial in trials:
        assert trial.user_attrs["directory"] == f"mine/x={trial.params['x']}-{trial.number}"
        assert (standin.place(trial) / "starts.txt").exists()
    assert sorted(path.name for path in (standin.sweep / "mine").iterdir()) == sorted(
        Path(trial.user_attrs["directory"]).name for trial in trials
    )


def test_a_name_that_is_taken_gets_a_number(standin: Standin) -> None:
    standin.run(*SPACE, "hydra.sweep.subdir=same", "hydra.sweeper.n_trials=3")
    assert {trial.user_attrs["directory"] for trial in standin.trials()} == {
        "same", "same_2", "same_3"
    }  # fmt: skip
    assert not running(standin.trials())
