"""A search begins with the configuration as composed, inside its space or not."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from standin import Standin, complete

from hydra_plugins.hydra_cvae_sweeper._book import Book, Limits
from hydra_plugins.hydra_cvae_sweeper._nursery import Outcome
from hydra_plugins.hydra_cvae_sweeper._owner import this_process
from hydra_plugins.hydra_cvae_sweeper._search import read_overrides
from hydra_plugins.hydra_cvae_sweeper._space import Space, make_space
from hydra_plugins.hydra_cvae_sweeper._start import START, Absent, Start, starting_point
from hydra_plugins.hydra_cvae_sweeper._storage import StudyStorage
from hydra_plugins.hydra_cvae_sweeper._summary import improvement

POSTGRESQL = os.environ.get("CVAE_TEST_POSTGRESQL", "")
SAMPLERS = {
    "tpe": lambda: TPESampler(seed=0, n_startup_trials=4),
    "tpe_multivariate": lambda: TPESampler(seed=0, n_startup_trials=4, multivariate=True),
    "random": lambda: RandomSampler(seed=0),
    "cmaes": lambda: CmaEsSampler(seed=0, n_startup_trials=2),
    "nsgaii": lambda: NSGAIISampler(seed=0, population_size=4),
}

optuna.logging.set_verbosity(optuna.logging.ERROR)


def space_of(*texts: str, **conditional: list[str]) -> Space:
    space = make_space(read_overrides(texts, None), {})
    for condition, keys in conditional.items():
        name = condition.replace("__", "=")
        space.conditional[name] = make_space(read_overrides(keys, None), {}).distributions
    return space


def start_in(space: Space, composed: Mapping[str, Any]) -> Start | None:
    def value_of(key: str) -> Any:
        if key not in composed:
            raise Absent
        return composed[key]

    return starting_point(space, value_of)


@pytest.mark.parametrize(
    ("space", "value", "held"),
    [
        ("k=interval(0.0,1.0)", 0.5, 0.5),
        ("k=interval(0.0,1.0)", 1, 1.0),
        ("k=interval(0.0,1.0)", 1.5, None),
        ("k=tag(log,interval(0.1,1.0))", 0, None),
        ("k=interval(0.0,1.0)", float("nan"), None),
        ("k=interval(0.0,1.0)", True, None),
        ("k=interval(0.0,1.0)", "0.5", None),
        ("k=interval(0.0,1.0)", None, None),
        ("k=int(interval(1,9))", 3.0, 3),
        ("k=int(interval(1,9))", 3.5, None),
        ("k=range(0,10,3)", 6, 6),
        ("k=range(0,10,3)", 7, None),
        ("k=range(0.0,1.0,0.1)", 0.3, 0.3),
        ("k=range(0.0,1.0,0.1)", 0.35, None),
        ("k=choice(2,4,8)", 4, 4),
        ("k=choice(2,4,8)", 4.0, 4),
        ("k=choice(2,4,8)", 5, None),
        ("k=choice(true,false)", 1, None),
        ("k=choice(true,false)", True, True),
        ("k=choice(cyclical,monotonic)", "monotonic", "monotonic"),
        ("k=choice(cyclical,monotonic)", "constant", None),
        ("k=choice(a,b)", {"a": 1}, None),
        ("k=choice(a,b)", [1], None),
    ],
)
def test_a_value_lies_inside_or_outside(space: str, value: Any, held: Any) -> None:
    start = start_in(space_of(space), {"k": value})
    assert start is not None
    if held is None:
        assert start == Start({}, ["k"])
    else:
        assert start.outside == [] and start.params == {"k": held}
        assert type(start.params["k"]) is type(held)


def test_what_is_searched_under_the_composed_members_belongs_to_it() -> None:
    space = space_of(
        "anneal=choice(cyclical,delayed)",
        anneal__cyclical=["cycles=choice(2,4)", "top=interval(0.0,1.0)"],
        anneal__delayed=["begin=interval(0.0,1.0)"],
    )
    composed = {"anneal": "cyclical", "cycles": 4, "top": 2.0}
    assert start_in(space, composed) == Start({"anneal": "cyclical", "cycles": 4}, ["top"])
    assert start_in(space, {"anneal": "constant"}) == Start({}, ["anneal"])
    assert start_in(space, {"anneal": "delayed"}) is None, "it cannot run without `begin`"


# --- samplers do not see a start outside ------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/study.db"
        return
    if not POSTGRESQL:
        pytest.skip("CVAE_TEST_POSTGRESQL names no database")
    given = sqlalchemy.engine.make_url(POSTGRESQL)
    engine = sqlalchemy.create_engine(given, isolation_level="AUTOCOMMIT")
    name = f"cvae_start_{os.getpid()}_{abs(hash(tmp_path)) % 10**8}"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield given.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def open_book(url: str, sampler: BaseSampler, total: int = 12) -> Book:
    storage = StudyStorage(url)
    study = optuna.create_study(study_name="s", storage=storage.open(), load_if_exists=True)
    study.sampler = sampler
    return Book(study, storage, this_process(), Limits(total, 3, 9.0), None, "/sweep")


def run_all(book: Book, space: Space) -> list[FrozenTrial]:
    """What a sweep does with its trials, without the jobs."""
    while (claim := book.claim()) is not None:
        left_out = claim.trial.user_attrs.get(START, [])
        with book.snapshot():
            for key, kind in space.distributions.items():
                if key not in left_out:
                    claim.trial._suggest(key, kind)
        value = sum(float(one) for one in claim.trial.params.values())
        book.finish(claim, Outcome("value", value=value))
    return book.trials()


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize(
    "start",
    [Start({"x": 0.5, "y": 0.5}), Start({"x": 0.5}, ["y"]), Start({}, ["x", "y"])],
    ids=["inside", "half", "outside"],
)
def test_every_sampler_goes_on_from_any_start(sampler: str, start: Start, url: str) -> None:
    if sampler == "cmaes" and importlib.util.find_spec("cmaes") is None:
        pytest.skip("the package cmaes is not installed")
    space = space_of("x=interval(0.0,1.0)", "y=interval(0.0,1.0)")
    made = SAMPLERS[sampler]()
    book = open_book(url, made)
    book.begin_with(start)
    first, *others = run_all(book, space)
    assert first.params == start.params and first.user_attrs[START] == start.outside
    assert len(others) == 11 and all(set(trial.params) == {"x", "y"} for trial in others)
    assert all(trial.state == TrialState.COMPLETE for trial in (first, *others))
    # Those that learn from all trials together still learn both keys.
    with book.snapshot():
        both = made.infer_relative_search_space(book.study, others[-1])
    # Later versions of Optuna have more samplers of that kind.
    expected = {"x", "y"} if sampler in ("tpe_multivariate", "cmaes") else set()
    assert set(both) in (expected, {"x", "y"})


def test_a_study_begins_once(url: str) -> None:
    space = space_of("x=interval(0.0,1.0)")
    for _ in range(2):
        book = open_book(url, RandomSampler(seed=1), total=3)
        book.begin_with(Start({"x": 0.25}))
    trials = run_all(book, space)
    assert [START in trial.user_attrs for trial in trials] == [True, False, False]


def test_an_interrupted_start_is_still_the_start(url: str) -> None:
    space = space_of("x=interval(0.0,1.0)", "y=interval(0.0,1.0)")
    book = open_book(url, RandomSampler(seed=1), total=2)
    book.begin_with(Start({"y": 0.5}, ["x"]))
    claim = book.claim()
    assert claim is not None
    book.interrupt([claim], "interrupted")
    trials = run_all(book, space)
    (again,) = [trial for trial in trials if trial.user_attrs.get("retry_of") == 0]
    assert again.user_attrs[START] == ["x"] and again.params == {"y": 0.5}


# --- the summary -----------------------------------------------------------------------------


def made(number: int, value: float | None, **attributes: Any) -> FrozenTrial:
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    trial = optuna.trial.create_trial(state=state, value=value, user_attrs=attributes)
    trial.number = number
    return trial


def test_the_summary_says_by_how_much_it_improves() -> None:
    start, other = made(0, 0.5, start=[]), made(1, 0.75)
    said = improvement(other, [start, other])
    assert said == "better by 0.25 than the configuration as composed, 0.5 (#0)"
    assert improvement(start, [start, made(1, 0.25)]) == (
        "this is the configuration as composed: no other trial is better"
    )
    assert improvement(other, [other]) is None
    failed = made(0, None, start=[])
    assert "(#0) has no value" in str(improvement(other, [failed, other]))
    again = made(2, 0.5, start=[], retry_of=0)
    assert "0.5 (#2)" in str(improvement(other, [failed, other, again]))


def test_a_search_begins_as_composed_and_says_what_it_gained(standin: Standin) -> None:
    command = (
        "x=interval(2.0,6.0)", "y=interval(0.0,1.0)", "steps=4", "hydra.sweeper.n_trials=4",
        "hydra.sweeper.start_as_composed=true", "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=0", "hydra.sweeper.n_jobs=1",
    )  # fmt: skip
    output = standin.run(*command)
    start = standin.trials()[0]
    assert start.params == {"y": 0.0} and start.user_attrs["start"] == ["x"]
    assert start.value == 4.0, "x is 1.0 in the config"
    best = min(complete(standin.trials()), key=lambda trial: trial.value or 0.0)
    gained = 4.0 - (best.value or 0.0)
    assert f"  better by {gained:.4g} than the configuration as composed, 4 (#0)\n" in output
    assert "#0 complete 4 (best so far)" in output and "y=0 (as composed)" in output


def test_a_key_that_the_config_lacks_leaves_no_start(standin: Standin) -> None:
    standin.run(
        "+z=interval(0,1)", "hydra.sweeper.start_as_composed=true", "hydra.sweeper.n_trials=1"
    )
    (trial,) = standin.trials()
    assert set(trial.params) == {"+z"} and "start" not in trial.user_attrs
