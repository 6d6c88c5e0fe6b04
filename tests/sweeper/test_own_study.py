"""What values on the command line mean: a study of their own, or a part of the one named."""

from __future__ import annotations

import re
from itertools import product

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial
from standin import Standin, complete

from hydra_plugins.hydra_cvae_sweeper._errors import SweepError
from hydra_plugins.hydra_cvae_sweeper._own_study import has_own_study, is_grid, name_of
from hydra_plugins.hydra_cvae_sweeper._search import read_overrides

DEFAULT = "sweep=default"


@pytest.mark.parametrize(
    ("overrides", "member", "own"),
    [
        ("seed=0,1 anneal=cyclical", "default", True),
        ("seed=choice(0)", "default", True),
        ("lr=interval(0,1)", "default", True),
        ("debug=smoke seed=0,1", "default", True),
        ("", "default", False),
        ("training.epochs=8", "default", False),
        ("sweep=anneal seed=0,1", "anneal", False),
        ("sweep=default seed=0,1", "default", False),
        ("experiment=claim_x seed=0,1", "base", False),  # which chooses sweep=base
    ],
)
def test_who_the_values_belong_to(overrides: str, member: str, own: bool) -> None:
    assert has_own_study(overrides.split(), {"sweep": member}, DEFAULT) == own
    assert not has_own_study(overrides.split(), {"sweep": member}, None)


def test_one_study_at_a_time() -> None:
    with pytest.raises(SweepError, match="sweep=default,anneal: one study at a time"):
        has_own_study(["sweep=default,anneal"], {"sweep": "default"}, DEFAULT)
    with pytest.raises(SweepError, match="default_study is 'sweep'; allowed: GROUP=MEMBER"):
        has_own_study([], {}, "sweep")


@pytest.mark.parametrize(
    ("overrides", "grid"),
    [
        ("seed=0,1 anneal=cyclical", True),
        ("seed=range(0,3) lr=choice(0.1)", True),
        ("lr=range(0.0,1.0,0.1)", True),
        ("seed=0,1 lr=interval(0,1)", False),
        ("latent=int(interval(1,8))", False),
        ("latent=interval(1,8)", False),
        ("lr=tag(log,interval(0.1,1))", False),
    ],
)
def test_a_grid_has_no_interval(overrides: str, grid: bool) -> None:
    assert is_grid(overrides.split()) == grid


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ("seed=0,1,2 anneal=cyclical,monotonic", "anneal-cyclical-monotonic+seed-0-1-2"),
        ("anneal=cyclical,monotonic seed=0,1,2", "anneal-cyclical-monotonic+seed-0-1-2"),
        ("seed=choice(0,1)", "seed-0-1"),
        ("optim.encoder_lr=interval(0.001,0.01)", "optim.encoder_lr-interval-0.001-0.01"),
        ("seed=0,1 training.epochs=8", "seed-0-1+training.epochs-8"),
        ("seed=0,1 threads=1 storage=postgresql", "seed-0-1"),
        ("threads=1,2", "threads-1-2"),  # what is varied is never ignored
    ],
)
def test_a_name_reads_like_its_command(overrides: str, name: str) -> None:
    assert name_of(overrides.split(), ["threads", "storage"]) == name


def test_blanks_between_values_do_not_matter() -> None:
    assert name_of(["seed=0, 1"], []) == name_of(["seed=0,1"], []) == "seed-0-1"


TEXTS = ["x=-1,1", "x=1,-1", "x='a b',c", "x='ab',c", "+x=1,2", "x=1,2", "x='1,2',3", "x=1,2,3",
         "x=a/b,c", "x=a-b,c", "x=a,b,c", "x=[1,2],[3]", "x=[1],[2,3]", "~y", "y=1,2", "x.y=1,2",
         "x=" + ",".join(map(str, range(40))), "x=" + ",".join(map(str, range(41))),
         "x='\u00e4',b", "x='\u00f6',b", "x=A,b", "x={a:1},{a:2}"]  # fmt: skip


@given(st.lists(st.sampled_from(TEXTS), max_size=3), st.lists(st.sampled_from(TEXTS), max_size=3))
@settings(max_examples=40, deadline=None)
@example(["x=-1,1"], ["x=1,-1"])
def test_a_name_is_safe_bounded_and_tells_commands_apart(one: list[str], other: list[str]) -> None:
    names = [name_of(["seed=0,1", *texts], []) for texts in (one, other)]
    for name in names:
        assert re.fullmatch(r"[\w.@+-]{1,80}", name, re.ASCII)
        read = OverridesParser.create().parse_override(f"hydra.sweep.dir=multirun/{name}/x")
        assert read.value() == f"multirun/{name}/x", "it can be pasted into an override"
    assert (names[0] == names[1]) == (sorted(one) == sorted(other))


def test_what_is_said_last_of_a_key_counts() -> None:
    parsed = read_overrides(["x=1", "y=1,2", "z=range(0.0,1.0,0.5)", "x=3,4", "y=5", "+z=2"], None)
    assert set(parsed.distributions) == {"x"} and parsed.fixed == {"y": "5", "+z": "2"}
    assert not parsed.exact


# --- as a user sees it -----------------------------------------------------------------------


def trials_of(standin: Standin, name: str) -> list[FrozenTrial]:
    study: optuna.study.Study = standin.study(name, f"sweep/{name}/study.db")
    return study.trials


def run(standin: Standin, *overrides: str, code: int = 0) -> str:
    return standin.run("--config-name", "studied", *overrides, code=code)


def test_values_alone_are_a_grid_that_resumes(standin: Standin) -> None:
    command = ("x=1,2", "kind=plain,fancy", "y=3", "hydra.sweeper.n_jobs=2")
    name = "kind-plain-fancy+x-1-2+y-3"
    run(standin, *command, "hydra.sweeper.n_trials=1")
    assert len(trials_of(standin, name)) == 1
    run(standin, *reversed(command))  # all of it, for nothing says less
    trials = trials_of(standin, name)
    assert sorted((t.params["x"], t.params["kind"]) for t in trials) == sorted(
        product((1, 2), ("plain", "fancy"))
    )
    assert all(t.value == (t.params["x"] - 3) ** 2 + 3 for t in complete(trials))
    assert len(complete(trials)) == 4, "more than the default study's three"
    # Nothing lies anywhere else, and other values are another study.
    assert {path.name for path in standin.sweep.iterdir()} == {name}
    run(standin, "x=1,3", "hydra.sweeper.study_name=mine")
    assert [t.params for t in trials_of(standin, "mine")] == [{"x": 1}, {"x": 3}]
    refused = run(standin, "x=1,4", "hydra.sweeper.study_name=mine", code=2)
    assert "study 'mine' was begun with another search space: x was" in refused


def test_an_interval_makes_it_a_search_over_these_keys_alone(standin: Standin) -> None:
    run(standin, "x=interval(0,1)", "kind=plain,fancy")
    trials = trials_of(standin, "kind-plain-fancy+x-interval-0-1")
    assert len(trials) == 3, "as many as the default study"
    assert all(set(t.params) == {"x", "kind"} and t.params["x"] <= 1 for t in trials)
    assert all(t.value == pytest.approx((t.params["x"] - 3) ** 2) for t in trials), "y is not 2"


def test_without_values_it_is_the_default_study(standin: Standin) -> None:
    run(standin, "kind=fancy")
    trials = trials_of(standin, "usual")
    assert len(trials) == 3 and all(set(t.params) == {"x"} for t in trials)
    assert all(t.value == pytest.approx((t.params["x"] - 3) ** 2 + 2) for t in trials)


@pytest.mark.parametrize(
    ("study", "given", "points"),
    [
        ("shapes", ["x=1,2"], [("round", None), ("square", 4), ("square", 5), ("square", 6)]),
        ("shapes", ["shape.corners=7,8"], [("round", None), ("square", 7), ("square", 8)]),
        ("shapes", ["shape=square,dot"], [("dot", None), *(("square", n) for n in (4, 5, 6))]),
    ],
)
def test_values_beside_a_named_study_replace_or_add(
    study: str, given: list[str], points: list[tuple[str, int | None]], standin: Standin
) -> None:
    run(standin, f"search={study}", *given, "hydra.sweeper.n_trials=100")
    trials = complete(trials_of(standin, study))
    found = [(t.params["shape"], t.params.get("shape.corners")) for t in trials]
    repeats = 2 if given == ["x=1,2"] else 1
    assert sorted(found, key=str) == sorted(points * repeats, key=str)


def test_a_key_that_a_named_study_fixes_can_be_varied(standin: Standin) -> None:
    run(standin, "search=shapes", "shape=dot", "y=0,1")
    assert sorted(t.params["y"] for t in trials_of(standin, "shapes")) == [0, 1]
