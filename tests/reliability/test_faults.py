"""Kills, full disks, lost databases: nothing is lost or duplicated, and one line says why.

A few cases of each by default; ``CVAE_RELIABILITY=full`` runs the counts of docs/reliability.md.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import (
    QUIET,
    Reader,
    Server,
    command,
    count,
    end,
    finish,
    is_one_line,
    kill,
    kill_something,
    numbers,
    postgresql,
    small_disk,
    smoke,
    start,
    wait_until,
)
from optuna.trial import FrozenTrial, TrialState
from project import compose
from shared import REPOSITORY
from standin import SPACE, Standin, complete
from trial_overhead import few_verbs

from cvae import experiment, results
from cvae import trial as tie
from cvae.run_directory import RunDirectory, RunDirectoryError

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    app = Standin(tmp_path)
    yield app
    end(app)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


class Killed(BaseException):
    """Simulates a kill: no code catches it."""


def die(*_: object) -> None:
    raise Killed


# --- One run -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_killed_anywhere_reaches_the_same_results(tmp_path: Path) -> None:
    draw = random.Random(0)
    (tmp_path / "whole").mkdir()
    words = smoke(tmp_path / "whole", f"training.epochs={count(6, 12)}")
    finish(["--help"], tmp_path / "log")  # this also starts the process that forks the runs
    began = time.monotonic()
    assert finish(words, tmp_path / "log")[0] == 0
    seconds = time.monotonic() - began
    wanted = numbers(tmp_path / "whole" / "run")
    words = [word.replace("/run", "/killed") for word in words]
    found = {"before the first checkpoint": 0, "with a checkpoint": 0, "after the end": 0}
    with Reader(tmp_path / "whole") as reader:
        while found["before the first checkpoint"] + found["with a checkpoint"] < count(2, 50):
            process = start(words, tmp_path / "log")
            time.sleep(draw.uniform(0.0, seconds))
            process.kill()
            process.join()
            killed = tmp_path / "whole" / "killed"
            over = (killed / "result.json").exists()
            kept = (killed / "checkpoint.safetensors").exists()
            found[list(found)[2 if over else kept]] += 1
            if over:
                seconds *= 0.9  # runs are faster than the first one
            code, said = finish(words, tmp_path / "log")
            assert (code, over) in ((0, False), (2, True)), said
            assert ("Resumed from" in said) == (kept and not over)
            assert numbers(killed) == wanted
            assert not list(killed.glob("checkpoint*")) and not list(killed.glob(".*.tmp"))
            shutil.rmtree(killed)
    assert not reader.faults, reader.faults[:3]
    assert reader.reads > 50
    print(f"\nkilled {found}; one run {seconds:.1f} s; {reader.reads} reads")


@pytest.mark.usefixtures("png_only")
def test_a_trial_repeated_after_its_run_had_ended_has_one_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep can be killed between a run's result and the study's record of it."""
    config = compose([*few_verbs(tmp_path), "training.epochs=1"])
    experiment.run(config, tmp_path / "first", [])
    repeat = tie.TrialHandle("study", 1, resume_from=(tmp_path / "first", tmp_path / "gone"))
    monkeypatch.setattr(tie, "current", lambda: repeat)
    experiment.run(config, tmp_path / "second", [])
    assert not (tmp_path / "first" / "result.json").exists()
    frame = results.load(tmp_path)
    assert list(frame["status"]) == ["complete"]


@pytest.mark.usefixtures("png_only")
def test_a_trial_repeated_after_its_last_epoch_has_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose([*few_verbs(tmp_path), "training.epochs=2"])
    experiment.run(config, tmp_path / "whole", [])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(experiment._Run, "_finish", die)
        experiment.run(config, tmp_path / "first", [])
    repeat = tie.TrialHandle("study", 1, resume_from=(tmp_path / "first",))
    monkeypatch.setattr(tie, "current", lambda: repeat)
    experiment.run(config, tmp_path / "second", [])
    assert numbers(tmp_path / "second") == numbers(tmp_path / "whole")


@pytest.mark.usefixtures("png_only")
def test_a_run_killed_between_its_result_and_its_checkpoint_is_finished(tmp_path: Path) -> None:
    config = compose([*few_verbs(tmp_path), "training.epochs=1"])
    experiment.run(config, tmp_path / "run", [])
    (tmp_path / "run" / "checkpoint.safetensors").touch()
    with pytest.raises(RunDirectoryError, match="holds a finished run"):
        experiment.check_directory(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_two_runs_in_one_directory(tmp_path: Path) -> None:
    """The second one is refused and changes no file, not even the saved overrides."""
    words = smoke(tmp_path, "training.epochs=400")
    first = start(words, tmp_path / "log")
    wait_until((tmp_path / "run" / "checkpoint.safetensors").exists)
    files = {path: path.read_bytes() for path in (tmp_path / "run" / ".hydra").iterdir()}
    for other in (words, [*words, "seed=5"]):
        code, said = finish(other, tmp_path / "second")
        assert code == 2 and is_one_line(said) and "is in use by another run" in said, said
    first.kill()
    first.join()
    code, said = finish([*words, "seed=5"], tmp_path / "second")
    assert code == 2 and is_one_line(said) and "interrupted run of another config" in said, said
    assert files == {path: path.read_bytes() for path in (tmp_path / "run" / ".hydra").iterdir()}


@pytest.mark.slow
def test_a_full_disk_costs_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole").mkdir()
    words = smoke(tmp_path / "whole", "training.epochs=6")
    assert finish(words, tmp_path / "log")[0] == 0
    with small_disk(tmp_path / "disk", "96m") as disk:
        words = smoke(disk, "training.epochs=6")
        filler = disk / "filler"
        faults = []
        # With increasing space, the run fails at its first file and at its first checkpoint. Then
        # a run that was killed after its last epoch fails at the weights and at the curves.
        weights = (tmp_path / "whole" / "run" / "weights.safetensors").stat().st_size
        for free in (0, 2**18, 2**20, weights + 2**15):
            filler.unlink(missing_ok=True)
            room = shutil.disk_usage(disk).free
            filler.write_bytes(b"\0" * (room - free))
            checkpoint = disk / "run" / "checkpoint.safetensors"
            before = checkpoint.read_bytes() if checkpoint.exists() else None
            code, said = finish(words, tmp_path / "log")
            errors = [line for line in said.splitlines() if line.startswith("error: ")]
            assert code == 2 and "Traceback" not in said and len(errors) == 1, said
            assert errors[0].endswith("No space left on device"), errors[0]
            assert f"{disk}/run" in errors[0] or "a file of the run" in errors[0]
            if before is not None:
                assert RunDirectory(disk / "run").read_checkpoint() is not None
            assert not list((disk / "run").glob(".*.tmp"))
            faults.append(errors[0])
            if "checkpoint" in errors[0] and before is None:
                filler.unlink()
                with monkeypatch.context() as patch, pytest.raises(Killed):
                    patch.setattr(experiment._Run, "_finish", die)
                    experiment.run(compose(words), disk / "run", [])
        filler.unlink()
        code, said = finish(words, tmp_path / "log")
        assert code == 0, said
        stopped_at = [Path(line.split(": ")[1]).name for line in faults]
        assert stopped_at[1:] == ["checkpoint.safetensors", "weights.safetensors", "curves.png"]
        wanted = numbers(tmp_path / "whole" / "run")
        found = numbers(disk / "run")
        for part in (wanted, found):
            part["config"]["data"] = None
        assert found == wanted
    print("\n" + "\n".join(faults))


@pytest.mark.parametrize("exists", [False, True], ids=["no directory", "a directory"])
def test_a_disk_that_only_reads_is_one_line(tmp_path: Path, exists: bool) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        if exists:
            (disk / "run").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        words = [*smoke(tmp_path)[:-1], f"hydra.run.dir={disk}/run"]
        code, said = finish(words, tmp_path / "log")
        assert code == 2 and is_one_line(said), said
        assert f"{disk}/run" in said and ("Read-only" in said or "not writable" in said)
        if exists:
            return
        code, said = finish(["-m", *words, f"hydra.sweep.dir={disk}/sweep"], tmp_path / "log")
        assert code == 2 and is_one_line(said), said
        assert f"{disk}/sweep" in said and "Read-only" in said


@pytest.mark.slow
@needs_faketime
def test_a_clock_set_back_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    words = smoke(tmp_path / "whole", "training.epochs=6")
    assert finish(words, tmp_path / "log")[0] == 0
    wanted = numbers(tmp_path / "whole" / "run")
    shutil.rmtree(tmp_path / "whole" / "run")
    clock = tmp_path / "clock"
    clock.write_text("@2030-01-01 00:00:00\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "cvae.run", *words],
        env={**os.environ, **QUIET, **faked(clock)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until((tmp_path / "whole" / "run" / "metrics.csv").exists)
    clock.write_text("@2001-01-01 00:00:00\n")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    run = tmp_path / "whole" / "run"
    assert numbers(run) == wanted
    result = RunDirectory(run).read_result()
    assert result["started_at"].startswith("2030-01-01T00:00"), "the clock was faked"
    assert 0 < result["seconds"]["train"] < result["seconds"]["total"] < 120


@pytest.mark.slow
@needs_faketime
def test_a_sweep_whose_clock_is_set_back_goes_on(standin: Standin) -> None:
    clock = standin.directory / "clock"
    clock.write_text("@2030-01-01 00:00:00\n")
    process = standin.start(*SPACE, "hydra.sweeper.n_trials=8", "seconds=0.2", **faked(clock))
    standin.wait_for(lambda trials: len(complete(trials)) >= 2)
    clock.write_text("@2001-01-01 00:00:00\n")
    standin.finish(process)
    trials = standin.trials()
    assert len(trials) == len(complete(trials)) == 8
    years = {trial.datetime_start.year for trial in trials if trial.datetime_start}
    assert years == {2001, 2030}, "the clock was faked"
    assert all(0.2 <= trial.user_attrs["seconds"] < 60 for trial in trials)


def faked(clock: Path) -> dict[str, str]:
    """The environment of a process whose wall clock starts at the time in the file.

    libfaketime replaces the system calls, except for the monotonic clock, which cannot be set.
    """
    # With this libfaketime, the system call of time.sleep fails.
    (clock.parent / "sitecustomize.py").write_text(
        "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"
    )
    return {
        "PYTHONPATH": f"{clock.parent}:{REPOSITORY}",
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


# --- A sweep -----------------------------------------------------------------------------------


def kill_a_sweep(
    standin: Standin, words: list[str], kills: int, **environment: str
) -> tuple[dict[str, int], int]:
    """Two workers share a study; processes of one are killed repeatedly, and it is restarted.

    Returns the number of kills by kind, and the total to which the study was then continued.
    """
    draw = random.Random(1)
    words = [
        *words, "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_retries=100",
        "hydra.sweeper.max_consecutive_failures=0",
    ]  # fmt: skip
    endless = [*words, "hydra.sweeper.n_trials=100000"]
    workers = [standin.start(*endless, **environment) for _ in range(2)]

    def has_work(place: int) -> bool:
        """Whether this worker runs a trial; a worker that has ended is restarted."""
        if workers[place].poll() is not None:
            output, _ = workers[place].communicate()
            assert "Traceback" not in output, output
            workers[place] = standin.start(*endless, **environment)
        return runs_one(trials_of(standin, environment), workers[place].pid)

    killed: dict[str, int] = {}
    done: dict[int, FrozenTrial] = {}
    for _ in range(kills):
        place = draw.randrange(2)
        wait_until(functools.partial(has_work, place))
        time.sleep(draw.uniform(0.0, 2.0))
        for trial in trials_of(standin, environment):
            if trial.state.is_finished():
                assert same(done.setdefault(trial.number, trial), trial)
        what = kill_something(workers[place], draw)
        killed[what] = killed.get(what, 0) + 1
    for worker in workers:
        kill(worker.pid)
        output, _ = worker.communicate(timeout=60)
        assert "Traceback" not in output, output
    total = 4 + sum(
        trial.state.is_finished() and not trial.user_attrs.get("interrupted")
        for trial in trials_of(standin, environment)
    )
    standin.run(*words, f"hydra.sweeper.n_trials={total}", **environment)
    trials = trials_of(standin, environment)
    assert all(same(trial, trials[number]) for number, trial in done.items())
    return killed, total


def runs_one(trials: list[FrozenTrial], pid: int) -> bool:
    """Whether this worker has taken a trial."""
    return any(
        trial.state == TrialState.RUNNING and trial.user_attrs.get("owner", {}).get("pid") == pid
        for trial in trials
    )


def trials_of(standin: Standin, environment: dict[str, str]) -> list[FrozenTrial]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = environment.get("STUDY_URL", f"sqlite:///{standin.directory}/study.db")
    try:
        return optuna.load_study(study_name="standin", storage=url).trials
    except (KeyError, optuna.exceptions.StorageInternalError):
        return []  # the database does not exist yet
    except Exception as error:
        if type(error).__name__ not in ("OperationalError", "ProgrammingError"):
            raise
        return []  # its tables are being created


def same(one: FrozenTrial, other: FrozenTrial) -> bool:
    return (one.state, one.values, one.params) == (other.state, other.values, other.params)


def assert_nothing_lost(trials: list[FrozenTrial], total: int, killed: int) -> None:
    """The study is complete, every trial counts once, and each kill cost at most one."""
    assert all(trial.state.is_finished() for trial in trials)
    counted = [trial for trial in trials if not trial.user_attrs.get("interrupted")]
    assert len(counted) == total
    points = [tuple(sorted(trial.params.items())) for trial in counted]
    assert len(set(points)) == total
    failed = [trial for trial in counted if trial.state == TrialState.FAIL]
    reasons = {trial.user_attrs["reason"] for trial in failed}
    assert reasons <= {"the process was killed by SIGKILL (out of memory?)"}, reasons
    assert len(failed) <= killed
    repeated = [trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs]
    assert sorted(repeated) == [t.number for t in trials if t.user_attrs.get("interrupted")]
    directories = [t.user_attrs["directory"] for t in trials if "directory" in t.user_attrs]
    assert len(set(directories)) == len(directories)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_sweep_killed_anywhere_loses_and_duplicates_nothing(
    standin: Standin, database: str, request: pytest.FixtureRequest
) -> None:
    words, environment = [*SPACE, "seconds=1", "steps=3"], {}
    if database == "postgresql":
        environment = {"STUDY_URL": request.getfixturevalue("server").url}
        words.append("hydra.sweeper.storage=${oc.env:STUDY_URL}")
    with Reader(standin.directory) as reader:
        killed, total = kill_a_sweep(standin, words, count(2, 20), **environment)
    assert not reader.faults, reader.faults[:3]
    trials = trials_of(standin, environment)
    assert_nothing_lost(trials, total, killed.get("trial", 0))
    for trial in complete(trials):
        assert trial.value == pytest.approx((trial.params["x"] - 3.0) ** 2)
    starts = [
        len(path.read_text().splitlines()) for path in standin.sweep.glob("trial_*/starts.txt")
    ]
    assert set(starts) == {1}
    again = sum("retry_of" in trial.user_attrs for trial in trials)
    print(f"\n{database}: killed {killed}; {total} trials counted, {again} repeated")


class RealSweep(Standin):
    """The real program instead of the stand-in."""

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cvae.run", "-m", *words],
            cwd=self.directory,
            env={**os.environ, **QUIET, "PYTHONPATH": str(REPOSITORY), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, code: int = 0, **environment: str) -> str:
        process = self.start(*words, **environment)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output
        return output


@pytest.mark.slow
def test_a_killed_sweep_of_trainings_finds_the_same_numbers(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    app = RealSweep(tmp_path)
    request.addfinalizer(lambda: end(app))
    seeds = ",".join(map(str, range(1000)))
    given = [*few_verbs(tmp_path), "threads=1", "training.epochs=12"]
    words = [
        "sweep=base", *given, f"seed={seeds}", "hydra/sweeper/sampler=grid",
        "hydra/sweeper/pruner=none", "hydra.sweep.dir=sweep", "hydra.sweeper.study_name=standin",
        "hydra.sweeper.storage=sqlite:///study.db",
    ]  # fmt: skip
    with Reader(tmp_path) as reader:
        killed, total = kill_a_sweep(app, words, count(4, 20))
    assert not reader.faults, reader.faults[:3]
    trials = trials_of(app, {})
    assert_nothing_lost(trials, total, killed.get("trial", 0))
    resumed = 0
    for trial in complete(trials):
        directory = app.place(trial)
        seed = trial.params["seed"]
        alone = tmp_path / "alone" / str(seed)
        code, said = finish([*given, f"seed={seed}", f"hydra.run.dir={alone}"], tmp_path / "log")
        assert code == 0, said
        assert numbers(directory) == numbers(alone)
        assert trial.value == RunDirectory(alone).read_result()["objective"]["value"]
        resumed += "Resumed from" in (directory / "run.log").read_text()
    again = sum("retry_of" in trial.user_attrs for trial in trials)
    print(f"\nkilled {killed}; {total} trials counted, {again} repeated, {resumed} resumed")


# --- The database ------------------------------------------------------------------------------


def test_a_server_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg2", reason="its driver is an extra: pip install -e '.[postgresql]'")
    finished = command(
        "-m", "storage=postgresql", "hydra.sweeper.storage_patience=0.5", cwd=tmp_path,
        CVAE_STORAGE_URL="postgresql+psycopg2://someone:s3cr3t@127.0.0.1:9/none",
    )  # fmt: skip
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert is_one_line(finished.stderr), finished.stderr
    assert "Connection refused" in finished.stderr and "127.0.0.1:9/none" in finished.stderr
    assert "s3cr3t" not in finished.stdout + finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("patience", [60, 1], ids=["patient", "impatient"])
def test_a_server_that_is_started_again(standin: Standin, patience: int) -> None:
    """A sweep that waits long enough goes on; another ends with one line and can be continued."""
    rounds, total = count(1, 10), count(8, 60)
    draw = random.Random(patience)
    with postgresql() as server:
        environment = {"STUDY_URL": server.url}
        words = [
            *SPACE, "seconds=0.2", "steps=2", f"hydra.sweeper.n_trials={total}",
            "hydra.sweeper.storage=${oc.env:STUDY_URL}", "hydra.sweeper.n_jobs=1",
            f"hydra.sweeper.storage_patience={patience}", "hydra.sweeper.max_retries=100",
        ]  # fmt: skip
        workers = [standin.start(*words, **environment) for _ in range(2)]

        def grown_by(more: int) -> Callable[[], bool]:
            goal = min(total, len(complete(trials_of(standin, environment))) + more)
            return lambda: len(complete(trials_of(standin, environment))) >= goal

        ended = 0
        for _ in range(rounds):
            wait_until(grown_by(2))
            time.sleep(draw.uniform(0.0, 0.5))
            server.do("stop")
            time.sleep(draw.uniform(0.0, 2.0) + 2 * (patience < 10))
            server.do("start")
            for place, worker in enumerate(workers):
                if worker.poll() is not None:
                    ended += 1
                    output, _ = worker.communicate()
                    assert worker.returncode == 2 and "Traceback" not in output, output
                    assert "did not answer for" in output.splitlines()[-1]
                    workers[place] = standin.start(*words, **environment)
        for worker in workers:
            output, _ = worker.communicate(timeout=120)
            assert "Traceback" not in output, output
        standin.run(*words, **environment)
        assert_nothing_lost(trials_of(standin, environment), total, 0)
        assert patience < 10 or not ended, "a patient sweep goes on"
        print(f"\n{rounds} restarts, {ended} workers ended and were started again")
