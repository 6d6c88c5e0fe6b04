"""The sweep as a user sees it: totals, failures, resuming, workers, pruning, secrets."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState
from standin import HERE, ROOT, SPACE, Standin, complete, running


def reasons(standin: Standin) -> list[str]:
    return [str(t.user_attrs.get("reason", "")) for t in standin.trials()]


def results(standin: Standin) -> dict[str, Any]:
    content = yaml.safe_load((standin.sweep / "optimization_results.yaml").read_text())
    assert isinstance(content, dict)
    return content


def saved_config(standin: Standin, trial: FrozenTrial) -> dict[str, Any]:
    path = standin.place(trial) / ".hydra/config.yaml"
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def starts_per_directory(standin: Standin) -> dict[str, int]:
    return {
        path.parent.name: len(path.read_text().splitlines())
        for path in standin.sweep.glob("trial_*/starts.txt")
    }


def points(trials: list[FrozenTrial]) -> list[tuple[tuple[str, Any], ...]]:
    return [tuple(sorted(trial.params.items())) for trial in trials]


# --- the ordinary case -----------------------------------------------------------------------


def test_a_sweep_and_its_continuation(standin: Standin) -> None:
    output = standin.run(*SPACE, "kind=choice(plain,fancy)")
    trials = standin.trials()
    assert len(complete(trials)) == 6
    for trial in trials:
        assert trial.value == pytest.approx((trial.params["x"] - 3.0) ** 2)
        assert standin.place(trial).name == f"trial_{trial.number:05d}"
        saved = saved_config(standin, trial)
        assert saved["x"] == trial.params["x"]
        assert saved["kind"] == trial.params["kind"]
        application = yaml.safe_load((HERE / "config/config.yaml").read_text())
        assert set(saved) == {*application, "shape"} - {"defaults", "hydra"}
        assert f"x={trial.params['x']}" in trial.user_attrs["overrides"]
        assert trial.user_attrs["owner"]["pid"] == standin.started[0].pid
    best = min(trials, key=lambda t: t.value or 0.0)
    assert results(standin)["best_value"] == best.value
    assert results(standin)["best_params"] == best.params
    assert results(standin)["best_directory"] == best.user_attrs["directory"]
    # One line a trial, and nothing of what the jobs print or the libraries say.
    lines = [line for line in output.splitlines() if re.search(r"\d/6 #\d complete", line)]
    assert len(lines) == 6
    assert "printed by" not in output and "alembic" not in output
    assert "printed by" in (standin.sweep / "trial_00000/console.log").read_text()
    assert (standin.sweep / "multirun.yaml").exists()
    log = (standin.sweep / "sweep.log").read_text()
    assert len(re.findall(r"/6 #\d complete", log)) == 6 and "6 trials: 6 complete" in log

    # The same command: nothing to do. A higher total: only the rest.
    standin.run(*SPACE, "kind=choice(plain,fancy)")
    assert len(standin.trials()) == 6
    standin.run(*SPACE, "kind=choice(plain,fancy)", "hydra.sweeper.n_trials=9")
    assert len(complete(standin.trials())) == 9
    assert len(set(points(standin.trials()))) == 9  # the seed has moved on
    assert set(starts_per_directory(standin).values()) == {1}


def test_jobs_are_parallel_without_a_barrier_and_with_one_thread(standin: Standin) -> None:
    # One job sleeps as long as the others together; with a barrier this would take twice that.
    standin.run(
        *SPACE,
        "seconds=choice(2.0,0.1)",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.n_trials=8",
    )
    trials = standin.trials()
    spans = [(t.datetime_start, t.datetime_complete) for t in trials]
    assert any(
        a[0] < b[0] and b[1] < a[1]  # type: ignore[operator]
        for a in spans
        for b in spans
    ), "some trial began and ended while another ran"
    for path in standin.sweep.glob("trial_*/starts.txt"):
        assert path.read_text().split()[1] == "1"


def test_seeds_and_workers(standin: Standin, tmp_path: Path) -> None:
    def sampled(folder: str, *overrides: str) -> list[float]:
        app = Standin(tmp_path / folder)
        app.directory.mkdir()
        app.run(*SPACE, "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=3", *overrides)
        return [trial.params["x"] for trial in app.trials()]

    first = sampled("a")
    assert first[0] == pytest.approx(2.5021, abs=1e-4), "the seed in the config"
    assert not set(sampled("b", "hydra.sweeper.worker=1")) & set(first)


# --- failures --------------------------------------------------------------------------------


def test_every_kind_of_failure_is_a_row(standin: Standin) -> None:
    modes = "raise,notfinite,none,text,exit,sysexit,kill,segfault,fine"
    standin.run(
        f"mode={modes}", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=20",
        "hydra.sweeper.max_consecutive_failures=0",
    )  # fmt: skip
    trials = {trial.params["mode"]: trial for trial in standin.trials()}
    assert len(trials) == len(standin.trials()) == 9
    said = {mode: trial.user_attrs.get("reason") for mode, trial in trials.items()}
    assert said["raise"] == "RuntimeError: the reason in two lines"
    assert said["notfinite"] == "the objective is not finite: nan"
    assert said["none"] == "the objective is not a number: None"
    assert said["text"] == "the objective is not a number: 'not a number'"
    assert said["exit"] == "the process ended with code 3 without a result"
    assert said["sysexit"] == "SystemExit: 4"
    assert said["kill"] == "the process was killed by SIGKILL (out of memory?)"
    assert said["segfault"] == "the process was killed by SIGSEGV"
    assert trials["fine"].state == TrialState.COMPLETE
    assert all(t.state == TrialState.FAIL for mode, t in trials.items() if mode != "fine")
    for mode, trial in trials.items():
        file = standin.place(trial) / "unfinished.json"
        if mode == "fine":
            assert not file.exists()
            continue
        assert json.loads(file.read_text()) == {
            "status": "failed", "reason": said[mode],
            "trial": {"study": "standin", "number": trial.number},
        }  # fmt: skip
    assert results(standin)["best_params"] == {"mode": "fine"}
    traceback = (standin.place(trials["raise"]) / "console.log").read_text()
    assert "RuntimeError: the reason" in traceback


def test_failures_in_a_row_end_the_sweep(standin: Standin) -> None:
    output = standin.run(*SPACE, "mode=raise", "hydra.sweeper.max_consecutive_failures=3", code=1)
    message = output.splitlines()[-1]
    assert "3 trials failed one after the other" in message
    assert "RuntimeError: the reason in two lines" in message
    assert "Traceback" not in output
    assert not running(standin.trials())
    assert sum(t.state == TrialState.FAIL for t in standin.counted()) == 3


@pytest.mark.parametrize(("rate", "run"), [("0.0", 1), ("1.0", 6)])
def test_the_ends_of_the_failure_rate(rate: str, run: int, standin: Standin) -> None:
    output = standin.run(
        *SPACE, "mode=raise", f"hydra.sweeper.max_failure_rate={rate}", "hydra.sweeper.n_jobs=1",
        code=1,
    )  # fmt: skip
    assert len(standin.counted()) == run
    assert "hydra.sweeper.retry_failed=true runs failed trials again" in output.splitlines()[-1]


def test_failed_trials_are_run_again_when_asked(standin: Standin) -> None:
    command = (*SPACE, "mode=data", "hydra.sweeper.n_trials=2")
    standin.run(*command, code=1)
    (standin.directory / "data.txt").touch()
    output = standin.run(*command, code=1)
    assert "2 of them failed; hydra.sweeper.retry_failed=true" in output, "not by itself"
    standin.run(*command, "hydra.sweeper.retry_failed=true")
    trials = standin.trials()
    assert [trial.state for trial in trials] == 2 * [TrialState.FAIL] + 2 * [TrialState.COMPLETE]
    assert [trial.params for trial in trials[:2]] == [trial.params for trial in trials[2:]]
    for trial in trials[:2]:
        word = json.loads((standin.place(trial) / "unfinished.json").read_text())
        assert word["status"] == "interrupted"


def test_a_repeat_is_not_run(standin: Standin) -> None:
    command = ("x=choice(1,2)", "kind=choice(a,b)", "hydra/sweeper/sampler=random")
    output = standin.run(*command, "hydra.sweeper.n_trials=8")
    trials = complete(standin.trials())
    assert len(trials) == len(set(points(trials))) == len(list(standin.sweep.glob("trial_*"))) == 4
    assert "no further point was found: the search ends with 4 of 8 trials" in output
    repeats = [trial for trial in standin.trials() if "repeat_of" in trial.user_attrs]
    assert f"{len(repeats)} proposals repeated a trial and were not run again" in output
    assert all(
        trial.params == standin.trials()[trial.user_attrs["repeat_of"]].params for trial in repeats
    )
    standin.run(*command, "hydra.sweeper.n_trials=6", "hydra.sweeper.repeats=true")
    assert len(complete(standin.trials())) == 6
    output = standin.run(*command, "hydra.sweeper.n_trials=1")
    assert "6 trials done, 1 asked for: nothing to do" in output


def test_mistakes_end_before_the_first_trial(standin: Standin) -> None:
    output = standin.run("xx=interval(0,1)", code=2)
    assert "xx" in output and output.count("\n") == 1 and "in a trial with xx=0" in output
    assert not list(standin.directory.iterdir())


# --- interruption ----------------------------------------------------------------------------


@pytest.mark.slow
def test_sigkill_of_the_sweep_and_resume(standin: Standin) -> None:
    command = (*SPACE, "seconds=0.4", "hydra.sweeper.n_trials=8")
    process = standin.start(*command)
    standin.wait_for(lambda trials: len(complete(trials)) >= 2 and len(running(trials)) == 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    before = {trial.number: trial for trial in standin.trials()}
    assert (standin.sweep / "optimization_results.yaml").exists()
    time.sleep(0.6)
    finished = {n for n, t in before.items() if t.state == TrialState.COMPLETE}

    standin.run(*command)
    after = {trial.number: trial for trial in standin.trials()}
    for number in finished:
        assert after[number] == before[number]
    interrupted = [trial for trial in after.values() if trial.user_attrs.get("interrupted")]
    assert interrupted and not running(list(after.values()))
    assert {t.number for t in interrupted} == set(before) - finished
    for old in interrupted:
        assert old.state == TrialState.FAIL
        again = [t for t in after.values() if t.user_attrs.get("retry_of") == old.number]
        assert len(again) == 1
        if old.params:
            assert again[0].params == old.params
        if "directory" in old.user_attrs:
            environment = (standin.place(again[0]) / "environment.txt").read_text()
            assert f"CVAE_RESUME_FROM={json.dumps([str(standin.place(old))])}\n" in environment
            word = json.loads((standin.place(old) / "unfinished.json").read_text())
            assert word["status"] == "interrupted"
            assert word["reason"].endswith("; repeated under another number")
    assert len(complete(standin.counted())) == 8
    assert set(starts_per_directory(standin).values()) == {1}


def test_the_jobs_die_with_the_sweep(standin: Standin) -> None:
    process = standin.start(*SPACE, "seconds=60")
    standin.wait_for(lambda _: len(starts_per_directory(standin)) == 2)
    jobs = [int(path.read_text().split()[0]) for path in standin.sweep.glob("*/starts.txt")]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in jobs) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in jobs)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_the_study_in_order(standin: Standin, signum: signal.Signals) -> None:
    command = (*SPACE, "seconds=choice(0.02,60)", "hydra.sweeper.n_trials=4")
    process = standin.start(*command)
    standin.wait_for(
        lambda trials: (
            len([t for t in running(trials) if "directory" in t.user_attrs]) == 2
            and all((standin.place(t) / "starts.txt").exists() for t in running(trials))
            and all(t.params["seconds"] == 60 for t in running(trials))
        )
    )
    process.send_signal(signum)
    output = standin.finish(process, code=128 + signum)
    assert f"stopped by {signum.name}" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert not running(standin.trials())
    interrupted = [t for t in standin.trials() if t.user_attrs.get("interrupted")]
    assert {t.user_attrs["reason"] for t in interrupted} == {f"interrupted by {signum.name}"}
    assert len(interrupted) == 2
    waiting = [t for t in standin.trials() if t.state == TrialState.WAITING]
    assert {t.user_attrs["retry_of"] for t in waiting} == {t.number for t in interrupted}


# --- several workers -------------------------------------------------------------------------


def test_two_workers_share_a_study(standin: Standin) -> None:
    command = (*SPACE, "hydra.sweeper.n_trials=16", "hydra.sweeper.n_jobs=1")
    workers = [standin.start(*command) for _ in range(2)]
    for worker in workers:
        standin.finish(worker)
    trials = standin.trials()
    assert len(trials) == len(complete(trials)) == 16
    assert len(set(points(trials))) == 16
    assert starts_per_directory(standin) == {f"trial_{n:05d}": 1 for n in range(16)}
    owners = {trial.user_attrs["owner"]["pid"] for trial in trials}
    assert owners == {worker.pid for worker in workers}


@pytest.mark.slow
def test_one_of_two_workers_is_killed(standin: Standin) -> None:
    command = (*SPACE, "seconds=0.3", "hydra.sweeper.n_trials=10", "hydra.sweeper.n_jobs=1")
    victim, survivor = (standin.start(*command) for _ in range(2))

    def has_work(trials: list[FrozenTrial]) -> bool:
        return any(t.user_attrs.get("owner", {}).get("pid") == victim.pid for t in running(trials))

    standin.wait_for(has_work)
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=20)
    standin.finish(survivor)
    trials = standin.trials()
    assert len(complete(trials)) == len(standin.counted()) == 10
    links = [t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs]
    assert sorted(links) == sorted(t.number for t in trials if t.user_attrs.get("interrupted"))
    assert len(links) == len(set(links)) == 1


def test_a_grid_is_covered_once_whatever_happens(standin: Standin) -> None:
    command = (
        "x=choice(1,2,3)", "y=choice(0,1)", "kind=choice('a,b',c)", "seconds=0.2",
        "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=100",
    )  # fmt: skip
    victim = standin.start(*command)
    standin.wait_for(lambda trials: len(complete(trials)) >= 3)
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=20)
    workers = [standin.start(*command, "hydra.sweeper.n_jobs=1") for _ in range(2)]
    for worker in workers:
        standin.finish(worker)
    counted = standin.counted()
    assert len(counted) == len(complete(counted)) == len(set(points(counted))) == 12
    assert {saved_config(standin, trial)["kind"] for trial in counted} == {"a,b", "c"}


def test_a_key_fixed_on_the_command_line_leaves_the_grid(standin: Standin) -> None:
    standin.run("hydra/sweeper=gridded", "y=2", "steps=2")
    trials = standin.trials()
    assert sorted(t.params["x"] for t in complete(trials)) == [1, 2, 3]
    assert all(set(t.params) == {"x"} for t in trials)
    assert all(t.value == (t.params["x"] - 3) ** 2 + 2 for t in trials)
    assert all(len(t.intermediate_values) == 2 for t in trials), "a grid is not pruned"


# --- pruning, objectives, samplers -----------------------------------------------------------


@pytest.mark.parametrize("pruner", ["median", "successive_halving"])
def test_pruning_stops_bad_trials_early(standin: Standin, pruner: str) -> None:
    settings = {
        "median": ["hydra.sweeper.pruner.n_startup_trials=2"],
        "successive_halving": ["hydra.sweeper.pruner.reduction_factor=2"],
    }[pruner]
    standin.run(
        *SPACE, "steps=4", "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=1",
        f"hydra/sweeper/pruner={pruner}", "hydra/sweeper/sampler=random", *settings,
    )  # fmt: skip
    trials = standin.trials()
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert 2 <= len(pruned) <= 10 and len(pruned) + len(complete(trials)) == 12
    for trial in pruned:
        assert 1 <= len(trial.intermediate_values) <= 4
        assert trial.value == list(trial.intermediate_values.values())[-1]
        assert re.match("stopped at step", trial.user_attrs["reason"])
    best = min(complete(trials), key=lambda t: t.value or 0.0)
    assert all((trial.value or 0.0) > (best.value or 0.0) for trial in pruned)


def test_several_objectives(standin: Standin) -> None:
    standin.run(
        *SPACE, "two=true", "steps=1", "hydra.sweeper.direction=[minimize,maximize]",
        "hydra/sweeper/sampler=nsgaii", "hydra/sweeper/pruner=median",
    )  # fmt: skip
    trials = complete(standin.trials())
    assert len(trials) == 6
    for trial in trials:
        assert trial.values == pytest.approx([(trial.params["x"] - 3) ** 2, trial.params["x"]])
    written = {tuple(solution["values"]) for solution in results(standin)["solutions"]}
    assert written == {tuple(trial.values) for trial in standin.study().best_trials}


@pytest.mark.skipif(
    importlib.util.find_spec("cmaes") is None, reason="the package cmaes is not installed"
)
def test_cmaes(standin: Standin) -> None:
    standin.run(
        *SPACE, "y=interval(0.0,1.0)", "hydra/sweeper/sampler=cmaes", "hydra.sweeper.n_trials=8"
    )
    assert len(set(points(complete(standin.trials())))) == 8


@pytest.mark.parametrize(
    "way",
    ["hydra.sweeper.custom_search_space=standin_space.configure", "hydra/sweeper=conditional"],
)
def test_a_conditional_space(standin: Standin, way: str) -> None:
    folder = Path(__file__).resolve().parent
    standin.run(
        *SPACE, "shape=choice(round,square)", way, "hydra.sweeper.n_trials=8",
        "hydra/sweeper/sampler=tpe_parallel", PYTHONPATH=f"{folder.parents[1]}:{folder}",
    )  # fmt: skip
    shapes = set()
    for trial in complete(standin.trials()):
        shapes.add(trial.params["shape"])
        assert ("shape.corners" in trial.params) == (trial.params["shape"] == "square")
        corners = saved_config(standin, trial)["shape"]["corners"]
        assert corners == trial.params.get("shape.corners", 0)
    assert shapes == {"round", "square"}


def test_a_grid_covers_a_conditional_space(standin: Standin) -> None:
    standin.run("hydra/sweeper=conditional_grid", "hydra.sweeper.n_trials=100")
    found = [tuple(trial.params.values()) for trial in complete(standin.trials())]
    squares = [("square", corners, x) for corners in (4, 5, 6) for x in (1, 2)]
    assert sorted(found) == [("round", 3), *squares], "a key may have other choices elsewhere"


def test_the_stock_sweeper_is_one_override_away(standin: Standin) -> None:
    standin.run(
        *SPACE, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2",
        "hydra.sweeper.study_name=stock", "hydra.sweeper.storage=sqlite:///sweep/stock.db",
    )  # fmt: skip
    assert len(complete(standin.study("stock", "sweep/stock.db").trials)) == 2


def test_a_stock_launcher_runs_batches(standin: Standin) -> None:
    standin.run(*SPACE, "mode=choice(fine,raise,notfinite)", "hydra/launcher=basic",
                "hydra.sweeper.max_consecutive_failures=0")  # fmt: skip
    trials = standin.counted()
    assert len(trials) == 6 and not running(trials)
    for trial in trials:
        assert (trial.state == TrialState.COMPLETE) == (trial.params["mode"] == "fine")


# --- identity and secrets --------------------------------------------------------------------


def test_another_configuration_is_refused(standin: Standin) -> None:
    standin.run(*SPACE, "hydra.sweeper.n_trials=2")
    refused = functools.partial(standin.run, code=2)
    assert "configuration: y was 0.0, is 1.0" in refused(*SPACE, "y=1.0")
    output = refused(*SPACE, "hydra.sweeper.direction=maximize")
    assert "direction: was minimize, is maximize" in output
    assert "hydra.sweeper.study_name=NAME" in output
    assert len(standin.trials()) == 2


@pytest.mark.parametrize(
    ("written", "secret"),
    [
        ("nobody:s3cr3t-Passw0rd@127.0.0.1:9/none", "s3cr3t-Passw0rd"),
        ("nobody:s3cr3t%2FPassw0rd@127.0.0.1:9/none", "s3cr3t%2FPassw0rd"),
        ("127.0.0.1:9/none?password=s3cr3t-Passw0rd", "s3cr3t-Passw0rd"),
    ],
)
def test_a_password_is_not_written_anywhere(written: str, secret: str, standin: Standin) -> None:
    url = f"postgresql://{written}"
    output = standin.run(
        *SPACE, f"'hydra.sweeper.storage=\"{url}\"'".strip("'"),
        "hydra.sweeper.storage_patience=0.1", code=2,
    )  # fmt: skip
    assert "127.0.0.1:9/none" in output  # cannot be reached, or no driver is installed
    for text in (secret, secret.replace("%2F", "/")):
        assert text not in output
        for path in standin.directory.rglob("*"):
            assert not path.is_file() or text not in path.read_text(errors="replace")


@pytest.mark.parametrize("password", ["p", "postgres", "memory", "0.0"])
def test_a_password_from_the_environment_may_be_a_word_of_the_config(
    password: str, standin: Standin
) -> None:
    output = standin.run(
        *SPACE, "hydra.sweeper.storage=${oc.env:STUDY_URL}", "hydra.sweeper.storage_patience=0.1",
        code=2, STUDY_URL=f"postgresql://nobody:{password}@127.0.0.1:9/none",
    )  # fmt: skip
    assert "127.0.0.1:9/none" in output  # cannot be reached, or no driver is installed
    assert f":{password}@" not in output


@pytest.mark.parametrize("value", ["postgresql://me:geheim@127.0.0.1:9/none", "geheim"])
def test_a_password_in_the_applications_config_is_refused(value: str, standin: Standin) -> None:
    storage = "${secret}" if ":" in value else "postgresql://me:${secret}@127.0.0.1:9/none"
    output = standin.run(*SPACE, f'+secret="{value}"', f'hydra.sweeper.storage="{storage}"', code=2)
    assert "stands in the application's config" in output and "oc.env:NAME" in output


# --- settings that make no sense -------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("hydra.sweeper.n_trials=-4", "hydra.sweeper.n_trials is -4; allowed: at least 1"),
        ("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_jobs is 0; allowed: at least 1"),
        ("hydra.sweeper.max_failure_rate=2", "max_failure_rate is 2.0; allowed: 0 to 1"),
        ("hydra.sweeper.grid_points=1", "grid_points is 1; allowed: at least 2"),
        ("hydra/sweeper/sampler=grid", "write int(interval(0,6)), range(0,6,STEP) or choice(...)"),
        ("hydra.sweeper.study_name=a\tb", "study_name is 'a\\tb', not printable"),
        ("y=tag(log,interval(0,1))", "tag(log, ...) needs an interval above 0"),
        ("y=glob(*)", "y=glob(*): the key is no group"),
        ("shape=glob(z*)", "no member matches; there are dot, round, square"),
        ("y=range(5,5)", "the range is empty"),
        ("shape=choice(round,dot) shape.corners=5", "shape=dot)"),
        ("hydra.sweep.subdir=../x", "allowed: a directory below the sweep's"),
        ("hydra.sweeper.check=os.none", "hydra.sweeper.check=os.none: AttributeError"),
        ("hydra.sweeper.check=standin_space.refuse", "x is too large: 6.0 (in a trial with x=6.0)"),
        ("hydra.sweeper.storage={_target_:optuna.storages.JournalStorage}", "lock"),
        ("hydra.sweeper.storage_patience=nan", "storage_patience is nan; allowed: at least 0"),
        ("hydra.sweeper.heartbeat_timeout=10", "at least twice the heartbeat, which is 30.0"),
        ("hydra.sweeper.direction=max", "direction is max; allowed: minimize, maximize, or a list"),
        ("hydra.launcher.n_jobs=0", "hydra.launcher.n_jobs is 0; allowed: at least 1"),
        ("hydra.launcher.threads=-1", "hydra.launcher.threads is -1; allowed: at least 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_line(
    override: str, words: str, standin: Standin
) -> None:
    output = standin.run(*SPACE, *override.split(" "), code=2, PYTHONPATH=f"{ROOT}:{HERE}")
    assert words in output and output.count("\n") == 1
    assert not list(standin.directory.iterdir())


def test_every_choice_is_checked_before_the_first_trial(standin: Standin) -> None:
    checked = ("hydra.sweeper.check=standin_space.refuse", "hydra.sweeper.n_trials=3")
    environment = {"PYTHONPATH": f"{ROOT}:{HERE}"}
    output = standin.run("x=choice(1.0,9.0,2.0)", *checked, code=2, **environment)
    assert "x is too large: 9.0 (in a trial with x=9.0)" in output and output.count("\n") == 1
    assert not list(standin.directory.iterdir())
