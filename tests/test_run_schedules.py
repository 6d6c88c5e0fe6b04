"""What is drawn is what acts: the points against the trainer's own schedules at every step."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_config import compose

from cvae import chosen_data, from_config, run_schedules
from cvae.model import build_model
from cvae.schedules import kl_weight_schedule

CONFIGS = {
    "cycles of one epoch, two levels": ("training.epochs=16",),
    "cycles of a fraction of an epoch": ("training.epochs=2", "anneal.cycle_count=40"),
    "one level": ("model=single", "training.epochs=12"),
    "cosine": ("anneal.ramp=cosine", "training.epochs=12"),
    "delayed": ("anneal=delayed", "anneal.start=0.5", "model=single", "training.epochs=12"),
    "z never learns": ("training.prior_start=1.0", "training.partition_start=1.0",
                       "training.coverage_start=1.0"),
    "no time for z": ("training.prior_start=0.3", "training.partition_start=0.3"),
    "z to the end": ("training.prior_start=0.0", "training.partition_start=1.0",
                     "training.coverage_start=1.0"),
    "report": ("experiment=report", "training.epochs=30"),
    "forcing": ("teacher_forcing=inverse_sigmoid", "training.epochs=12"),
    "StepLR": ("optim.encoder_step_epochs=3", "optim.encoder_step_gamma=0.7",
               "training.epochs=12"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONFIGS))
def test_points_show_what_the_trainer_uses(name: str, tmp_path: Path) -> None:
    words = tmp_path / "train.txt"
    words.write_text("".join(f"{w} {w}s {w}ing {w}ed\n" for w in ("walk", "talk", "jump", "open")))
    overrides = ("data=files", f"data.train_path={words}", *CONFIGS[name])
    batches = () if name == "report" else ("training.batch_size=2",)
    config = compose(*overrides, *batches)
    sizes = {key: value for key, value in config["model"].items() if key != "name"}
    model = build_model(config["model"]["name"], **sizes)
    dataset = chosen_data.load_dataset(config["data"])
    trainer = from_config.make_trainer(config, model, dataset, torch.device("cpu"))
    points = run_schedules.schedule_points(config)
    used: dict[str, list[float]] = {column: [] for column in points}
    steps = range(trainer.total_steps)
    progress = [trainer._progress_at(step) for step in steps]
    for step, share in zip(steps, progress, strict=True):
        rates = trainer.optimizers.rates(share, step // trainer.steps_per_epoch)
        used["kl_weight"].append(trainer.kl_weight(share))
        used["teacher_forcing_ratio"].append(trainer.teacher_forcing_ratio(share))
        used["encoder_lr"].append(rates["encoder"])
        used["decoder_lr"].append(rates["decoder"])
    assert len(points) == 4
    for column, values in used.items():
        xs, ys = np.array(points[column]).T
        assert (xs[0], xs[-1]) == (0.0, 1.0) and (np.diff(xs) > 0).all()
        # A jump falls between two steps, or within a step of where the picture has it.
        near = [np.interp(np.add(progress, shift), xs, ys) for shift in (-1 / len(steps), 0, 1e-6)]
        error = np.min(np.abs(np.subtract(near, values)), axis=0)
        assert error.max() <= 0.005 * max(values), column


@settings(deadline=None)
@given(
    cycles=st.integers(1, 60),
    ramp=st.sampled_from(["linear", "sigmoid", "cosine"]),
    ramp_fraction=st.floats(0.0, 1.0),
)
def test_every_cycle_is_drawn_from_zero_to_its_top(
    cycles: int, ramp: str, ramp_fraction: float
) -> None:
    knobs = dict(ramp=ramp, cycle_count=cycles, ramp_fraction=ramp_fraction, kl_weight_max=2.0)
    schedule = kl_weight_schedule("cyclical", **knobs)
    points = run_schedules.sampled(schedule, cells=16 * max(4, cycles))
    xs, ys = np.array(points).T
    inside = (np.arange(cycles * 7) + 0.5) / (cycles * 7)
    drawn = np.interp(inside, xs, ys)
    assert drawn == pytest.approx([schedule(x) for x in inside], abs=0.01)
    assert len(points) <= 30 * cycles + 2


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, {"kl_weight", "teacher_forcing_ratio", "encoder_lr", "decoder_lr"}),
        ({"anneal": {"name": "unknown"}}, {"teacher_forcing_ratio", "encoder_lr", "decoder_lr"}),
        ({"teacher_forcing": None, "optim": 3}, {"kl_weight"}),
        ({"optim": {"encoder_lr": "fast"}}, {"kl_weight", "teacher_forcing_ratio"}),
        ({"training": {}}, {"teacher_forcing_ratio", "decoder_lr"}),
    ],
)
def test_what_a_config_does_not_describe_is_left_out(
    change: dict[str, Any], left: set[str]
) -> None:
    config = {**copy.deepcopy(compose()), **change}
    assert set(run_schedules.schedule_points(config)) == left
    assert run_schedules.schedule_points({}) == {} == run_schedules.phases({})


def test_phases_are_those_that_the_model_has() -> None:
    assert run_schedules.phases(compose()) == {
        "prior_start": 0.05,
        "partition_start": 0.3,
        "coverage_start": 0.36,
    }
    assert run_schedules.phases(compose("model=single")) == {"coverage_start": 0.36}
    assert run_schedules.phases(compose("model=single", "training.coverage_draws=0")) == {}
