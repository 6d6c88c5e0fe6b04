"""What a person sees of a search: on a terminal, through a pipe, at its end."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.cells import cell_len
from standin import HERE, SPACE, Standin, complete, running
from terminals import on_terminal

from hydra_plugins.hydra_cvae_sweeper._display import Running, Standing, cut, duration
from hydra_plugins.hydra_cvae_sweeper._errors import SweepError
from hydra_plugins.hydra_cvae_sweeper._summary import check_commands, counts

LONG = "kind=choice(a_long_name_of_a_kind,another_long_name_of_a_kind_that_goes_on_and_on_and_on)"


def painted_by(standin: Standin, columns: int, *overrides: str) -> str:
    """What a terminal of so many columns gets from a search."""
    words = [sys.executable, str(HERE / "standin_app.py"), "-m", *overrides]
    environment = standin.environment(TERM="xterm-256color")
    code, painted = on_terminal(words, standin.directory, columns, environment)
    assert code == 0, painted
    return painted


def states(painted: str) -> list[str]:
    """The pieces between two movements of the cursor: each a state of the live view, or a line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", painted)
    pieces = re.split(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n", plain)
    return [piece for piece in pieces if piece.strip()]


@pytest.mark.parametrize("columns", [80, 50])
def test_a_terminal_shows_where_the_search_stands(columns: int, standin: Standin) -> None:
    overrides = (*SPACE, LONG, "steps=3", "seconds=1.5", "hydra.sweeper.n_trials=3")
    painted = painted_by(standin, columns, *overrides)
    shown = states(painted)
    assert any(re.match("0 of 3 trials done, [12] running", text) for text in shown)
    assert any(re.match(r"  #\d +\d+ s  step [012]  objective \d", text) for text in shown)
    assert any(re.match(r"  best [\d.]+ \(#\d\): (x|kind)=", text) for text in shown)
    lines = [text for text in shown if re.match(r"[123]/3 #\d complete", text)]
    assert len(lines) == 3
    moving = [text for text in shown if re.match(r"\d of 3|  #|  best|\d/3", text)]
    assert not [text for text in moving if cell_len(text) > columns]
    # The end stays, and nothing of it is painted over.
    assert "\x1b" not in painted[painted.index("3 trials: 3 complete; ") :]
    assert "[HYDRA]" not in painted


def test_a_pipe_gets_plain_lines_and_soon(standin: Standin) -> None:
    began = time.monotonic()
    process = standin.start(*SPACE, "seconds=2", "hydra.sweeper.n_trials=2")
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(2)]
    took = time.monotonic() - began
    output = "".join(first) + standin.finish(process)
    assert "0 of 2 trials done, 2 at once" in first[0]
    assert re.match("0 of 2 trials done, [12] running; .* passed, time left not known", first[1])
    assert took < 30  # 2 s on a quiet machine
    assert "\x1b" not in output and "\r" not in output and "HYDRA" not in output
    assert len(re.findall(r"^[12]/2 #[01] complete ", output, re.MULTILINE)) == 2


@pytest.mark.parametrize("launcher", ["basic", "cvae_local"])
def test_a_narrow_pipe_is_not_exceeded(launcher: str, standin: Standin) -> None:
    output = standin.run(
        *SPACE, LONG, f"hydra/launcher={launcher}", "hydra.sweeper.n_trials=2", COLUMNS="50"
    )
    lines = [line for line in output.splitlines() if re.match(r"[12]/2 #\d complete", line)]
    assert len(lines) == 2
    assert all(len(line) <= 50 and line.endswith("...") for line in lines)
    log = (standin.sweep / "sweep.log").read_text()
    assert len(re.findall(r"[12]/2 #\d complete .* kind=an?.*[ed]_", log)) == 2, "whole in the log"


def test_nothing_is_shown_where_hydra_is_silenced(standin: Standin) -> None:
    assert standin.run(*SPACE, "hydra/hydra_logging=none", "hydra.sweeper.n_trials=1") == ""
    assert len(complete(standin.trials())) == 1


# --- the end, Ctrl-C and the restart ---------------------------------------------------------


def test_the_end_names_the_winner_and_what_comes_next(standin: Standin) -> None:
    output = standin.run(
        *SPACE, "mode=choice(fine,raise)", "hydra.sweeper.n_trials=8",
        "hydra.sweeper.max_consecutive_failures=0",
        "+hydra.sweeper.next_commands.list='{python} -m ls {best} {sweep}'",
    )  # fmt: skip
    trials = standin.trials()
    best = min(complete(trials), key=lambda trial: trial.value or 0.0)
    good, bad = len(complete(trials)), 8 - len(complete(trials))
    assert re.search(rf"^8 trials: {good} complete, {bad} failed; \d+ s$", output, re.MULTILINE)
    place = f"sweep/{best.user_attrs['directory']}"
    assert f"best {best.value:.4g} (#{best.number}): {place}\n" in output
    last = re.search(rf"\nto list:\n  (\S+) -m ls {re.escape(place)} sweep\n\Z", output)
    assert last, output
    # Its short name where the PATH leads to it, as in an activated environment.
    assert shutil.which(last[1]) == sys.executable


def test_ctrl_c_and_the_restart_say_what_is_best(standin: Standin) -> None:
    command = (*SPACE, "seconds=choice(0.02,60)", "hydra.sweeper.n_trials=6")
    process = standin.start(*command)
    standin.wait_for(lambda trials: complete(trials) and len(running(trials)) == 2)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = standin.finish(process, code=130)
    best = min(complete(standin.trials()), key=lambda trial: trial.value or 0.0)
    said = f"best {best.value:.4g} (#{best.number}): "
    assert said in output.splitlines()[-2]
    again = standin.start(*command)
    assert again.stdout is not None
    lines = [again.stdout.readline() for _ in range(2)]
    assert "of 6 trials done" in lines[0] and said in lines[1]


def test_an_interrupted_trial_says_where_it_went_on(standin: Standin) -> None:
    command = (*SPACE, "mode=wait", "hydra.sweeper.n_trials=2")
    process = standin.start(*command)
    standin.wait_for(
        lambda ts: len([t for t in running(ts) if (standin.place(t) / "starts.txt").exists()]) == 2
    )
    process.send_signal(signal.SIGTERM)
    standin.finish(process, code=143)
    (standin.directory / "go").write_text("")
    standin.run(*command)
    words = {
        number: json.loads((standin.sweep / f"trial_{number:05d}/unfinished.json").read_text())
        for number in (0, 1)
    }
    places = {words[number]["continued_in"] for number in words}
    assert places == {"../trial_00002", "../trial_00003"}
    assert {word["reason"] for word in words.values()} == {
        "interrupted by SIGTERM; repeated under another number"
    }


# --- the parts -------------------------------------------------------------------------------


def trial(number: int, state: TrialState, **attributes: Any) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=0.25 if state == TrialState.COMPLETE else None,
        params={"anneal": "cyclical"},
        distributions={"anneal": CategoricalDistribution(["cyclical"])},
        user_attrs={key: value for key, value in attributes.items() if key != "ago"},
    )
    made.number = number
    made.datetime_start = datetime.now() - timedelta(seconds=attributes.get("ago", 0))
    return made


def test_the_time_left() -> None:
    done = trial(0, TrialState.COMPLETE, seconds=100.0)
    fresh = trial(1, TrialState.RUNNING, ago=40)
    half = trial(2, TrialState.RUNNING, ago=40, progress={"share": 0.5, "epoch": "4/8"})

    def left(total: int, *trials: FrozenTrial) -> float | None:
        return Standing.of(total, trials, None).seconds_left()

    assert left(4, fresh) is None, "nothing is known yet"
    assert left(2, half) == pytest.approx(40 + 80, abs=2), "its rest, then another one like it"
    assert left(2, done, fresh) == pytest.approx(60, abs=2)
    assert left(3, done, fresh, half) == pytest.approx(60, abs=2), "both at once"
    assert left(7, done, fresh, half) == pytest.approx((60 + 60 + 400) / 2, abs=2)
    slow = trial(4, TrialState.RUNNING, ago=300, progress={"share": 0.75})
    assert left(2, done, slow) == pytest.approx(100, abs=2), "longer than usual: by its share"
    failed = trial(3, TrialState.FAIL, seconds=1.0)
    assert left(3, done, failed, fresh) == pytest.approx(60, abs=2), "a failure tells nothing"


def test_a_running_trial_shows_what_its_job_told() -> None:
    told = {"share": 0.5, "epoch": "4/8", "bleu4": 0.51239}
    line = Running(7, datetime.now() - timedelta(seconds=200), told, (3, 0.25)).line()
    assert " ".join(line.split()) == "#7 3 min 20 s epoch 4/8 bleu4 0.512 objective 0.25"
    assert "begun" in Running(7, None, {}, None).line()


def test_many_running_trials_are_counted() -> None:
    many = [trial(n, TrialState.RUNNING) for n in range(100)]
    lines = Standing.of(1000, many, None).lines(1.0)
    assert len(lines) == 10 and lines[-1] == "  and 92 more"


def test_counts() -> None:
    trials = [
        trial(0, TrialState.COMPLETE),
        trial(1, TrialState.FAIL, interrupted=True),
        trial(2, TrialState.PRUNED, retry_of=1),
        trial(3, TrialState.FAIL),
    ]
    assert counts(trials, 65, 0) == "3 trials: 1 complete, 1 pruned, 1 failed; 1 min 05 s"
    assert counts(trials, 5, 2).endswith("; 5 s since 2 were done")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("text", ["short", "x" * 100, "\x1b[2Jclear\n", "語" * 60])
def test_a_line_that_is_cut_fits(text: str) -> None:
    line = cut(text, 40)
    assert cell_len(line) <= 40 and line.isprintable()
    assert line.endswith("...") == (cell_len(text) > 40)


def test_a_command_with_an_unknown_name_is_refused() -> None:
    with pytest.raises(SweepError, match=r"next_commands\.x names {winner}; allowed: {best}"):
        check_commands({"x": "ls {winner}"})
    check_commands({"x": "ls {best} {sweep}; {python} -V"})


def test_commands_survive_odd_paths(standin: Standin, tmp_path: Path) -> None:
    app = Standin(tmp_path / "it's a place")
    app.directory.mkdir()
    output = app.run(
        *SPACE, "hydra.sweep.dir='my sweep'", "hydra.sweeper.n_trials=1",
        "+hydra.sweeper.next_commands.list='ls -d {best} {sweep}'",
    )  # fmt: skip
    command = output.splitlines()[-1].strip()
    assert shlex.split(command) == ["ls", "-d", "my sweep/trial_00000", "my sweep"]
