"""The training loop: a step, every setting, resuming, divergence, toy tasks learned exactly."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers import (
    DEFAULT,
    MODELS,
    OPTIMIZER,
    PHASES,
    REPORT,
    ROWS,
    SETTINGS,
    STEMS,
    equal,
    make,
    regular,
    trained,
    weights,
)

from cvae import training
from cvae.alphabet import decode
from cvae.batches import PairBatch, TrainingRows
from cvae.losses import kl_per_unit
from cvae.model import ConditionalVAE, build_model
from cvae.optimizers import Diverged, OptimizerSettings
from cvae.schedules import learning_rate_factor
from cvae.state import StateError
from cvae.training import Trainer, TrainingSettings

# Counting


def test_epochs_steps_and_progress() -> None:
    trainer = make()
    assert (trainer.steps_per_epoch, trainer.total_steps) == (3, 9)
    assert (trainer.epoch, trainer.step, trainer.progress, trainer.finished) == (0, 0, 0.0, False)
    trainer.train_epoch()
    assert (trainer.epoch, trainer.step, trainer.finished) == (1, 3, False)
    assert trainer.progress == pytest.approx(3 / 8)
    trained(trainer, 2)
    assert (trainer.epoch, trainer.step, trainer.progress, trainer.finished) == (3, 9, 1.0, True)


def test_the_last_batch_may_be_smaller() -> None:
    trainer = make(settings=dataclasses.replace(SETTINGS, batch_size=7))
    assert trainer.steps_per_epoch == 4
    trainer.train_epoch()
    assert trainer.step == 4


@pytest.mark.parametrize("kind", list(MODELS))
def test_an_epoch_reports_its_losses_and_schedules(kind: str) -> None:
    trainer = make(kind, settings=PHASES)
    losses = trainer.train_epoch()
    assert all(math.isfinite(value) for value in dataclasses.astuple(losses))
    # An untrained decoder predicts each of the 28 symbols with about the same probability.
    symbols = float(ROWS.lengths.double().mean())
    assert losses.cross_entropy == pytest.approx(symbols * math.log(28), rel=0.1)
    assert losses.kl > 0.0
    last = 2 / 8  # progress of the epoch's last step
    of_latent = (last - 0.1) / 0.3 if kind == "two levels" else last
    assert losses.kl_weight == pytest.approx(0.2 * (0.5 + 0.5 * of_latent))
    assert losses.teacher_forcing_ratio == 0.6
    factor = learning_rate_factor("one_cycle", last)
    assert losses.encoder_lr == pytest.approx(3e-3 * factor)  # no drop in the first epoch
    assert losses.decoder_lr == pytest.approx(2e-3 * factor)


def test_cross_entropy_and_kl_are_means_over_words_and_not_over_batches() -> None:
    """With a learning rate of zero, the epoch's means can be computed at once."""
    still = dataclasses.replace(OPTIMIZER, encoder_lr=0.0, decoder_lr=0.0)
    plain = dataclasses.replace(
        SETTINGS,
        batch_size=7,
        pairs="same",
        hallucination_share=0.0,
        character_dropout=0.0,
        coverage_draws=0,
    )
    trainer = make("one level", settings=plain, optimizer=still, ratio=1.0)
    with torch.no_grad():  # also make the noise negligible
        head: Any = trainer.model.encoder.head
        head.weight[2:] = 0.0
        head.bias[2:] = -100.0
    losses = trainer.train_epoch()
    every = torch.arange(len(ROWS) * 4)
    words = ROWS.words(every // 4, every % 4)
    posterior = trainer.model.encode(words.symbols, words.lengths, every % 4)
    expected = trainer.model.reconstruction(posterior.mean, every % 4, words.symbols)
    assert losses.cross_entropy == pytest.approx(float(expected.detach().mean()), rel=1e-4)
    kl = kl_per_unit(posterior).sum(dim=1).mean()
    assert losses.kl == pytest.approx(float(kl.detach()), rel=1e-5)


# A step


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_step_of_sgd_goes_down_the_gradient_of_reconstruction_and_weighted_kl(
    reduction: str,
) -> None:
    """One level, one batch, no other loss: the parameters change by -lr times the gradient."""
    plain = dataclasses.replace(
        SETTINGS,
        epochs=1,
        batch_size=len(STEMS) * 4,
        pairs="same",
        hallucination_share=0.0,
        character_dropout=0.0,
        coverage_draws=0,
        reduction=reduction,
    )
    sgd = dataclasses.replace(
        OPTIMIZER,
        algorithm="sgd",
        encoder_lr=0.3,
        decoder_lr=0.1,
        schedule="constant",
        gradient_clip=0.0,
    )
    trainer = make("report", settings=plain, optimizer=sgd, ratio=1.0, kl_weight=0.4)
    model = copy.deepcopy(trainer.model)

    generator = torch.Generator().manual_seed(training._epoch_seed(1, 0))
    (batch,) = ROWS.epoch(batch_size=24, pairs="same", hallucination_share=0.0, generator=generator)
    posterior = model.encode(batch.source.symbols, batch.source.lengths, batch.source_tense)
    code = posterior.sample(generator)
    nats = model.reconstruction(code, batch.target_tense, batch.target.symbols)
    per_symbol = nats / batch.target.lengths  # of its letters and its end
    loss = (nats if reduction == "sum" else per_symbol).mean()
    loss = loss + 0.2 * kl_per_unit(posterior).sum(dim=1).mean()  # the weight at progress 0
    loss.backward()

    reported = trainer.train_epoch().cross_entropy
    assert reported == pytest.approx(float(nats.detach().mean())), "always in nats per word"
    for (name, before), after in zip(
        model.named_parameters(), trainer.model.parameters(), strict=True
    ):
        rate = 0.3 if name.startswith("encoder") else 0.1
        assert before.grad is not None
        torch.testing.assert_close(after, before - rate * before.grad, msg=name)


# Knobs


def knob(kind: str, change: dict[str, Any], base: dict[str, Any] | None = None) -> Any:
    label = ", ".join(f"{name}={value}" for name, value in change.items())
    return pytest.param(kind, change, base or {}, id=f"{kind}: {label}")


KNOBS = [
    knob("one level", {"epochs": 4}),
    knob("one level", {"batch_size": 9}),
    knob("one level", {"pairs": "same"}),
    knob("one level", {"reduction": "mean"}),
    knob("one level", {"hallucination_share": 0.0}),
    knob("one level", {"hallucination_start_share": 0.0}),
    knob("one level", {"character_dropout": 0.0}),
    knob("two levels", {"word_kl_weight": 0.5}),
    knob("two levels", {"prior_start": 0.3}),
    knob("two levels", {"partition_start": 0.6}),
    knob("one level", {"coverage_start": 0.5}),
    knob("two levels", {"coverage_start": 0.5}),
    knob("two levels", {"prior_lr": 1e-3}),
    knob("one level", {"coverage_draws": 0}),
    knob("two levels", {"coverage_draws": 7}),
    knob("one level", {"coverage_weight": 2.0}),
    knob("two levels", {"coverage_weight": 2.0}),
    knob("two levels", {"code_draws": 9}),
    knob("two levels", {"code_steps": 3}),
    knob("one level", {"forcing_coin": "sequence"}),
    knob("report", {"forcing_coin": "sequence"}),
    knob("one level", {"algorithm": "sgd"}),
    knob("one level", {"encoder_lr": 1e-3}),
    knob("one level", {"decoder_lr": 1e-3}),
    knob("one level", {"momentum": 0.9}, {"algorithm": "sgd"}),
    knob("one level", {"schedule": "constant"}),
    knob("one level", {"encoder_step_epochs": 0}),
    knob("one level", {"encoder_step_gamma": 0.1}),
    knob("one level", {"gradient_clip": 0.0}, {"algorithm": "sgd"}),
    knob("one level", {"kl_weight": 0.9}),
    knob("two levels", {"kl_weight": 0.9}),
    knob("report", {"free_nats": 1.0}),
    knob("two levels", {"free_nats": 1.0}),
    knob("report", {"target_nats": 3.0}),
    knob("two levels", {"target_nats": 3.0}),
    knob("report", {"ratio": 0.1}),
    knob("one level", {"ratio": 0.1}),
    knob("one level", {"seed": 2}),
]


def build(kind: str, changes: dict[str, Any]) -> Trainer:
    def pick(template: Any) -> Any:
        own = {field.name for field in dataclasses.fields(template)}
        return dataclasses.replace(template, **{k: v for k, v in changes.items() if k in own})

    chosen, optimizer = pick(PHASES), pick(OPTIMIZER)
    known = dataclasses.asdict(chosen).keys() | dataclasses.asdict(optimizer).keys()
    rest = {name: value for name, value in changes.items() if name not in known}
    return make(kind, settings=chosen, optimizer=optimizer, **rest)


@functools.cache
def unchanged(kind: str, algorithm: str) -> dict[str, Tensor]:
    return trained(build(kind, {"algorithm": algorithm}))


@pytest.mark.parametrize("kind", list(MODELS))
def test_the_same_settings_learn_the_same_to_the_bit(kind: str) -> None:
    torch.manual_seed(99)
    assert equal(trained(build(kind, {})), unchanged(kind, "adam"))


@pytest.mark.parametrize(("kind", "change", "base"), KNOBS)
def test_every_knob_changes_what_is_learned(
    kind: str, change: dict[str, Any], base: dict[str, Any]
) -> None:
    changed = trained(build(kind, {**base, **change}), PHASES.epochs)
    assert not equal(changed, unchanged(kind, base.get("algorithm", "adam")))


def test_the_settings_above_are_complete() -> None:
    named = {name for param in KNOBS for name in param.values[1]}
    fields = {
        field.name
        for kind in (TrainingSettings, OptimizerSettings)
        for field in dataclasses.fields(kind)
    }
    assert fields <= named


@pytest.mark.parametrize("kind", ["encoder", "decoder", "prior"])
def test_a_part_with_a_rate_of_zero_is_not_changed(kind: str) -> None:
    still = dataclasses.replace(
        OPTIMIZER,
        **{f"{kind}_lr": 0.0},
    )
    trainer = make(settings=PHASES, optimizer=still)
    before, after = weights(trainer), trained(trainer, PHASES.epochs)
    for name, value in before.items():
        if name in ("prior.code_mean", "prior.code_scale"):
            continue
        moved = not torch.equal(value, after[name])
        assert moved != name.startswith(f"{kind}."), name


def test_a_gradient_longer_than_the_clip_is_cut_to_it() -> None:
    plain = dataclasses.replace(SETTINGS, epochs=1, batch_size=24)
    sgd = dataclasses.replace(
        OPTIMIZER,
        algorithm="sgd",
        encoder_lr=1.0,
        decoder_lr=1.0,
        schedule="constant",
        gradient_clip=0.01,
    )
    trainer = make("one level", settings=plain, optimizer=sgd)
    before, after = weights(trainer), trained(trainer, 1)
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before])
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


# Learning rates


@pytest.mark.parametrize("every", [1, 2])
def test_step_lr_drops_the_encoders_rate_alone(every: int) -> None:
    stepped = dataclasses.replace(
        OPTIMIZER, schedule="constant", encoder_step_epochs=every, encoder_step_gamma=0.5
    )
    trainer = make("report", optimizer=stepped, settings=dataclasses.replace(SETTINGS, epochs=4))
    seen = [trainer.train_epoch() for _ in range(4)]
    expected = {1: [1.0, 0.5, 0.25, 0.125], 2: [1.0, 1.0, 0.5, 0.5]}[every]
    assert [losses.encoder_lr for losses in seen] == pytest.approx([3e-3 * x for x in expected])
    assert [losses.decoder_lr for losses in seen] == [2e-3] * 4


# Resuming


@pytest.mark.parametrize(
    ("kind", "algorithm", "momentum", "chosen"),
    [
        *itertools.product(MODELS, ["adam"], [0.0], [PHASES]),
        *itertools.product(MODELS, ["sgd"], [0.9], [PHASES]),
        ("two levels", "adam", 0.0, SETTINGS),
        ("one level", "adam", 0.0, SETTINGS),
        ("report", "sgd", 0.0, SETTINGS),
    ],
)
def test_a_resumed_run_repeats_the_uninterrupted_one_to_the_bit(
    kind: str, algorithm: Any, momentum: float, chosen: TrainingSettings
) -> None:
    optimizer = dataclasses.replace(OPTIMIZER, algorithm=algorithm, momentum=momentum)
    whole = make(kind, settings=chosen, optimizer=optimizer)
    straight = [whole.train_epoch() for _ in range(3)]
    for stop in (1, 2):
        first = make(kind, settings=chosen, optimizer=optimizer)
        trained(first, stop)
        state = first.state()
        trained(first, 1)  # further training must not change the saved state
        torch.manual_seed(99)  # nothing may depend on the global generator
        second = make(kind, settings=chosen, optimizer=optimizer)
        with torch.no_grad():
            for parameter in second.model.parameters():
                parameter.add_(1.0)
        second.load_state(*state)
        assert (second.epoch, second.step) == (stop, stop * 3)
        rest = [second.train_epoch() for _ in range(3 - stop)]
        assert rest == straight[stop:]
        assert equal(whole.state()[0], second.state()[0])
        assert whole.state()[1] == second.state()[1]


def test_the_state_is_made_of_tensors_and_plain_counters() -> None:
    trainer = make()
    trainer.train_epoch()
    tensors, counters = trainer.state()
    assert all(isinstance(value, Tensor) for value in tensors.values())
    curve = counters.pop("loss_curve")
    assert counters == {"epoch": 1, "step": 3, "prior_scaled": True}
    assert json.loads(json.dumps(curve)) == curve
    assert [row["step"] for row in trainer.loss_curve.rows()] == [1, 2, 3]
    assert {name.split(".")[0] for name in tensors} == {"model", "optimizer", "partition"}


FAULTS: dict[str, Any] = {
    "no weights": {"model.decoder.out.bias": None},
    "weights that are no numbers": {"model.decoder.out.bias": torch.full((28,), math.nan)},
    "biases of other rows": {"partition.bias": torch.zeros(5)},
    "a moment of another size": {"optimizer.decoder.0.exp_avg": torch.zeros(1)},
    "an unknown part": {"optimizer.other.0.step": torch.zeros(())},
    "prior_scaled is neither": {"prior_scaled": 1},
    "epoch is -1": {"epoch": -1},
    "epoch is 4": {"epoch": 4},
    "epoch is 1.0": {"epoch": 1.0},
    "step is 4 after 1 epochs": {"step": 4},
    "step is None": {"step": None},
    "a loss curve of texts": {"loss_curve": {"closed": [], "step": 3, "sums": ["a", "b", "c"]}},
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_state_that_does_not_match_is_refused_and_not_loaded(fault: str) -> None:
    source = make()
    source.train_epoch()
    tensors, counters = source.state()
    for name, value in FAULTS[fault].items():
        changed: dict[str, Any] = counters if name in counters else tensors
        changed[name] = value
    given = {name: value for name, value in tensors.items() if value is not None}
    trainer = make()
    before = trainer.state()
    with pytest.raises(StateError, match=fault if " is " in fault else next(iter(FAULTS[fault]))):
        trainer.load_state(given, counters)
    after = trainer.state()
    assert equal(before[0], after[0]) and before[1] == after[1]


# Divergence


def test_an_absurd_learning_rate_is_named_as_divergence() -> None:
    absurd = dataclasses.replace(
        OPTIMIZER,
        algorithm="sgd",
        encoder_lr=1e12,
        decoder_lr=1e12,
        schedule="constant",
        gradient_clip=0.0,
    )
    trainer = make("report", optimizer=absurd)
    with pytest.raises(Diverged, match=r"(loss|KL|gradient).*step \d+"):
        trained(trainer, 3)


def test_an_exploding_kl_is_named_with_its_limit() -> None:
    trainer = make("report")
    with torch.no_grad():
        encoder: Any = trainer.model.encoder
        encoder.mean.bias.fill_(1e4)
    with pytest.raises(Diverged, match=r"KL exploded to 2e\+08 nats per word at step 0 .*1e\+05"):
        trainer.train_epoch()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(value: float) -> None:
    trainer = make("report")
    with torch.no_grad():
        decoder: Any = trainer.model.decoder
        decoder.out.bias[0] = value
    before = weights(trainer)
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) at step 0"):
        trainer.train_epoch()
    after = weights(trainer)
    assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)


def test_an_additional_loss_that_explodes_is_reported() -> None:
    """Only the generator learns here, so the losses of encoder and decoder do not show it."""
    unclipped = dataclasses.replace(OPTIMIZER, gradient_clip=0.0)
    trainer = make(settings=dataclasses.replace(PHASES, coverage_start=1.0), optimizer=unclipped)
    trained(trainer, 2)
    assert trainer.upper_level is not None
    with torch.no_grad():
        trainer.upper_level.prior.generator[-1].bias.fill_(math.inf)
    with pytest.raises(Diverged, match=r"the loss became (inf|nan) at step 6"):
        trainer.train_epoch()


# Toy tasks: tiny models, a handful of verbs, every letter right

TOY_STEMS = ("walk", "help", "jump", "mend")


class FixedPairs(TrainingRows):
    """Rows whose pairs all have the same source and target tense."""

    def __init__(self, source_tense: int, target_tense: int) -> None:
        super().__init__([regular(stem) for stem in TOY_STEMS])
        self._tenses = source_tense, target_tense

    def epoch(self, **knobs: Any) -> Any:
        for batch in super().epoch(**knobs):
            source_tense, target_tense = (
                torch.full_like(batch.rows, tense) for tense in self._tenses
            )
            yield PairBatch(
                rows=batch.rows,
                source=self.words(batch.rows, source_tense),
                source_tense=source_tense,
                target=self.words(batch.rows, target_tense),
                target_tense=target_tense,
            )


def converted(model: ConditionalVAE, rows: TrainingRows, source: int, target: int) -> list[str]:
    model.eval()
    index = torch.arange(len(rows))
    words = rows.words(index, torch.full_like(index, source))
    with torch.no_grad():
        posterior = model.encode(words.symbols, words.lengths, torch.full_like(index, source))
        said = model.greedy(posterior.mean, torch.full_like(index, target))
    return [decode(symbols) for symbols in said.tolist()]


TOY = dataclasses.replace(
    SETTINGS,
    epochs=60,
    batch_size=8,
    hallucination_share=0.0,
    character_dropout=0.0,
    coverage_draws=0,
    word_kl_weight=0.0,
    prior_start=1.0,
    partition_start=1.0,
)
TOY_OPTIMIZER = dataclasses.replace(
    OPTIMIZER, encoder_lr=2e-2, decoder_lr=2e-2, encoder_step_epochs=0
)
TOY_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "report": ("report", {**REPORT, "hidden_size": 48, "latent_size": 8}),
    "one level": ("default", {**DEFAULT, "word_latent_size": 0, "latent_size": 8}),
    "two levels": ("default", {**DEFAULT, "word_latent_size": 8}),
}


@pytest.mark.parametrize("kind", list(TOY_MODELS))
@pytest.mark.parametrize(("source", "target"), [(0, 0), (0, 3)], ids=["copy", "append ed"])
def test_a_toy_task_is_learned_to_the_last_letter(kind: str, source: int, target: int) -> None:
    rows = FixedPairs(source, target)
    torch.manual_seed(0)
    name, sizes = TOY_MODELS[kind]
    trainer = Trainer(
        build_model(name, **sizes),
        rows,
        TOY,
        TOY_OPTIMIZER,
        kl_weight=lambda progress: 0.0,
        # The report's decoder is fed its own output, which it does not see with teacher forcing.
        teacher_forcing_ratio=lambda progress: 0.0 if kind == "report" else 1.0,
        free_nats=None,
        target_nats=None,
        seed=1,
        device=torch.device("cpu"),
    )
    expected = [stem + ("ed" if target == 3 else "") for stem in TOY_STEMS]
    assert converted(trainer.model, rows, source, target) != expected
    first = last = trainer.train_epoch()
    while not trainer.finished:
        last = trainer.train_epoch()
    assert converted(trainer.model, rows, source, target) == expected
    assert last.cross_entropy < 0.05 * first.cross_entropy
