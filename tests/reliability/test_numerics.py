"""Training stays finite or reports divergence; losses and gradients are correct.

Beside this: tests/test_model.py (gradients of the whole loss in every parameter), tests/
test_recurrence.py (against nn.LSTM) and tests/test_training.py (a step goes down the gradient).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import FULL, cases
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional

from cvae import from_config, recurrence
from cvae.alphabet import PAD
from cvae.batches import words_to_tensor
from cvae.config import check
from cvae.coverage import row_posteriors
from cvae.data import Dataset, load_table
from cvae.losses import code_nll, kl_penalty, kl_per_unit
from cvae.model import LOGVAR_RANGE, ConditionalVAE, Gaussian, build_model
from cvae.optimizers import Diverged
from cvae.training import Trainer

sys.path.insert(0, str(Path(__file__).parent.parent))
from test_config import compose, members
from test_recurrence import HIDDEN, Parts, run_own_outputs, run_own_symbols, run_true
from trainers import MODELS, OPTIMIZER, PHASES, ROWS, make, tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def doubles_do_not_leak() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def finite(trainer: Trainer) -> bool:
    """Whether weights, log-variances and KL are all finite."""
    posterior = row_posteriors(trainer.model, trainer.rows, CPU)
    latent = trainer.model.infer_latent(posterior)
    values = [*trainer.model.parameters(), *posterior, *latent, kl_per_unit(latent)]
    low, high = LOGVAR_RANGE
    in_range = all(
        bool(((g.logvar >= low) & (g.logvar <= high)).all()) for g in (posterior, latent)
    )
    return in_range and all(bool(torch.isfinite(value).all()) for value in values)


# --- Every combination of config groups --------------------------------------------------------

GROUPS = ("model", "anneal", "teacher_forcing", "optim")
COMBINATIONS = list(itertools.product(*(members(group) for group in GROUPS)))
SMALL = {
    "default": {"word_latent_size": 16, "hidden_size": 24, "encoder_hidden_size": 16,
                "embedding_size": 12, "prior_hidden_size": 16, "grid_size": 8, "grid_levels": 2,
                "grid_features": 2},
    "single": {"hidden_size": 24, "encoder_hidden_size": 16, "embedding_size": 12},
    "report": {"hidden_size": 24, "condition_size": 4, "latent_size": 8},
    "report_symbol": {"hidden_size": 24, "condition_size": 4, "latent_size": 8},
}  # fmt: skip
EPOCHS = 10 if FULL else 1  # of five steps


@pytest.fixture(scope="module")
def forty_verbs() -> Dataset:
    shipped = load_table("common")
    return dataclasses.replace(shipped, train=shipped.train[:40])


@pytest.mark.parametrize(
    "members_", COMBINATIONS if FULL else COMBINATIONS[::7], ids="-".join
)  # 7: every member of every group, and nearly every pair of two
def test_every_combination_trains(members_: tuple[str, ...], forty_verbs: Dataset) -> None:
    overrides = [f"{group}={member}" for group, member in zip(GROUPS, members_, strict=True)]
    sizes = [f"model.{key}={value}" for key, value in SMALL[members_[0]].items()]
    config = compose(
        *overrides, *sizes, "training.batch_size=32", f"training.epochs={EPOCHS}",
        "training.coverage_draws=32", "training.code_draws=64", "training.code_steps=2",
    )  # fmt: skip
    check(config)
    torch.manual_seed(0)
    model = build_model(**config["model"])
    trainer = from_config.make_trainer(config, model, forty_verbs, CPU)
    assert trainer.total_steps == 5 * EPOCHS
    try:
        for _ in range(EPOCHS):
            losses = trainer.train_epoch()
            assert all(math.isfinite(value) for value in vars(losses).values())
    except Diverged as error:
        # The report's rates (1.0 and 0.05) are meant for its networks, one word per step.
        assert members_[3] == "report", error
        return
    assert finite(trainer)
    assert losses.cross_entropy < 60.0


# --- Extremes ----------------------------------------------------------------------------------


@cases(40, 1000)
@example("report", "sgd", 1e6, 0.0, 1.0)
@example("two levels", "adam", 1e6, 0.0, 1.0)
@example("one level", "sgd", 1e6, 0.0, 1e300)  # its square overflows
@given(
    st.sampled_from(list(MODELS)),
    st.sampled_from(["adam", "sgd"]),
    st.floats(-9, 6).map(lambda exponent: 10**exponent),
    st.sampled_from([0.0, 5.0]),
    st.floats(1e-300, 1e300),
)
def test_at_any_learning_rate_training_stays_finite_or_reports_divergence(
    kind: str, algorithm: Any, rate: float, clip: float, gamma: float
) -> None:
    optimizer = dataclasses.replace(
        OPTIMIZER, algorithm=algorithm, encoder_lr=rate, decoder_lr=rate, prior_lr=rate,
        schedule="constant", gradient_clip=clip, encoder_step_gamma=gamma,
    )  # fmt: skip
    trainer = make(kind, optimizer=optimizer, settings=PHASES)
    try:
        for _ in range(3):
            losses = trainer.train_epoch()
            assert all(math.isfinite(value) for value in (losses.cross_entropy, losses.kl))
    except Diverged as error:
        assert rate > 1e-3 or gamma > 10.0, error
        return
    assert finite(trainer)


def test_divergence_in_the_last_step_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loss is computed after the last step, so only the weights show the fault."""
    trainer = make("report")
    step = trainer._train_step

    def too_far(*arguments: Any) -> tuple[float, float]:
        losses = step(*arguments)
        if trainer.step == trainer.steps_per_epoch:
            with torch.no_grad():
                next(trainer.model.parameters()).view(-1)[3] = math.inf
        return losses

    monkeypatch.setattr(trainer, "_train_step", too_far)
    with pytest.raises(Diverged, match="encoder.symbol_embedding.weight was not finite any more"):
        trainer.train_epoch()


# --- Gradients, against finite differences in doubles ------------------------------------------


def doubles(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.double, generator=generator).requires_grad_()


def penalty(**settings: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda mean, logvar: kl_penalty(
        kl_per_unit(Gaussian(mean, logvar)), kl_weight=0.7, **settings
    )


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "KL": lambda mean, logvar: kl_per_unit(Gaussian(mean, logvar)),
    "weighted": penalty(),
    "free bits": penalty(free_nats=0.4),
    "target rate": penalty(target_nats=2.0),
    "code": code_nll,
    "sample": lambda mean, logvar: Gaussian(mean, logvar).sample(torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(10 if FULL else 2))
def test_gradients_of_the_losses(name: str, seed: int) -> None:
    assert gradcheck(LOSSES[name], (doubles(4, 3, seed=seed), doubles(4, 3, seed=seed + 99)))


STEPS: dict[str, tuple[dict[str, Any], Callable[[Parts], Tensor]]] = {
    "true": ({}, run_true),
    "true, no condition": ({"conditioned": False}, run_true),
    "own symbols": ({}, run_own_symbols),
    "own outputs": ({"embedding": HIDDEN, "conditioned": False}, run_own_outputs),
}


@pytest.mark.parametrize("name", STEPS)
def test_gradients_of_the_steps_written_out_by_hand(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, steps = STEPS[name]
    parts = Parts(**sizes)
    taken: list[tuple[Any, ...]] = []
    original = recurrence._Steps.apply
    monkeypatch.setattr(recurrence._Steps, "apply", lambda *a: taken.append(a) or original(*a))
    steps(parts)
    monkeypatch.undo()
    (arguments,) = taken
    inputs = tuple(
        value.detach().requires_grad_()
        if isinstance(value, Tensor) and value.is_floating_point()
        else value
        for value in arguments
    )
    assert sum(isinstance(value, Tensor) and value.requires_grad for value in inputs) >= 4
    assert gradcheck(original, inputs, fast_mode=not FULL)


@pytest.mark.parametrize("forced", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_gradients_of_the_reconstruction_in_the_code(kind: str, forced: bool) -> None:
    model = tiny(kind).double()
    packed = words_to_tensor(["walk", "abandon", "be"])
    coins = None
    if not forced:
        drawn = torch.rand(packed.symbols.shape, generator=torch.Generator().manual_seed(3))
        coins = drawn < 0.5
    size = model.code_of_latent(doubles(1, model.latent_size)).shape[1]
    assert gradcheck(
        lambda code: model.reconstruction(
            code, torch.tensor([0, 1, 2]), packed.symbols, forced=coins
        ),
        (doubles(3, size),),
    )


@pytest.mark.parametrize("kind", ["two levels"])
def test_gradients_of_the_generator_in_its_grids(kind: str) -> None:
    model = tiny(kind).double()
    prior = model.prior
    assert prior is not None
    z = doubles(4, model.latent_size).detach()

    def generated(grid: Tensor) -> Tensor:
        codes = torch.func.functional_call(prior, {"grids.0": grid}, (z,))
        return code_nll(codes, torch.zeros_like(codes))

    assert gradcheck(generated, (prior.grids[0].detach().clone().requires_grad_(),))


# --- What must not matter ----------------------------------------------------------------------

MODEL_OF = {kind: tiny(kind).eval() for kind in MODELS}


def terms(model: ConditionalVAE, words: list[str], tenses: list[int], padding: int) -> Tensor:
    """Reconstruction and KL of every word; (words, 2)."""
    packed = words_to_tensor(words)
    symbols = functional.pad(packed.symbols, (0, padding), value=PAD)
    tense = torch.tensor(tenses)
    codes = model.encode(symbols, packed.lengths, tense)
    kl = kl_per_unit(model.infer_latent(codes)).sum(dim=1)
    return torch.stack([model.reconstruction(codes.mean, tense, symbols), kl], dim=1)


@cases(25, 1000)
@given(
    st.sampled_from(list(MODELS)),
    st.lists(
        st.tuples(st.text(string.ascii_lowercase, min_size=1, max_size=20), st.integers(0, 3)),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 9),
    st.randoms(use_true_random=False),
)
def test_batch_size_padding_and_order_do_not_change_a_loss(
    kind: str, pairs: list[tuple[str, int]], padding: int, chance: Any
) -> None:
    model = MODEL_OF[kind]
    with torch.no_grad():
        together = terms(model, [w for w, _ in pairs], [t for _, t in pairs], 0)
        order = list(range(len(pairs)))
        chance.shuffle(order)
        cut = chance.randint(1, len(order))
        for part in filter(None, (order[:cut], order[cut:])):
            apart = terms(model, [pairs[i][0] for i in part], [pairs[i][1] for i in part], padding)
            torch.testing.assert_close(apart, together[part], rtol=1e-4, atol=1e-5)


def test_the_number_of_threads_does_not_change_losses_or_gradients() -> None:
    config = compose("model=default", "model.hidden_size=64")
    found = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        model = build_model(**config["model"])
        words = [word for row in load_table("common").train[:128] for word in row.preferred]
        packed = words_to_tensor(words)
        tense = torch.arange(len(words)) % 4
        codes = model.encode(packed.symbols, packed.lengths, tense)
        code = codes.sample(torch.Generator().manual_seed(1))
        loss = model.reconstruction(code, tense, packed.symbols).mean()
        loss = loss + kl_per_unit(codes).sum(dim=1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((loss.detach(), grads))
    for loss, grads in found[1:]:
        torch.testing.assert_close(loss, found[0][0], rtol=1e-5, atol=0.0)
        assert grads.keys() == found[0][1].keys() and len(grads) > 10
        for name, gradient in grads.items():
            torch.testing.assert_close(gradient, found[0][1][name], rtol=1e-3, atol=1e-6)


def test_training_with_other_threads_reaches_the_same_losses() -> None:
    losses = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        trainer = make("two levels", rows=ROWS, settings=PHASES)
        losses.append([dataclasses.astuple(trainer.train_epoch()) for _ in range(3)])
    for one, two in zip(*losses, strict=True):
        assert one == pytest.approx(two, rel=1e-4)
