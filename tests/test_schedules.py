from __future__ import annotations

import inspect
import math
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cvae import schedules

CONFIGS = Path(__file__).parents[1] / "configs"
ROUNDING = 1e-12
PATIENT = settings(deadline=None)  # a slow machine is not a failure

shares = st.floats(0.0, 1.0)
weights = st.floats(0.0, 10.0)
ramps = st.sampled_from(sorted(schedules.RAMPS))
positive = st.floats(min_value=0.0, exclude_min=True, allow_infinity=False)

KL_KNOBS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "cyclical": {
        "ramp": ramps,
        "cycle_count": st.integers(1, 50),
        "ramp_fraction": shares,
        "kl_weight_max": weights,
    },
    "monotonic": {"ramp": ramps, "ramp_fraction": shares, "kl_weight_max": weights},
    "constant": {"kl_weight_max": weights},
    "delayed": {"start": shares, "kl_weight_max": weights},
    "free_bits": {"ramp": ramps, "ramp_fraction": shares, "kl_weight_max": weights},
    "target_kl": {"kl_weight_max": weights},
}
FORCING_KNOBS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "constant": {"ratio": shares},
    "linear": {
        "ratio_start": st.floats(0.5, 1.0),
        "ratio_end": st.floats(0.0, 0.5),
        "end": st.floats(0.0, 1.0, exclude_min=True),
    },
    "exponential": {"half": positive, "ratio_min": shares},
    "inverse_sigmoid": {"half": positive, "steepness": positive, "ratio_min": shares},
}
EVERY = [("anneal", name) for name in KL_KNOBS] + [
    ("teacher_forcing", name) for name in FORCING_KNOBS
]


def build(group: str, name: str, **knobs: Any) -> schedules.Schedule:
    if group == "anneal":
        return schedules.kl_weight_schedule(name, **knobs)
    return schedules.teacher_forcing_schedule(name, **knobs)


def cyclical(**changes: Any) -> schedules.Schedule:
    knobs = {"ramp": "linear", "cycle_count": 4, "ramp_fraction": 0.5, "kl_weight_max": 1.0}
    return schedules.kl_weight_schedule("cyclical", **(knobs | changes))


def over_steps(schedule: schedules.Schedule, step_count: int) -> list[float]:
    return [schedule(step / step_count) for step in range(step_count + 1)]


# The contract of every schedule


def test_the_contract_tests_cover_every_schedule() -> None:
    assert list(KL_KNOBS) == list(schedules.KL_WEIGHTS)
    assert list(FORCING_KNOBS) == list(schedules.TEACHER_FORCING)
    for group, registry in (
        (KL_KNOBS, schedules.KL_WEIGHTS),
        (FORCING_KNOBS, schedules.TEACHER_FORCING),
    ):
        for name, function in registry.items():
            assert ["progress", *group[name]] == list(inspect.signature(function).parameters)


@pytest.mark.parametrize(("group", "name"), EVERY)
@PATIENT
@given(data=st.data())
def test_stays_in_range_and_is_monotone_inside_a_cycle(
    group: str, name: str, data: st.DataObject
) -> None:
    strategies = KL_KNOBS if group == "anneal" else FORCING_KNOBS
    knobs = data.draw(st.fixed_dictionaries(strategies[name]))
    schedule = build(group, name, **knobs)
    step_count = data.draw(st.integers(1, 97))
    values = over_steps(schedule, step_count)
    top = knobs.get("kl_weight_max", knobs.get("kl_weight", 1.0))
    assert all(type(value) is float and 0.0 <= value <= top for value in values)

    cycles = knobs.get("cycle_count", 1)
    sign = 1.0 if group == "anneal" else -1.0
    for step, (before, after) in enumerate(pairwise(values)):
        # The cycle of a step in exact integer arithmetic; the last step belongs to the last cycle.
        same = step * cycles // step_count == min((step + 1) * cycles // step_count, cycles - 1)
        if same:
            assert sign * (after - before) >= -ROUNDING


@pytest.mark.parametrize(("group", "name"), EVERY)
@pytest.mark.parametrize("progress", [-1e-9, 1.0 + 1e-9, math.nan, math.inf])
def test_progress_outside_zero_and_one_is_an_error(group: str, name: str, progress: float) -> None:
    schedule = build(**member(group, name))
    with pytest.raises(
        schedules.ScheduleError, match=r"progress is .*allowed: a number in \[0, 1\]"
    ):
        schedule(progress)


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_every_knob_moves_its_schedule(group: str, name: str) -> None:
    moved = {
        "ramp": "cosine",
        "cycle_count": 3,
        "ramp_fraction": 0.3,
        "kl_weight": 0.3,
        "kl_weight_max": 0.3,
        "start": 0.3,
        "ratio": 0.3,
        "ratio_start": 0.9,
        "ratio_end": 0.3,
        "ratio_min": 0.8,
        "end": 0.3,
        "half": 0.3,
        "steepness": 3.0,
    }
    config = member(group, name)
    before = over_steps(build(**config), 40)
    registry = schedules.KL_WEIGHTS if group == "anneal" else schedules.TEACHER_FORCING
    for knob in list(inspect.signature(registry[name]).parameters)[1:]:
        assert over_steps(build(**(config | {knob: moved[knob]})), 40) != before, knob


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_a_schedule_can_be_sent_to_another_process(group: str, name: str) -> None:
    schedule = build(**member(group, name))
    copy = pickle.loads(pickle.dumps(schedule))
    assert over_steps(copy, 7) == over_steps(schedule, 7)


# Ramps


@pytest.mark.parametrize("name", schedules.RAMPS)
def test_ramp_has_exact_ends_and_is_symmetric(name: str) -> None:
    ramp = schedules.RAMPS[name]
    assert (ramp(0.0), ramp(1.0)) == (0.0, 1.0)
    assert ramp(0.5) == pytest.approx(0.5, abs=ROUNDING)


@pytest.mark.parametrize("name", schedules.RAMPS)
@PATIENT
@given(low=shares, high=shares)
def test_ramp_never_falls(name: str, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    ramp = schedules.RAMPS[name]
    assert 0.0 <= ramp(low) <= ramp(high) + ROUNDING <= 1.0 + ROUNDING


@pytest.mark.parametrize(
    ("name", "quarter"),
    [("linear", 0.25), ("sigmoid", (0.04742587 - 0.00247262) / 0.99505475), ("cosine", 0.14644661)],
)
def test_ramp_golden_values(name: str, quarter: float) -> None:
    assert schedules.RAMPS[name](0.25) == pytest.approx(quarter, abs=1e-7)


# Cyclical, monotonic


def test_cyclical_golden_values() -> None:
    values = over_steps(cyclical(cycle_count=2, kl_weight_max=0.5), 16)
    climb = [0.0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5]
    assert values == [*climb, *climb, 0.5]


def test_cyclical_agrees_with_the_reference_formula_where_the_cycles_divide_the_steps() -> None:
    step_count, cycle_count, ramp_fraction = 40, 4, 0.5
    schedule = cyclical(cycle_count=cycle_count, ramp_fraction=ramp_fraction)
    for t in range(1, step_count + 1):
        period = step_count / cycle_count
        tau = (t - 1) % math.ceil(period) / period
        expected = min(tau / ramp_fraction, 1.0)
        assert schedule((t - 1) / step_count) == pytest.approx(expected, abs=ROUNDING)


@PATIENT
@given(
    cycle_count=st.integers(1, 60),
    periods=st.integers(1, 60),
    ramp=ramps,
    ramp_fraction=st.floats(0.01, 1.0),
)
@example(cycle_count=49, periods=1, ramp="linear", ramp_fraction=1.0)
def test_every_cycle_starts_at_zero_and_the_run_ends_at_the_maximum(
    cycle_count: int, periods: int, ramp: str, ramp_fraction: float
) -> None:
    schedule = cyclical(cycle_count=cycle_count, ramp=ramp, ramp_fraction=ramp_fraction)
    step_count = cycle_count * periods
    for cycle in range(cycle_count):
        assert schedule(cycle * periods / step_count) == 0.0
    assert schedule(1.0) == 1.0


@PATIENT
@given(cycle_count=st.integers(1, 20), step_count=st.integers(1, 97))
def test_cycles_are_equally_long_when_they_do_not_divide_the_steps(
    cycle_count: int, step_count: int
) -> None:
    values = over_steps(cyclical(cycle_count=cycle_count, ramp_fraction=1.0), step_count)
    for step, value in enumerate(values[:-1]):
        assert value == pytest.approx(step * cycle_count % step_count / step_count, abs=1e-8)
    assert values[-1] == 1.0


@pytest.mark.parametrize("ramp", schedules.RAMPS)
def test_ramp_fraction_zero_is_constant(ramp: str) -> None:
    assert set(over_steps(cyclical(ramp=ramp, ramp_fraction=0.0), 11)) == {1.0}


@pytest.mark.parametrize("ramp", schedules.RAMPS)
def test_ramp_fraction_one_reaches_the_maximum_only_at_the_end(ramp: str) -> None:
    values = over_steps(cyclical(ramp=ramp, ramp_fraction=1.0, cycle_count=3), 30)
    assert values[-1] == 1.0
    assert max(values[:-1]) < 1.0


def test_single_step_run_goes_from_zero_to_the_maximum() -> None:
    assert over_steps(cyclical(), 1) == [0.0, 1.0]


@PATIENT
@given(ramp=ramps, ramp_fraction=shares, progress=shares)
def test_monotonic_is_cyclical_with_one_cycle(
    ramp: str, ramp_fraction: float, progress: float
) -> None:
    monotonic = schedules.kl_monotonic(
        progress, ramp=ramp, ramp_fraction=ramp_fraction, kl_weight_max=1.0
    )
    one_cycle = cyclical(ramp=ramp, ramp_fraction=ramp_fraction, cycle_count=1)
    assert monotonic == one_cycle(progress)


# Constant, delayed


def test_constant_is_constant() -> None:
    assert set(over_steps(schedules.kl_weight_schedule("constant", kl_weight_max=0.05), 9)) == {
        0.05
    }


def test_delayed_is_zero_before_its_start_and_at_once_the_maximum() -> None:
    schedule = schedules.kl_weight_schedule("delayed", start=0.5, kl_weight_max=2.0)
    assert over_steps(schedule, 4) == [0.0, 0.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(("start", "values"), [(0.0, [1.0, 1.0, 1.0]), (1.0, [0.0, 0.0, 1.0])])
def test_delayed_at_the_ends_of_its_range(start: float, values: list[float]) -> None:
    schedule = schedules.kl_weight_schedule("delayed", start=start, kl_weight_max=1.0)
    assert over_steps(schedule, 2) == values


# Teacher forcing


def test_linear_forcing_falls_to_its_end_and_stays() -> None:
    schedule = schedules.teacher_forcing_schedule("linear", ratio_start=1.0, ratio_end=0.2, end=0.5)
    assert over_steps(schedule, 8) == pytest.approx(
        [1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2], abs=ROUNDING
    )
    assert schedule(1.0) == 0.2


@PATIENT
@given(half=st.floats(0.01, 10.0))
def test_exponential_forcing_halves_after_half(half: float) -> None:
    schedule = schedules.teacher_forcing_schedule("exponential", half=half, ratio_min=0.0)
    assert schedule(0.0) == 1.0
    for halvings in range(1, 5):
        if halvings * half <= 1.0:
            assert schedule(halvings * half) == pytest.approx(0.5**halvings, rel=1e-12)


@PATIENT
@given(half=st.floats(0.01, 1.0), steepness=st.floats(0.1, 1e6))
def test_inverse_sigmoid_forcing_is_one_half_at_half(half: float, steepness: float) -> None:
    schedule = schedules.teacher_forcing_schedule(
        "inverse_sigmoid", half=half, steepness=steepness, ratio_min=0.0
    )
    assert schedule(half) == 0.5
    assert schedule(0.0) == pytest.approx(1.0 / (1.0 + math.exp(-steepness * half)), rel=1e-12)


@pytest.mark.parametrize("k", [2.0, 10.0, 50.0])
def test_inverse_sigmoid_forcing_agrees_with_the_reference_formula(k: float) -> None:
    step_count = 400
    schedule = schedules.teacher_forcing_schedule(
        "inverse_sigmoid",
        half=k * math.log(k) / step_count,
        steepness=step_count / k,
        ratio_min=0.0,
    )
    for i in range(step_count + 1):
        expected = k / (k + math.exp(i / k))
        assert schedule(i / step_count) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("half", [5e-324, 1e-300, 1.0, 1e308])
@pytest.mark.parametrize("steepness", [5e-324, 1.0, 1e308])
def test_extreme_floats_do_not_overflow(half: float, steepness: float) -> None:
    exponential = schedules.teacher_forcing_schedule("exponential", half=half, ratio_min=0.0)
    sigmoid = schedules.teacher_forcing_schedule(
        "inverse_sigmoid", half=half, steepness=steepness, ratio_min=0.0
    )
    for schedule in (exponential, sigmoid):
        assert all(0.0 <= value <= 1.0 for value in over_steps(schedule, 10))


@pytest.mark.parametrize("name", ["exponential", "inverse_sigmoid"])
def test_ratio_never_falls_below_its_floor(name: str) -> None:
    values = over_steps(
        build(**(member("teacher_forcing", name) | {"half": 0.1, "ratio_min": 0.3})), 20
    )
    assert min(values) == values[-1] == 0.3
    assert values[0] > 0.3


# Faults


@pytest.mark.parametrize(
    ("group", "name", "changes", "message"),
    [
        ("anneal", "cyclical", {"ramp": "cubic"}, "ramp is 'cubic'; allowed: one of linear, sigm"),
        ("anneal", "cyclical", {"cycle_count": 0}, "cycle_count is 0; allowed: a whole number in"),
        ("anneal", "cyclical", {"cycle_count": 2.5}, "cycle_count is 2.5; allowed: a whole number"),
        ("anneal", "cyclical", {"cycle_count": True}, "cycle_count is True; allowed: a whole num"),
        ("anneal", "cyclical", {"ramp_fraction": 1.5}, "ramp_fraction is 1.5; allowed: a number"),
        ("anneal", "monotonic", {"kl_weight_max": -1.0}, "kl_weight_max is -1.0; allowed: a finit"),
        (
            "anneal",
            "constant",
            {"kl_weight_max": math.inf},
            "kl_weight_max is inf; allowed: a finite num",
        ),
        (
            "anneal",
            "constant",
            {"kl_weight_max": math.nan},
            "kl_weight_max is nan; allowed: a finite num",
        ),
        ("anneal", "constant", {"kl_weight_max": 10**400}, "allowed: a finite number >= 0"),
        (
            "anneal",
            "constant",
            {"kl_weight_max": "1"},
            "kl_weight_max is '1'; allowed: a finite number",
        ),
        (
            "anneal",
            "constant",
            {"kl_wieght_max": 1},
            "kl_wieght_max is 1, but there is no such key",
        ),
        ("anneal", "constant", {"free_nats": 1}, "free_nats is 1, but there is no such key"),
        ("anneal", "delayed", {"start": -0.1}, "start is -0.1; allowed: a number in [0, 1]"),
        ("anneal", "free_bits", {"free_nats": -0.1}, "free_nats is -0.1; allowed: a finite numb"),
        ("anneal", "target_kl", {"target_nats": None}, "target_nats is None; allowed: a finite"),
        ("anneal", "cyclic", {}, "name is 'cyclic'; allowed: one of cyclical, monotonic, constant"),
        (
            "teacher_forcing",
            "constant",
            {"ratio": 1.1},
            "ratio is 1.1; allowed: a number in [0, 1]",
        ),
        ("teacher_forcing", "constant", {"coin": "die"}, "coin is 'die'; allowed: one of token, s"),
        ("teacher_forcing", "linear", {"end": 0}, "end is 0; allowed: a number in (0, 1]"),
        ("teacher_forcing", "exponential", {"half": 0}, "half is 0; allowed: a finite number > 0"),
        ("teacher_forcing", "inverse_sigmoid", {"steepness": 0}, "steepness is 0; allowed: a fini"),
        ("teacher_forcing", "cosine", {}, "name is 'cosine'; allowed: one of constant, linear"),
    ],
)
def test_a_fault_names_key_value_and_what_is_allowed(
    group: str, name: str, changes: dict[str, Any], message: str
) -> None:
    path = CONFIGS / group / f"{name}.yaml"
    config = member(group, name) if path.exists() else {"group": group, "name": name}
    with pytest.raises(schedules.ScheduleError) as error:
        build(**(config | changes))
    assert message in str(error.value)


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(schedules.ScheduleError) as error:
        schedules.kl_weight_schedule("cyclical", ramp="cubic", cycle_count=0, ramp_fraction=2)
    for key in (
        "ramp is 'cubic'",
        "cycle_count is 0",
        "ramp_fraction is 2",
        "kl_weight_max is miss",
    ):
        assert key in str(error.value)


def test_a_linear_ratio_that_would_rise_is_an_error() -> None:
    with pytest.raises(schedules.ScheduleError, match=r"ratio_end is 0.9; .* ratio_start \(0.5\)"):
        schedules.teacher_forcing_schedule("linear", ratio_start=0.5, ratio_end=0.9, end=1.0)


# Config members


def member(group: str, name: str) -> dict[str, Any]:
    config = yaml.safe_load((CONFIGS / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return {"group": group} | config


def test_every_schedule_has_one_config_member() -> None:
    for group, registry in (
        ("anneal", schedules.KL_WEIGHTS),
        ("teacher_forcing", schedules.TEACHER_FORCING),
    ):
        named = [yaml.safe_load(path.read_text()) for path in (CONFIGS / group).glob("*.yaml")]
        # A member without a name of its own builds on another one.
        assert sorted(each["name"] for each in named if "name" in each) == sorted(registry)
        assert all(set(registry) & set(each["defaults"]) for each in named if "name" not in each)


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_config_member_holds_its_name_and_exactly_the_knobs(group: str, name: str) -> None:
    config = member(group, name)
    registry = schedules.KL_WEIGHTS if group == "anneal" else schedules.TEACHER_FORCING
    own = list(inspect.signature(registry[name]).parameters)[1:]
    elsewhere = ["coin"] if group == "teacher_forcing" else []
    elsewhere += schedules.KNOBS_USED_ELSEWHERE.get(name, ()) if group == "anneal" else ()
    assert list(config)[:2] == ["group", "name"]
    assert config["name"] == name
    assert set(config) == {"group", "name", *own, *elsewhere}
    build(**config)


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_config_member_opens_with_its_command_and_explains_every_key(group: str, name: str) -> None:
    lines = (CONFIGS / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# python -m cvae.run {group}={name}"
    for before, line in pairwise(lines):
        if not line.startswith("#"):
            assert before.startswith("# "), f"no reason above {line!r}"


def test_coins() -> None:
    for coin in schedules.COINS:
        assert schedules.teacher_forcing_schedule("constant", ratio=0.5, coin=coin)(0.3) == 0.5
