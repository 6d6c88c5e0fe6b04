"""The sweeper's parts, one by one: what a whole sweep shows only once in a while."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest
import sqlalchemy
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.trial import TrialState

from cvae import trial as tie
from hydra_plugins.hydra_cvae_sweeper._book import (
    Book,
    Limits,
    _Pulse,
    count_finished,
    counted,
    judge,
    known_params,
    unused_directory,
)
from hydra_plugins.hydra_cvae_sweeper._check import Check
from hydra_plugins.hydra_cvae_sweeper._claims import Claims
from hydra_plugins.hydra_cvae_sweeper._errors import SweepError
from hydra_plugins.hydra_cvae_sweeper._files import located
from hydra_plugins.hydra_cvae_sweeper._halving import read_halving
from hydra_plugins.hydra_cvae_sweeper._identity import check_identity
from hydra_plugins.hydra_cvae_sweeper._nursery import Nursery, Outcome
from hydra_plugins.hydra_cvae_sweeper._owner import Owner, is_dead, start_of, this_process
from hydra_plugins.hydra_cvae_sweeper._patience import Patience, patiently
from hydra_plugins.hydra_cvae_sweeper._plan import Plan
from hydra_plugins.hydra_cvae_sweeper._search import all_values, read_overrides
from hydra_plugins.hydra_cvae_sweeper._space import (
    Grid,
    literal,
    make_space,
    override_text,
    spaced,
)
from hydra_plugins.hydra_cvae_sweeper._stop import StopRequest
from hydra_plugins.hydra_cvae_sweeper._storage import StudyStorage, url_of
from hydra_plugins.hydra_cvae_sweeper._sweep import _quiet_libraries

optuna.logging.set_verbosity(optuna.logging.ERROR)


# --- overrides and grids ---------------------------------------------------------------------


def values_of(*texts: str) -> list[Any]:
    """All values of the first key's space."""
    (kind,) = read_overrides(texts, None).distributions.values()
    return list(all_values(kind))


@pytest.mark.parametrize(
    ("search", "values"),
    [
        ("range(2,5)", [2, 3, 4]),
        ("range(5)", [0, 1, 2, 3, 4]),
        ("range(5,0,-1)", [1, 2, 3, 4, 5]),
        ("range(5,0,-2)", [1, 3, 5]),
        ("range(0,10,3)", [0, 3, 6, 9]),
        ("range(0.5,2.5,0.5)", [0.5, 1.0, 1.5, 2.0]),
        ("range(0,1,0.1)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("float(range(1,3))", [1.0, 2.0]),
        ("shuffle(range(3))", [0, 1, 2]),
        ("sort(range(1,4),reverse=true)", [1, 2, 3]),
        ("tag(log,range(1,4))", [1, 2, 3]),
        ("int(interval(2,5))", [2, 3, 4, 5]),
        ("int(interval(2.9,5.1))", [2, 3, 4, 5]),
        ("tag(log,int(interval(1,4)))", [1, 2, 3, 4]),
        ("interval(2,5)", []),
        ("choice(a,b,a)", ["a", "b"]),
        ("shuffle(choice(c,a,b))", ["c", "a", "b"]),
        ("sort(choice(c,a,b))", ["a", "b", "c"]),
        ("3,1,2", [3, 1, 2]),
        ("sort(3,1,2)", [1, 2, 3]),
        ("str(choice(1,2))", ["1", "2"]),
        ("choice(1,true,1.0)", ["1", "True", "1.0"]),
        ("choice([1,2],{a:1})", ["[1,2]", "{a:1}"]),
    ],
)
def test_a_search_has_the_values_that_hydra_documents(search: str, values: list[Any]) -> None:
    found = values_of(f"k={search}")
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    "search",
    [
        "range(5,5)", "range(0,5,-1)", "range(0,5,0)", "range(0,1,1e-9)", "range(1e999,3)",
        "tag(log,range(0,3))", "tag(log,range(1,9,2))", "tag(log,range(0.5,2,0.5))",
        "tag(log,interval(0,0.1))", "tag(log,interval(-1,1))", "interval(5,2)",
        "interval(nan,1)", "interval(0,inf)", "int(interval(nan,1))", "tag(log,choice(1,2))",
        "choice(nan,1)", "choice()", "int(interval(0,99999999999999999999))", "glob(*)",
        "choice(1,choice(2,3))", "choice(interval(0,1),2)", "choice([1,range(3)],2)",
        "[1,choice(2,3)]", "{a:choice(1,2)}", "shuffle(interval(0,1))", "range(a,b)",
        "interval(1)", "str(interval(0,1))", "glob([a*,b*],exclude=c),d",
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_is_one_line(search: str) -> None:
    with pytest.raises(SweepError) as caught:
        read_overrides([f"k={search}"], None)
    assert "\n" not in str(caught.value) and "k=" in str(caught.value)


def test_every_sampler_draws_the_values_of_a_search() -> None:
    for search in ("range(2,5)", "range(5,0,-2)", "int(interval(2,5))", "range(0,1,0.1)"):
        parsed = read_overrides([f"k={search}"], None)
        space = make_space(parsed, {})
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        drawn = [study.ask(dict(space.distributions)).params for _ in range(200)]
        written = {text for params in drawn for text in space.overrides(params)}
        hydras = OverridesParser.create().parse_override(f"k={search}")
        if hydras.is_range_sweep():
            assert written == {f"k={text}" for text in hydras.sweep_string_iterator()}
        else:
            assert written == {"k=2", "k=3", "k=4", "k=5"}
        grid = Grid({"k": all_values(space.distributions["k"])})
        assert {text for point in grid for text in space.overrides(point)} == written
        same = {str(space.same(params)) for params in [*drawn, *grid]}
        assert len(same) == len(written), "what is sampled and what is listed are told to be equal"


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.recursive(
        st.sampled_from(["1", "-2", "0.5", "nan", "inf", "null", "true", "a", "'x,y'", "[1]", "*",
                         "{a:1}", "log", "step=2", "1e400", "9" * 30, "${x}", "", "\\"]),
        lambda inner: st.builds(
            lambda name, parts: f"{name}({','.join(parts)})",
            st.sampled_from(["choice", "range", "interval", "glob", "tag", "shuffle", "sort",
                             "int", "float", "str", "bool", "json_str", ""]),
            st.lists(inner, max_size=3),
        ),
        max_leaves=6,
    ),
    st.sampled_from(["k", "+k", "~k", "k@p", "a.b", "", "k k"]),
)  # fmt: skip
@example("json_str({a:1})", "k")
def test_any_override_is_a_space_or_one_line(search: str, key: str) -> None:
    try:
        space = make_space(read_overrides([f"{key}={search}"], None), {})
    except SweepError:
        return
    for point in space.checks([], 4):
        assert all(isinstance(text, str) for text in space.overrides(point))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    params = study.ask(dict(space.distributions)).params
    OverridesParser.create().parse_overrides(space.overrides(params))


def test_what_is_checked_before_the_start() -> None:
    texts = ["g=choice(a,b,c)", "h=choice(x,y)", "n=range(9)", "s=choice(5,6,7)"]
    space = make_space(read_overrides(texts, None), {})
    points = space.checks(["g", "h"], 6)
    assert {(point["g"], point["h"]) for point in points} == {(g, h) for g in "abc" for h in "xy"}
    assert {point["n"] for point in points} == {0, 8} and {p["s"] for p in points} == {5, 6, 7}
    assert {p["s"] for p in space.checks([], 2)} == {5, 7}, "of more choices the ends only"
    few = space.checks(["g", "h"], 5)
    assert [point["g"] for point in few] == ["a", "b", "c"] and {p["h"] for p in few} == {"x", "y"}


@pytest.mark.parametrize("text", ["a${b}", "a\\${b}", "$", "it's ${x}'", "plain"])
def test_a_literal_is_read_back_without_interpolation(text: str) -> None:
    read = OverridesParser.create().parse_override(f"k={literal(text)}").value()
    assert OmegaConf.create({"k": read, "b": 1, "x": 2}).k == text


@pytest.mark.parametrize(
    "value",
    ["plain", "a,b", "it's", "back\\slash", "\\'", "end\\", "[1,2", "x: y", "", "a=b", "[1,2]"],
)
def test_a_sampled_value_is_read_back_as_it_was(value: Any) -> None:
    read = OverridesParser.create().parse_override(override_text("key", value)).value()
    # Not told apart from a list that was chosen, which the plugin also hands on as a text.
    assert read == (value if value != "[1,2]" else [1, 2])


@pytest.mark.parametrize("value", [3, -2, 0.1, 1e-7, -1e30, True, None])
def test_a_sampled_number_is_read_back_as_it_was(value: Any) -> None:
    read = OverridesParser.create().parse_override(override_text("key", value)).value()
    assert read == value and type(read) is type(value)


def test_a_grid_gives_every_point_once() -> None:
    grid = Grid({"a": [None, 1, "x"], "b": [0.1, 0.2]})
    taken: list[dict[str, Any]] = []
    while (point := grid.next(taken)) is not None:
        taken.append(point)
    assert taken == list(grid) and len(taken) == grid.count(100) == 6 and grid.count(4) == 4
    assert len({repr(point) for point in taken}) == 6


def test_a_grid_covers_what_only_some_points_have() -> None:
    more = {"square": {"corners": [4, 5], "seed": [0]}, "round": {"seed": [0, 1, 2]}}
    grid = Grid({"shape": ["square", "round"]}, lambda point: more[point["shape"]],
                ["corners", "seed"])  # fmt: skip
    taken: list[dict[str, Any]] = []
    while (point := grid.next(taken)) is not None:
        taken.append(point)
    assert len(taken) == grid.count(100) == 5 and grid.count(4) == 4
    assert {"shape": "square", "corners": 5, "seed": 0} in taken
    assert [point for point in taken if point["shape"] == "round"] == [
        {"shape": "round", "seed": seed} for seed in range(3)
    ]


def test_the_beginning_of_a_grid_is_spread_over_all_of_it() -> None:
    grid = Grid({key: range(3) for key in "abcde"})
    begun = [point for point, _ in zip(grid, range(12), strict=False)]
    assert all({point[key] for point in begun} == {0, 1, 2} for key in "abcde")


def test_an_interval_in_a_grid() -> None:
    suggest = optuna.create_study().ask()
    suggest.suggest_float("linear", 0.0, 1.0)
    suggest.suggest_float("log", 0.01, 1.0, log=True)
    found = {key: spaced(kind, 3) for key, kind in suggest.distributions.items()}
    assert found["linear"] == [0.0, 0.5, 1.0]
    assert found["log"] == pytest.approx([0.01, 0.1, 1.0])


# --- storage ---------------------------------------------------------------------------------


def test_secrets_are_found_and_not_shown() -> None:
    storage = StudyStorage("postgresql://me:pa%40ss@host/db?sslpassword=other")
    assert set(storage.secrets) == {"pa@ss", "other"}
    assert "pa" not in storage.shown.replace("password", "") and "other" not in storage.shown
    assert "pa%40ss" in storage.url and "other" in storage.url
    assert storage.traces == [":pa%40ss@", "sslpassword=other"]
    assert StudyStorage("sqlite:///x.db").url == f"sqlite:///{Path.cwd() / 'x.db'}"
    assert not StudyStorage(None).persistent and not StudyStorage("sqlite://").persistent


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "a{x}b",
        "a?b",
        "a#b",
        "50%",
        'it\'s "so"',
        "$x",
        "${x}",
        "\udce9",
        "ü",
        "a\nb",
        "a:b",
    ],
)
def test_a_study_lies_in_its_directory_whatever_its_name(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    relative = StudyStorage(f"sqlite:///{directory}/study.db") if "?" not in name else None
    with contextlib.chdir(directory):
        storage = StudyStorage("sqlite:///study.db")
        assert relative is None or relative.url == storage.url
        optuna.create_study(study_name="s", storage=storage.open())
        assert StudyStorage(storage.url).url == storage.url
    assert [path.name for path in directory.iterdir()] == ["study.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    # As a job opens it, from anywhere.
    assert optuna.load_study(study_name="s", storage=storage.url).trials == []
    assert storage.shown.isprintable()


def test_a_question_mark_in_an_sqlite_url_is_of_the_path_or_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"begins options, and 'study\.db' is none"):
        StudyStorage("sqlite:///odd?study.db")
    # No option has a slash: hydra.sweep.dir, in the URL, may have any name.
    path = tmp_path / "odd?" / "a?b" / "study.db"
    path.parent.mkdir(parents=True)
    StudyStorage(f"sqlite:///{path}").open()
    assert path.is_file() and os.listdir(tmp_path) == ["odd?"]
    assert StudyStorage("sqlite:////x/study.db?timeout=5").url == "sqlite:////x/study.db?timeout=5"


@pytest.mark.parametrize("password", ["a{b}c", "{", "100%"])
def test_a_password_may_hold_braces(password: str) -> None:
    storage = StudyStorage(f"postgresql://me:{password.replace('%', '%25')}@127.0.0.1:9/db")
    assert storage.secrets == [password]
    assert sqlalchemy.engine.make_url(storage.url.format()).password == password
    assert password not in storage.shown


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        (None, None),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ({"_target_": "optuna.storages.RDBStorage", "url": "sqlite:///x.db"}, "sqlite:///x.db"),
        ({"_target_": "optuna.storages.InMemoryStorage"}, None),
    ],
)
def test_a_storage_may_be_an_object(setting: Any, found: str | None) -> None:
    assert url_of(OmegaConf.create({"storage": setting}).storage) == found


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"_target_": "optuna.storages.JournalStorage"}, "JournalStorage is not supported"),
        ({"_target_": "optuna.storages.RDBStorage"}, "url is missing"),
        ({"_target_": "o.RDBStorage", "url": "x", "engine_kwargs": {}}, "engine_kwargs is not"),
        ({"path": "x"}, "this object is not supported"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused(setting: Any, words: str) -> None:
    with pytest.raises(SweepError, match=words):
        url_of(OmegaConf.create(setting))


def test_a_trials_directory_is_looked_for_below_the_sweeps() -> None:
    assert located("/now", "trial_00001") == "/now/trial_00001"
    assert located("/now", "/then/trial_00001") == "/now/trial_00001", "of a former version"


@pytest.mark.parametrize("url", ["mysql://u:geheim@h/d", "geheim", "nodb://u:geheim@h/d"])
def test_a_useless_storage_is_named_without_its_password(url: str) -> None:
    with pytest.raises(SweepError, match=r"hydra\.sweeper\.storage") as caught:
        StudyStorage(url)
    assert "geheim" not in str(caught.value)


def test_a_connection_lost_in_a_transaction_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> None:
        raise RuntimeError("server closed the connection unexpectedly")

    logging.getLogger("sqlalchemy.pool").setLevel(logging.NOTSET)  # a sweep may have quieted it
    for told in (True, False):
        engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.NullPool)
        connection = engine.connect()
        monkeypatch.setattr(engine.dialect, "do_rollback", gone)
        connection.close()
        assert ("Exception during reset" in caplog.text) == told
        caplog.clear()
        _quiet_libraries()


def test_a_missing_driver_is_named_at_the_lock_and_at_the_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)  # as if it were not installed
    storage = StudyStorage("postgresql+psycopg2://u:geheim@127.0.0.1:9/d")
    with pytest.raises(SweepError, match="its driver is not installed") as caught:
        storage.open()
    assert "geheim" not in str(caught.value)
    with (
        pytest.raises(SweepError, match="its driver is not installed") as caught,
        storage.lock("x"),
    ):
        pass
    assert "geheim" not in str(caught.value)


def test_the_lock_keeps_others_out_until_its_holder_dies(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    code = f"""
import time
from hydra_plugins.hydra_cvae_sweeper._storage import StudyStorage
with StudyStorage({url!r}).lock("x"):
    print("held", flush=True)
    time.sleep(60)
"""
    root = str(Path(__file__).resolve().parents[2])
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    stopping = StudyStorage(url, lambda: True)
    began = time.monotonic()
    with pytest.raises(optuna.exceptions.StorageInternalError), stopping.lock("x"):
        pass
    assert time.monotonic() - began > 1
    holder.kill()
    holder.wait()
    with stopping.lock("x"):
        pass


# --- owners ----------------------------------------------------------------------------------


def test_who_is_dead() -> None:
    me = this_process()
    other = Owner(me.host, me.place, me.pid, me.started, "another worker")
    assert is_dead(me._asdict(), me) is False
    assert is_dead(other._asdict(), me) is False, "the process lives"
    assert is_dead(other._replace(started="0")._asdict(), me) is True, "the id was reused"
    assert is_dead(other._replace(pid=2**22 + 1)._asdict(), me) is True
    assert is_dead(other._replace(host="elsewhere")._asdict(), me) is None
    assert is_dead(other._replace(place="after a reboot")._asdict(), me) is None
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.5)
    assert start_of(zombie.pid) is None, "a zombie runs nothing"
    zombie.wait()


def test_only_changes_of_a_heartbeat_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pulse = _Pulse(silence=10.0)
    assert not pulse.is_silent("w", 5)
    clock[0] += 9
    assert not pulse.is_silent("w", 5)
    assert not pulse.is_silent("w", 4)  # its clock or count went back: still a sign of life
    clock[0] += 9
    assert not pulse.is_silent("w", 4)
    clock[0] += 2
    assert pulse.is_silent("w", 4)


# --- the book --------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path}/study.db"


# What a storage writes a trial with, in Optuna 2 and later.
STORAGE_WRITES = (
    "create_new_trial",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "set_trial_state",
    "set_trial_state_values",
)


def open_book(
    url: str,
    me: Owner,
    total: int = 4,
    silence: float = 0.2,
    retries: int = 2,
    directory: str = "/sweep",
    grid: Grid | None = None,
) -> Book:
    storage = StudyStorage(url)
    study = optuna.create_study(study_name="s", storage=storage.open(), load_if_exists=True)
    study.sampler = optuna.samplers.RandomSampler(seed=1)
    return Book(study, storage, me, Limits(total, retries, silence), grid, directory)


def test_two_books_take_exactly_the_total(url: str) -> None:
    me = this_process()
    books = [open_book(url, me._replace(worker=name)) for name in "ab"]
    claims = [book.claim() for _ in range(3) for book in books]
    numbers = [claim.number for claim in claims if claim is not None]
    assert numbers == [0, 1, 2, 3]


def test_a_worker_elsewhere_is_dead_after_its_silence(url: str) -> None:
    me = this_process()
    far = open_book(url, me._replace(host="far", worker="far"), total=1)
    near = open_book(url, me._replace(worker="near"), total=1)
    far.beat()
    claim = far.claim()
    assert claim is not None
    claim.trial.suggest_float("x", 0.0, 1.0)
    far.describe(claim, "trial_00000", ["x=1"])
    for _ in range(4):  # alive for longer than the silence
        far.beat()
        assert near.claim() is None
        time.sleep(0.1)
    time.sleep(0.3)
    taken = near.claim()
    assert taken is not None and taken.resume_from == ["trial_00000"]
    assert taken.trial.suggest_float("x", 0.0, 1.0) == claim.trial.params["x"]
    # The other one was only slow: what it tells now changes nothing.
    far.finish(claim, Outcome("value", value=0.5))
    trials = near.finish(taken, Outcome("value", value=0.25))
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert count_finished(trials) == 1


def test_retries_end(url: str, tmp_path: Path) -> None:
    me = this_process()
    for attempt in range(3):
        book = open_book(
            url, me._replace(worker=str(attempt)), total=1, retries=2, directory=str(tmp_path)
        )
        claim = book.claim()
        assert claim is not None
        (tmp_path / str(attempt)).mkdir()
        book.describe(claim, str(attempt), [])
        book.interrupt([claim], "interrupted")
    trials = book.trials()
    assert [t.user_attrs.get("retry_of") for t in trials] == [None, 0, 1]
    assert trials[2].user_attrs["resume_from"] == ["1", "0"]
    assert trials[2].user_attrs["reason"] == "interrupted; given up after 2 retries"
    words = [json.loads((tmp_path / str(n) / "unfinished.json").read_text()) for n in range(3)]
    assert [word["status"] for word in words] == ["interrupted", "interrupted", "failed"]
    assert words[2]["reason"] == "interrupted; given up after 2 retries"
    assert count_finished(trials) == 1 and book.claim() is None


def test_a_claim_broken_off_half_way_is_taken_again(url: str) -> None:
    me = this_process()
    book = open_book(url, me, total=1)
    book.study.ask()  # a worker that died before it could sign
    assert book.claim() is None, "it may be another program's"
    time.sleep(0.3)
    claim = book.claim()
    assert claim is not None and claim.trial.user_attrs["retry_of"] == 0


@pytest.mark.parametrize("is_grid", [False, True])
@pytest.mark.parametrize("steps", range(6))
def test_a_worker_killed_while_it_claims_costs_no_waiting(
    url: str, monkeypatch: pytest.MonkeyPatch, steps: int, is_grid: bool
) -> None:
    """Killed after any number of writes, it leaves a trial that the next worker takes at once."""
    grid = Grid({"x": [1, 2]}) if is_grid else None
    dead = this_process()._replace(pid=2**22 + 1, worker="dead")
    victim = open_book(url, dead, total=2, silence=1000.0, grid=grid)
    storage = victim.study._storage
    left = steps

    def until_killed(write: Callable[..., object]) -> Callable[..., object]:
        def written(*arguments: object, **more: object) -> object:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return write(*arguments, **more)

        return written

    with monkeypatch.context() as patch:
        for name in STORAGE_WRITES:
            if hasattr(storage, name):
                patch.setattr(storage, name, until_killed(getattr(storage, name)))
        with contextlib.suppress(KeyboardInterrupt):
            victim.claim()
    book = open_book(url, this_process(), total=2, silence=1000.0, grid=grid)
    claims = [book.claim(), book.claim()]
    assert all(claims) and book.claim() is None
    for claim in claims:
        assert claim is not None
        if is_grid:
            claim.trial.suggest_categorical("x", [1, 2])
        book.finish(claim, Outcome("value", value=1.0))
    assert count_finished(book.trials()) == 2
    if is_grid:
        assert sorted(known_params(trial)["x"] for trial in counted(book.trials())) == [1, 2]


def test_another_programs_trial_is_left_alone_while_it_changes(url: str) -> None:
    book = open_book(url, this_process(), total=1)
    foreign = book.study.ask()  # as the stock sweeper does: it signs nothing
    for step in range(4):
        assert book.claim() is None
        foreign.report(1.0, step)
        time.sleep(0.1)
    book.study.tell(foreign, 1.0)
    assert book.claim() is None and count_finished(book.trials()) == 1


@pytest.mark.parametrize("lost", ["set_trial_user_attr", "create_new_trial", "ask"])
def test_a_claim_that_lost_the_database_is_taken_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    book = open_book(url, this_process(), total=1, silence=1000.0)

    def away(*_: object, **__: object) -> None:
        raise optuna.exceptions.StorageInternalError("away")

    if lost == "set_trial_user_attr":
        book.queue({"x": 1})
    with monkeypatch.context() as patch:
        patch.setattr(book.study if lost == "ask" else book.study._storage, lost, away)
        with pytest.raises(optuna.exceptions.StorageInternalError):
            book.claim()
    claim = book.claim()
    assert claim is not None and claim.number == 0 and book.claim() is None


def test_the_copy_of_a_study_does_not_wait_for_the_workers_of_the_original(
    url: str, tmp_path: Path
) -> None:
    me = this_process()
    original = open_book(url, me._replace(worker="of the original"), total=1, silence=1000.0)
    claim = original.claim()
    assert claim is not None
    original.describe(claim, "trial_00000", [])
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "study.db", tmp_path / "copy")
    copy = open_book(f"sqlite:///{tmp_path}/copy/study.db", me, total=1, silence=1000.0)
    taken = copy.claim()
    assert taken is not None and taken.resume_from == ["trial_00000"]
    assert open_book(url, me, total=1).claim() is None, "the original's worker lives"


def test_failed_trials_are_queued_again_once(url: str, tmp_path: Path) -> None:
    book = open_book(url, this_process(), total=2, directory=str(tmp_path))
    for kind, value in (("failed", None), ("value", 1.0)):
        claim = book.claim()
        assert claim is not None
        claim.trial.suggest_float("x", 0.0, 1.0)
        directory = tmp_path / str(claim.number)
        directory.mkdir()
        book.describe(claim, directory.name, [])
        book.finish(claim, Outcome(kind, value=value, reason="no such file"))
    assert book.claim() is None
    assert book.retry_failed() == 1 and book.retry_failed() == 0
    assert json.loads((tmp_path / "0/unfinished.json").read_text())["status"] == "interrupted"
    claim = book.claim()
    assert claim is not None and claim.trial.user_attrs["retry_of"] == 0
    assert claim.trial.suggest_float("x", 0.0, 1.0) == book.trials()[0].params["x"]
    book.finish(claim, Outcome("value", value=2.0))
    assert count_finished(book.trials()) == 2 and book.claim() is None


def test_a_database_lost_while_a_trial_is_sampled_costs_no_trial(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = open_book(url, this_process(), total=1, directory=str(tmp_path))
    space = make_space(read_overrides(["x=interval(0.0,1.0)"], None), {})
    plan = Plan(str(tmp_path), ["minimize"], space)
    storage = StudyStorage(url)
    patience = Patience(storage, StopRequest(), seconds=0.0)
    configs: Any = None  # not used: trials are named by the study's numbers
    claims = Claims(book, plan, configs, storage, patience, allow_repeats=False, extend=None)

    def away(*_: object) -> None:
        raise optuna.exceptions.StorageInternalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(book.study._storage, "set_trial_param", away)
        with pytest.raises(SweepError, match="did not answer"):
            claims.take()
    assert not claims.running
    with monkeypatch.context() as patch:
        patch.setattr(claims, "_repeated_by", away)
        with pytest.raises(SweepError, match="did not answer"):
            claims.take()
    assert not claims.running
    claim = claims.take()
    assert claim is not None and claim.trial.user_attrs["retry_of"] == 1
    assert list(claims.running) == [claim.number] and (tmp_path / claim.directory).is_dir()
    assert claim.overrides == [f"x={claim.trial.params['x']}"]
    assert 0.0 <= claim.trial.params["x"] <= 1.0
    assert book.trials()[0].state == TrialState.FAIL


def test_a_trial_that_was_taken_starts_without_the_database(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a server that stops between the two ends the sweep, however patient it is."""
    halving = read_halving({"rungs": [0.5], "reduction_factor": 3}, 1, 1)
    book = open_book(url, this_process(), total=2, directory=str(tmp_path))
    space = make_space(read_overrides(["x=interval(0.0,1.0)"], None), {})
    plan = Plan(str(tmp_path), ["minimize"], space, halving=halving)
    storage, configs = StudyStorage(url), SimpleNamespace(extra=[])
    patience = Patience(storage, StopRequest(), seconds=0.0)
    claims = Claims(
        book, plan, cast(Any, configs), storage, patience, allow_repeats=False, extend=None
    )
    claim = claims.take()
    assert claim is not None

    def away(*_: object, **__: object) -> None:
        raise optuna.exceptions.StorageInternalError("away")

    queries = [name for name in dir(book.study._storage) if name.startswith("get_")]
    assert len(queries) > 10
    with monkeypatch.context() as patch:
        for name in queries:
            patch.setattr(book.study._storage, name, away)
        overrides = claims.job_overrides(claim)
    assert overrides[0] == claim.overrides[0] and any("CVAE_TRIAL_ID" in o for o in overrides)


def test_the_job_reports_to_the_same_trial(url: str) -> None:
    book = open_book(url, this_process())
    claim = book.claim()
    assert claim is not None
    book.describe(claim, "/run", [])
    handle = tie.current(
        {"CVAE_STUDY": "s", "CVAE_TRIAL": "0", "CVAE_STORAGE": url,
         "CVAE_TRIAL_ID": str(claim.trial_id), "CVAE_RESUME_FROM": '["/a:1", "/b"]',
         "CVAE_PRUNER": '{"_target_": "optuna.pruners.ThresholdPruner", "upper": 1.0}'}
    )  # fmt: skip
    assert handle is not None and handle.resume_from == (Path("/a:1"), Path("/b"))
    handle.report(0.5, 0)
    assert not handle.should_prune()
    handle.report(float("nan"), 1)
    handle.report(2.0, 2)
    assert handle.should_prune()
    handle.show(0.5, epoch="4/8", bleu4=0.25)
    assert book.trials()[0].user_attrs["progress"] == {"share": 0.5, "epoch": "4/8", "bleu4": 0.25}
    trial = book.finish(claim, Outcome("pruned", reason="too much"))[0]
    assert trial.state == TrialState.PRUNED and trial.value == 2.0
    assert trial.intermediate_values == {0: 0.5, 2: 2.0}


# --- the job's side --------------------------------------------------------------------------


def test_outside_a_sweep_there_is_no_trial() -> None:
    assert tie.current({}) is None
    variables = {"CVAE_STUDY": "s", "CVAE_TRIAL": "3", "CVAE_CONFIRMS": "1"}
    handle = tie.current(variables)
    assert handle is not None and (handle.number, handle.confirms) == (3, 1)
    handle.report(1.0, 0)
    assert handle.should_prune() is False
    assert isinstance(tie.pruned("why"), optuna.TrialPruned)


def test_a_silent_study_stops_pruning_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tie, "_WAITS", (0.01, 0.01))
    handle = tie.TrialHandle("s", 0, _storage="sqlite:////nowhere/secret.db", _trial_id=1)
    with caplog.at_level(logging.WARNING, logger=tie.__name__):
        for step in range(3):
            handle.report(1.0, step)
            assert handle.should_prune() is False
    assert len(caplog.records) == 1
    assert "going on without pruning" in caplog.text and "secret" not in caplog.text


# --- small ones ------------------------------------------------------------------------------


def test_what_an_objective_may_be() -> None:
    def state(value: Any, objectives: int = 1) -> TrialState:
        return judge(Outcome("value", value=value), objectives)[0]

    assert state(1) == state("2.5") == state([1, 2], 2) == TrialState.COMPLETE
    for value in (None, float("nan"), float("-inf"), [1.0], {}):
        assert state(value) == TrialState.FAIL
    for value in (1.0, [1.0], [1.0, None], [1.0, float("nan")], [1, 2, 3], None):
        assert state(value, 2) == TrialState.FAIL


def test_an_identity_names_the_first_difference(url: str) -> None:
    study = open_book(url, this_process()).study
    mine = {"direction": {"direction": "minimize"}, "search space": {"x": "0..1"},
            "configuration": {"a": "1", "b": "2"}}  # fmt: skip
    check_identity(study, mine)
    check_identity(study, mine)
    with pytest.raises(SweepError, match=r"search space: x was 0\.\.1, is absent"):
        check_identity(study, {**mine, "search space": {}})
    with pytest.raises(SweepError, match=r"configuration: a was 1, is 3 \(and 1 more\)"):
        check_identity(study, {**mine, "configuration": {"a": "3", "b": "4"}})


def test_an_identity_takes_input_that_it_did_not_know_and_refuses_another(url: str) -> None:
    """A study from before there were inputs, or begun while a file was missing, goes on."""
    study = open_book(url, this_process()).study
    older = {"direction": {"direction": "minimize"}, "search space": {}, "configuration": {}}
    check_identity(study, older)
    check_identity(study, {**older, "input": {}})
    check_identity(study, {**older, "input": {"the data in t.txt": "sha256:1"}})
    check_identity(study, {**older, "input": {}})  # missing now
    with pytest.raises(SweepError, match="another input: the data in t.txt was sha256:1, is sha"):
        check_identity(study, {**older, "input": {"the data in t.txt": "sha256:2"}})


def test_a_check_says_each_warning_once_and_gathers_inputs() -> None:
    def function(config: dict[str, Any]) -> dict[str, str] | None:
        warnings.warn("t.txt: 2 repeated\n rows dropped", stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return {f"file {config['name']}": "sha256:1"} if config["name"] else None

    check = Check(function, [(logging.INFO, "before")])
    for name in ("a", "b", ""):
        check({"name": name})
    said = (logging.WARNING, "t.txt: 2 repeated rows dropped")
    assert check.notes == [(logging.INFO, "before"), said]
    assert check.inputs == {"file a": "sha256:1", "file b": "sha256:1"}
    Check(None, [])({})


def test_a_directory_is_never_used_twice(tmp_path: Path) -> None:
    names = [unused_directory(str(tmp_path), "trial_00007") for _ in range(3)]
    assert names == ["trial_00007", "trial_00007_2", "trial_00007_3"]
    assert unused_directory(str(tmp_path), "a/b") == "a/b" and (tmp_path / "a/b").is_dir()


def test_a_database_that_comes_back_is_waited_for() -> None:
    troubles = [OSError("x"), OSError("y")]

    def action() -> str:
        if troubles:
            raise troubles.pop()
        return "back"

    def wait(seconds: float) -> Any:
        return patiently(action, seconds=seconds, trouble=(OSError,),
                         give_up=lambda: False, describe=str, complain=heard.append)  # fmt: skip

    heard: list[str] = []
    assert wait(5.0) == "back" and heard == ["y"]
    troubles.append(OSError("for good"))
    with pytest.raises(SweepError, match=r"\(for good\); the same command continues"):
        wait(0.0)


def test_the_nursery_preloads_once_and_outlives_its_jobs() -> None:
    def run(overrides: Any, number: int) -> Any:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        # What the job's collector need not look at: all that was imported before.
        spared = gc.get_freeze_count() > len(gc.get_objects())
        return number, "this" in sys.modules, os.environ["OMP_NUM_THREADS"], spared

    sys.modules.pop("this", None)
    nursery = Nursery(run, preload=["this", "no.such.module"], threads=3)
    outcomes: dict[int, Outcome] = {}
    for key in range(3):
        nursery.start(key, [], key)
    while len(outcomes) < 3:
        outcomes.update({ended.key: ended.outcome for ended in nursery.wait(5.0)})
    nursery.close()
    assert outcomes[0].value == (0, True, "3", True)
    assert outcomes[2].value == (2, True, "3", True)
    assert outcomes[1].reason == "the process was killed by SIGKILL (out of memory?)"
    assert len(nursery.warnings) == 1 and "no.such.module" in nursery.warnings[0]
