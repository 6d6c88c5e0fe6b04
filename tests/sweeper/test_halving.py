"""Successive halving that continues trials, and the repeats of the best: rules, studies, sweeps."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState
from standin import SPACE, Standin, complete, running

from cvae import trial as tie
from hydra_plugins.hydra_cvae_sweeper._book import (
    Book,
    Claim,
    Limits,
    _Pulse,
    count_finished,
    counted,
)
from hydra_plugins.hydra_cvae_sweeper._confirm import Confirmation, confirmed, is_repeat
from hydra_plugins.hydra_cvae_sweeper._errors import SweepError
from hydra_plugins.hydra_cvae_sweeper._halving import VARIABLE, Halving, read_halving
from hydra_plugins.hydra_cvae_sweeper._nursery import Outcome
from hydra_plugins.hydra_cvae_sweeper._owner import Owner, this_process
from hydra_plugins.hydra_cvae_sweeper._storage import StudyStorage

RUNGS = (0.4, 0.7)


@dataclass
class Worker:
    """A worker whose jobs take no time: a trial's value is its x at each rung and at the end."""

    url: str
    directory: Path
    total: int = 9
    confirmation: Confirmation | None = None
    rungs: tuple[float, ...] = RUNGS
    least: int = 1
    owner: Owner = field(default_factory=this_process)
    trained: list[tuple[str, float]] = field(default_factory=list)
    book: Book = field(init=False)

    def __post_init__(self) -> None:
        storage = StudyStorage(self.url)
        study = optuna.create_study(
            study_name="s", storage=storage.open(), load_if_exists=True, direction="maximize"
        )
        study.sampler = optuna.samplers.RandomSampler(seed=1)
        halving = Halving(self.rungs, 3.0, self.least, -1)
        self.book = Book(
            study, storage, self.owner, Limits(self.total, 2, 0.2), None, str(self.directory),
            halving, self.confirmation,
        )  # fmt: skip

    def claim(self, x: float | None = None) -> Claim | None:
        """The next trial, begun; a new one gets this x."""
        if x is not None:
            self.book.study.enqueue_trial({"x": x})
        claim = self.book.claim()
        if claim is None:
            return None
        claim.trial.suggest_float("x", 0.0, 1.0)
        name = claim.directory or f"trial_{claim.number:05d}"
        (self.directory / name).mkdir(exist_ok=True)
        overrides = claim.overrides or [f"x={claim.trial.params['x']}"]
        self.book.describe(claim, name, overrides)
        return claim

    def run(self, claim: Claim) -> None:
        """What the job does, as far as its rungs let it."""
        x = claim.trial.params["x"]
        environment = {
            "CVAE_STUDY": "s", "CVAE_TRIAL": str(claim.number), "CVAE_STORAGE": self.url,
            "CVAE_TRIAL_ID": str(claim.trial_id),
        }  # fmt: skip
        if not is_repeat(claim.trial):
            assert self.book.halving is not None
            environment[VARIABLE] = self.book.halving.variable(
                claim.trial.user_attrs, claim.number, is_reference=False
            )
        handle = tie.current(environment)
        assert handle is not None
        for rung in handle.rungs:
            self.trained.append((claim.directory, rung))
            if handle.stops_at(rung, x, int(10 * rung)):
                self.book.finish(claim, Outcome("pruned", reason=f"at {rung}"))
                return
        self.trained.append((claim.directory, 1.0))
        self.book.finish(claim, Outcome("value", value=x))

    def work(self) -> None:
        """Run what is left, to the end of the study."""
        for claim in iter(self.claim, None):
            self.run(claim)

    def trials(self) -> list[FrozenTrial]:
        return self.book.trials()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def worker(url: str, tmp_path: Path) -> Worker:
    return Worker(url, tmp_path)


def reached(trials: list[FrozenTrial]) -> dict[float, float]:
    """How far each configuration came, by its x."""
    return {
        trial.params["x"]: 1.0
        if trial.state == TrialState.COMPLETE
        else trial.user_attrs.get("paused", 0.0)
        for trial in counted(trials)
    }


# --- the rule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "far"),
    [
        # Nobody is told apart before three are there. The best of three goes on as it arrives, or
        # as soon as a worker asks.
        ([0.1, 0.2, 0.9], {0.9: 1.0, 0.1: 0.4, 0.2: 0.4}),
        ([0.9, 0.1, 0.2], {0.9: 1.0, 0.1: 0.4, 0.2: 0.4}),
        # Three of nine pass the first rung, and the best of these the second.
        (
            [0.5, 0.4, 0.1, 0.2, 0.3, 0.9, 0.0, 0.8, 0.7],
            {0.9: 1.0, 0.8: 0.7, 0.7: 0.7} | dict.fromkeys([0.5, 0.4, 0.1, 0.2, 0.3, 0.0], 0.4),
        ),
        # Alone, the last one left reaches the end.
        ([0.3], {0.3: 1.0}),
        ([0.3, 0.6], {0.3: 0.4, 0.6: 1.0}),
    ],
)
def test_the_best_third_goes_on(
    order: list[float], far: dict[float, float], worker: Worker
) -> None:
    worker.book._limits = Limits(len(order), 2, 0.2)
    for x in order:
        claim = worker.claim(x)
        assert claim is not None
        worker.run(claim)
    worker.work()
    assert reached(worker.trials()) == far
    # Nothing is trained twice.
    assert len(worker.trained) == len(set(worker.trained))


def test_a_continuation_takes_the_place_of_its_trial(worker: Worker) -> None:
    for x in (0.9, 0.1, 0.2):
        claim = worker.claim(x)
        assert claim is not None
        worker.run(claim)
    first = worker.trials()[0]
    assert first.state == TrialState.PRUNED and first.user_attrs["paused"] == 0.4
    assert first.value == 0.9 and first.intermediate_values == {4: 0.9}
    continued = worker.claim()
    assert continued is not None and continued.trial.params == first.params
    assert continued.directory == first.user_attrs["directory"]
    assert continued.overrides == first.user_attrs["overrides"]
    assert worker.book.halving is not None
    told = json.loads(
        worker.book.halving.variable(continued.trial.user_attrs, 3, is_reference=False)
    )
    assert told == {"rungs": [0.7], "reduction_factor": 3.0, "root": 0}
    assert count_finished(worker.trials()) == 2, "the first one goes on"
    worker.run(continued)
    assert count_finished(worker.trials()) == 3
    assert [trial.number for trial in counted(worker.trials())] == [1, 2, 3]


def test_a_trial_that_is_killed_goes_on_from_where_it_was(
    worker: Worker, url: str, tmp_path: Path
) -> None:
    for x in (0.9, 0.1, 0.2):
        claim = worker.claim(x)
        assert claim is not None
        worker.run(claim)
    continued = worker.claim()
    assert continued is not None
    worker.book.interrupt([continued], "interrupted")
    other = Worker(url, tmp_path, owner=worker.owner._replace(worker="other"))
    again = other.claim()
    assert again is not None and again.trial.user_attrs["retry_of"] == continued.number
    assert again.resume_from == [continued.directory] and again.directory != continued.directory
    assert other.book.halving is not None
    told = other.book.halving.variable(again.trial.user_attrs, again.number, is_reference=False)
    assert json.loads(told)["rungs"] == [0.7] and json.loads(told)["root"] == 0
    other.run(again)
    assert again.trial.study.trials[again.number].user_attrs["paused"] == 0.7
    other.work()
    assert len(counted(other.trials())) == other.total
    roots = [t.user_attrs["rung 0.4"][0] for t in other.trials() if "rung 0.4" in t.user_attrs]
    assert len(set(roots)) == other.total


def test_a_worker_without_the_checkpoint_leaves_the_trial_to_the_one_that_has_it(
    worker: Worker, url: str, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    far = Worker(
        url, tmp_path / "far", total=3, owner=worker.owner._replace(host="far", worker="far")
    )
    worker.book._limits, worker.book._pulse = Limits(3, 2, 1000.0), _Pulse(1000.0)
    for x in (0.9, 0.1, 0.2):
        claim = far.claim(x)
        assert claim is not None
        far.run(claim)
    for _ in range(2):
        far.book.beat()
        assert worker.claim() is None and worker.book.has_followups(worker.trials())
    continued = far.claim()
    assert continued is not None and continued.trial.params["x"] == 0.9
    far.run(continued)
    assert worker.claim() is None
    # It stopped at the second rung, is the best there, and its worker falls silent.
    worker.book._pulse = _Pulse(0.0)
    assert worker.claim() is None, "seen for the first time"
    taken = worker.claim()
    assert taken is not None and taken.trial.params["x"] == 0.9


def test_a_value_that_is_not_finite_never_goes_on(worker: Worker) -> None:
    worker.book._limits = Limits(1, 2, 0.2)
    claim = worker.claim(0.5)
    assert claim is not None and worker.book.halving is not None
    told = worker.book.halving.variable({}, 0, is_reference=False)
    handle = tie.current(
        {"CVAE_STUDY": "s", "CVAE_TRIAL": "0", "CVAE_STORAGE": worker.url,
         "CVAE_TRIAL_ID": str(claim.trial_id), VARIABLE: told}
    )  # fmt: skip
    assert handle is not None and handle.stops_at(0.4, float("nan"), 0)
    worker.book.finish(claim, Outcome("pruned"))
    assert not worker.book.has_followups(worker.trials()) and worker.claim() is None


def test_a_reference_runs_to_its_end(worker: Worker) -> None:
    claim = worker.claim(0.0)
    assert claim is not None and worker.book.halving is not None
    told = worker.book.halving.variable({}, 0, is_reference=True)
    handle = tie.current(
        {"CVAE_STUDY": "s", "CVAE_TRIAL": "0", "CVAE_STORAGE": worker.url,
         "CVAE_TRIAL_ID": str(claim.trial_id), VARIABLE: told}
    )  # fmt: skip
    assert handle is not None and handle.rungs == RUNGS
    assert not handle.stops_at(0.4, 0.0, 4) and not handle.stops_at(0.7, 0.0, 7)
    attributes = worker.trials()[0].user_attrs
    assert attributes["rung 0.4"] == [0, 0.0] and attributes["promoted"] == 0.7


def test_a_study_that_does_not_answer_lets_the_trial_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tie, "_WAITS", ())
    handle = tie.TrialHandle("s", 0, rungs=RUNGS, _storage="sqlite:////nowhere/s.db", _trial_id=1)
    assert handle.stops_at(0.4, 1.0, 0) is False
    assert tie.TrialHandle("s", 0, rungs=RUNGS).stops_at(0.4, 1.0, 0) is False


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rungs": [0.7, 0.4], "reduction_factor": 3}, "halving.rungs is [0.7, 0.4]"),
        ({"rungs": [0.4, 0.4], "reduction_factor": 3}, "in ascending order"),
        ({"rungs": [0.0], "reduction_factor": 3}, "above 0 and below 1"),
        ({"rungs": [1.0], "reduction_factor": 3}, "above 0 and below 1"),
        ({"rungs": [float("nan")], "reduction_factor": 3}, "above 0 and below 1"),
        ({"rungs": [0.4], "reduction_factor": 1}, "reduction_factor is 1; allowed: numbers above"),
        ({"rungs": [0.4], "reduction_factor": float("nan")}, "reduction_factor is nan"),
    ],
)
def test_rungs_that_cannot_be_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SweepError) as caught:
        read_halving(settings, 1, -1)
    assert words in str(caught.value)
    assert read_halving(None, 1, -1) is None
    assert read_halving({"rungs": [], "reduction_factor": 3}, 1, -1) is None


# --- what a sampler sees ---------------------------------------------------------------------


def test_a_sampler_sees_one_observation_a_configuration(worker: Worker) -> None:
    def seen() -> list[tuple[float, str]]:
        with worker.book.snapshot():
            trials = worker.book.study.get_trials(deepcopy=False)
            return [(t.params["x"], t.state.name) for t in trials if t.state != TrialState.FAIL]

    for x in (0.9, 0.1, 0.2):
        claim = worker.claim(x)
        assert claim is not None
        worker.run(claim)
    stopped = [(0.9, "PRUNED"), (0.1, "PRUNED"), (0.2, "PRUNED")]
    assert seen() == stopped
    continued = worker.claim()
    assert continued is not None
    assert seen() == stopped, "what it reached before, and not a running point"
    worker.book.finish(continued, Outcome("value", value=0.9))
    assert seen() == [*stopped[1:], (0.9, "COMPLETE")]
    assert all(trial.state != TrialState.FAIL for trial in worker.trials()), "only within"


# --- repeats ---------------------------------------------------------------------------------


def reseeded(overrides: Any, more: int) -> list[str]:
    return [*overrides, f"seed={more}"]


def test_the_best_are_repeated_and_the_best_mean_wins(url: str, tmp_path: Path) -> None:
    worker = Worker(
        url, tmp_path, total=4, rungs=(), least=2, confirmation=Confirmation(2, 2, reseeded, -1)
    )
    for x in (0.5, 0.9, 0.1, 0.8):
        claim = worker.claim(x)
        assert claim is not None and not is_repeat(claim.trial)
        assert not worker.book.has_followups(worker.trials()[:0])
        worker.run(claim)
    values = iter([0.1, 0.2, 0.7, 0.9])
    for expected in (["x=0.9", "seed=1"], ["x=0.9", "seed=2"], ["x=0.8", "seed=1"]):
        claim = worker.claim()
        assert claim is not None and is_repeat(claim.trial)
        assert claim.overrides == expected
        worker.book.finish(claim, Outcome("value", value=next(values)))
        assert confirmed(worker.trials(), -1) is not None
    claim = worker.claim()
    assert claim is not None
    assert worker.claim() is None and worker.book.has_followups(worker.trials())
    assert confirmed(worker.trials(), -1) == [], "one is still being run"
    # It is killed, and its repeat knows what it repeats.
    worker.book.interrupt([claim], "interrupted")
    again = worker.claim()
    assert again is not None and is_repeat(again.trial)
    assert list(again.overrides) == ["x=0.8", "seed=2"]
    worker.book.finish(again, Outcome("value", value=next(values)))
    assert worker.claim() is None and not worker.book.has_followups(worker.trials())
    first, second = confirmed(worker.trials(), -1)
    assert first.trial.params["x"] == 0.8 and first.values == [0.8, 0.7, 0.9]
    assert second.trial.params["x"] == 0.9 and second.mean == pytest.approx(0.4)
    assert str(first) == "0.8 (0.7 to 0.9, 3 seeds)"
    assert count_finished(worker.trials()) == 4, "repeats do not count"
    with worker.book.snapshot():
        seen = worker.book.study.get_trials(states=(TrialState.COMPLETE,))
        assert len(seen) == 4, "and no sampler sees them"


def test_a_repeat_that_fails_is_run_again_when_asked(url: str, tmp_path: Path) -> None:
    worker = Worker(url, tmp_path, total=1, rungs=(), confirmation=Confirmation(1, 1, reseeded, -1))
    claim = worker.claim(0.5)
    assert claim is not None
    worker.run(claim)
    claim = worker.claim()
    assert claim is not None
    worker.book.finish(claim, Outcome("failed", reason="no such file"))
    assert worker.claim() is None and confirmed(worker.trials(), -1) == []
    assert worker.book.retry_failed() == 1
    again = worker.claim()
    assert again is not None and list(again.overrides) == ["x=0.5", "seed=1"]
    worker.book.finish(again, Outcome("value", value=0.7))
    assert confirmed(worker.trials(), -1)[0].values == [0.5, 0.7]


# --- whole sweeps ----------------------------------------------------------------------------

HALVED = (
    *SPACE, "steps=10", "checkpoint=true", "hydra/sweeper/sampler=random",
    "hydra.sweeper.halving.rungs=[0.35,0.7]", "hydra.sweeper.n_trials=9",
)  # fmt: skip
CONFIRMED = "hydra.sweeper.confirm={best: 2, seeds: 2, key: seed}"


def check_halved(standin: Standin, trials: list[FrozenTrial], total: int = 9) -> None:
    """Every configuration once, none trained twice, and the best third on at each rung."""
    assert not running(trials)
    configurations = counted(trials)
    assert len(configurations) == total
    assert len({trial.params["x"] for trial in configurations}) == total
    done: dict[float, int] = {}
    for trial in configurations:
        places = [trial.user_attrs["directory"], *trial.user_attrs.get("resume_from", [])]
        steps = [
            int(word)
            for place in reversed(places)
            if (standin.sweep / place / "steps.txt").exists()
            for word in (standin.sweep / place / "steps.txt").read_text().split()
        ]
        done[trial.params["x"]] = steps[-1] + 1
        if len(places) == 1:
            assert steps == list(range(len(steps))), "each step once, in order"
    assert set(done.values()) <= {4, 7, 10}, "exactly at the rungs"
    ranked = sorted(done, key=lambda x: (x - 3.0) ** 2)
    assert all(done[x] > 4 for x in ranked[: total // 3]), "the best third went on"
    on = [x for x in ranked if done[x] > 4]
    assert all(done[x] == 10 for x in on[: max(1, len(on) // 3)])
    ended = {t.params["x"] for t in configurations if t.state == TrialState.COMPLETE}
    assert ended == {x for x in done if done[x] == 10}


@pytest.mark.slow
def test_a_sweep_with_halving_and_repeats(standin: Standin) -> None:
    output = standin.run(*HALVED, CONFIRMED)
    trials = standin.trials()
    check_halved(standin, trials)
    assert " paused at 0.35 " in output and " repeat complete " in output
    repeats = [trial for trial in trials if is_repeat(trial)]
    assert len(repeats) == 4
    configs = [
        yaml.safe_load((standin.place(t) / ".hydra/config.yaml").read_text()) for t in repeats
    ]
    assert sorted(config["seed"] for config in configs) == [1, 1, 2, 2]
    assert {c["x"] for c in configs} == {
        trials[t.user_attrs["confirms"]].params["x"] for t in repeats
    }
    best = min(counted(complete(trials)), key=lambda t: t.value or 0.0)
    found = yaml.safe_load((standin.sweep / "optimization_results.yaml").read_text())
    assert found["best_trial"] == best.number
    assert found["confirmed"][0]["mean"] == pytest.approx(best.value)
    # A directory for each configuration and each repeat, and nothing is left to do.
    assert len(list(standin.sweep.glob("trial_*"))) == 9 + 4
    assert "nothing to do" in standin.run(*HALVED, CONFIRMED)
    # More trials: those that were paused may still go on.
    standin.run(*HALVED[:-1], CONFIRMED, "hydra.sweeper.n_trials=12")
    check_halved(standin, standin.trials(), total=12)


@pytest.mark.slow
def test_halving_goes_on_after_a_kill(standin: Standin) -> None:
    command = (*HALVED, "seconds=0.5")

    def something_was_continued(trials: list[FrozenTrial]) -> bool:
        return any("continues" in trial.user_attrs for trial in running(trials))

    process = standin.start(*command)
    standin.wait_for(something_was_continued)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    standin.run(*command)
    assert any(trial.user_attrs.get("interrupted") for trial in standin.trials())
    check_halved(standin, standin.trials())


def test_two_workers_share_the_rungs(standin: Standin) -> None:
    workers = [standin.start(*HALVED, "hydra.sweeper.n_jobs=1") for _ in range(2)]
    for process in workers:
        standin.finish(process)
    check_halved(standin, standin.trials())


def test_an_application_that_knows_nothing_of_halving_runs_to_its_end(standin: Standin) -> None:
    standin.run(*SPACE, "hydra.sweeper.halving.rungs=[0.4]", "hydra.sweeper.n_trials=4")
    assert len(complete(standin.trials())) == len(standin.trials()) == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["hydra/sweeper/sampler=grid", "x=1,2", "hydra.sweeper.halving.rungs=[0.4]"],
            "hydra.sweeper.halving.rungs has no effect on a sweep with a grid",
        ),
        (
            ["x=interval(0,6)", "hydra.sweeper.storage=null", "hydra.sweeper.halving.rungs=[0.4]"],
            "no trial is pruned: that needs hydra.sweeper.storage",
        ),
        (
            ["x=interval(0,6)", "seed=range(1,9)", "hydra.sweeper.confirm.best=2"],
            "the best are not repeated: the search varies seed",
        ),
    ],
)
def test_where_halving_and_repeats_do_not_apply(
    more: list[str], said: str, standin: Standin
) -> None:
    output = standin.run("steps=5", "checkpoint=true", "hydra.sweeper.n_trials=2", *more)
    assert said in output and "paused" not in output and "repeat " not in output


def test_a_seed_that_is_no_number_is_one_line(standin: Standin) -> None:
    output = standin.run(
        *SPACE, "hydra.sweeper.confirm.best=2", "hydra.sweeper.confirm.key=kind", code=2
    )
    assert "error: hydra.sweeper.confirm.key is kind, whose value is 'plain'" in output
