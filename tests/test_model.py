"""The networks: the report's shapes and feedback, padding, decoding, gradients."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import shared
import torch
from torch import Tensor, nn
from torch.nn import functional

from cvae.alphabet import EOS, MAX_WORD_LENGTH, PAD, SOS, decode, encode
from cvae.batches import words_to_tensor
from cvae.losses import code_nll, kl_penalty, kl_per_unit
from cvae.model import (
    LOGVAR_RANGE,
    ConditionalVAE,
    Gaussian,
    ModelError,
    PriorNetwork,
    ReportDecoder,
    ReportEncoder,
    build_model,
)

WORDS = ("abandon", "go", "splitting", "ate", "a")
TENSES = torch.tensor([0, 0, 2, 3, 0])

REPORT = {**shared.REPORT, "latent_size": 4, "condition_size": 3, "hidden_size": 12}
DEFAULT = shared.DEFAULT
TINY = {
    "report, output fed back": ("report", {**REPORT, "feedback": "output"}),
    "report, symbol fed back": ("report", {**REPORT, "feedback": "symbol"}),
    "default, one level": ("default", {**DEFAULT, "word_latent_size": 0}),
    "default, two levels": ("default", DEFAULT),
}
every_model = pytest.mark.parametrize("kind", list(TINY))


def tiny(kind: str, seed: int = 0) -> ConditionalVAE:
    """A small model with weights large enough that its outputs differ between words."""
    torch.manual_seed(seed)
    name, sizes = TINY[kind]
    model = build_model(name, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model.eval()


def code_size(model: ConditionalVAE) -> int:
    return int(model.code_of_latent(torch.zeros(1, model.latent_size)).shape[1])


def codes(model: ConditionalVAE, count: int = len(WORDS), seed: int = 1) -> Tensor:
    return torch.randn(count, code_size(model), generator=torch.Generator().manual_seed(seed))


def coins(shape: torch.Size, seed: int = 2) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


@functools.cache
def symbols() -> Tensor:
    return words_to_tensor(WORDS).symbols


@functools.cache
def lengths() -> Tensor:
    return words_to_tensor(WORDS).lengths


# The report's networks


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


LSTM_SHAPES = {
    "lstm.weight_ih_l0": (4 * 256, 256),
    "lstm.weight_hh_l0": (4 * 256, 256),
    "lstm.bias_ih_l0": (4 * 256,),
    "lstm.bias_hh_l0": (4 * 256,),
}


def test_the_reports_parameters_have_the_reports_shapes() -> None:
    model = build_model(
        "report", latent_size=32, condition_size=8, hidden_size=256, feedback="output"
    )
    assert shapes(model.encoder) == {
        "symbol_embedding.weight": (29, 256),
        "tense_embedding.weight": (4, 8),
        **LSTM_SHAPES,
        "mean.weight": (32, 256),
        "mean.bias": (32,),
        "logvar.weight": (32, 256),
        "logvar.bias": (32,),
    }
    assert shapes(model.decoder) == {
        "symbol_embedding.weight": (29, 256),
        "tense_embedding.weight": (4, 8),
        "latent_to_hidden.weight": (256, 32 + 8),
        "latent_to_hidden.bias": (256,),
        **LSTM_SHAPES,
        "out.weight": (28, 256),
        "out.bias": (28,),
    }
    assert model.prior is None
    assert model.latent_size == 32


def lstm_step(lstm: nn.LSTM, fed: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM, written by hand; all tensors (size,)."""
    gates = lstm.weight_ih_l0 @ fed + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ hidden + lstm.bias_hh_l0
    into, keep, new, show = gates.chunk(4)
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(into) * torch.tanh(new)
    return torch.sigmoid(show) * torch.tanh(cell), cell


def encode_by_hand(encoder: ReportEncoder, word: str, tense: int) -> Gaussian:
    """The report's encoder for one word, written from its description."""
    condition = encoder.tense_embedding.weight[tense]
    hidden = cell = torch.cat([torch.zeros(12 - 3), condition])
    for symbol in encode(word):  # SOS, letters, EOS
        hidden, cell = lstm_step(
            encoder.lstm, encoder.symbol_embedding.weight[symbol], hidden, cell
        )
    return Gaussian(encoder.mean(hidden), encoder.logvar(hidden))


def decode_by_hand(
    decoder: ReportDecoder, z: Tensor, tense: int, true: list[int], forced: list[bool]
) -> Tensor:
    """The report's decoder for one word; logits (len(true), 28)."""
    condition = decoder.tense_embedding.weight[tense]
    linear = decoder.latent_to_hidden
    hidden = linear.weight @ torch.cat([z, condition]) + linear.bias
    cell = torch.cat([torch.zeros(12 - 3), condition])
    fed = decoder.symbol_embedding.weight[SOS]
    logits = []
    for step in range(len(true)):
        hidden, cell = lstm_step(decoder.lstm, fed, hidden, cell)
        logits.append(decoder.out.weight @ hidden + decoder.out.bias)
        if step + 1 < len(true) and forced[step + 1]:
            fed = decoder.symbol_embedding.weight[true[step]]
        elif decoder.feedback == "output":
            fed = hidden
        else:
            fed = decoder.symbol_embedding.weight[int(logits[-1].argmax())]
    return torch.stack(logits)


def test_the_reports_encoder_is_the_one_written_by_hand() -> None:
    model = tiny("report, output fed back")
    assert isinstance(model.encoder, ReportEncoder)
    posterior = model.encode(symbols(), lengths(), TENSES)
    for row, (word, tense) in enumerate(zip(WORDS, TENSES.tolist(), strict=True)):
        expected = encode_by_hand(model.encoder, word, tense)
        torch.testing.assert_close(posterior.mean[row], expected.mean)
        torch.testing.assert_close(posterior.logvar[row], expected.logvar)


@pytest.mark.parametrize("feedback", ["output", "symbol"])
@pytest.mark.parametrize("forcing", ["all", "none", "some"])
def test_the_reports_decoder_is_the_one_written_by_hand(feedback: str, forcing: str) -> None:
    model = tiny(f"report, {feedback} fed back")
    assert isinstance(model.decoder, ReportDecoder)
    z = codes(model)
    forced = {
        "all": torch.ones_like(symbols(), dtype=torch.bool),
        "none": torch.zeros_like(symbols(), dtype=torch.bool),
        "some": coins(symbols().shape),
    }[forcing]
    losses = model.reconstruction(z, TENSES, symbols(), forced=None if forcing == "all" else forced)
    for row, (word, tense) in enumerate(zip(WORDS, TENSES.tolist(), strict=True)):
        true = encode(word)[1:]
        logits = decode_by_hand(model.decoder, z[row], tense, true, forced[row].tolist())
        expected = functional.cross_entropy(logits, torch.tensor(true), reduction="sum")
        torch.testing.assert_close(losses[row], expected)


def test_the_two_kinds_of_feedback_differ() -> None:
    losses = []
    for feedback in ("output", "symbol"):
        model = tiny(f"report, {feedback} fed back")
        free = torch.zeros_like(symbols(), dtype=torch.bool)
        losses.append(model.reconstruction(codes(model), TENSES, symbols(), forced=free))
    assert not torch.allclose(*losses)


# Batches


@every_model
@pytest.mark.parametrize("forcing", ["all", "some"])
def test_neither_padding_nor_other_words_in_the_batch_change_a_loss(
    kind: str, forcing: str
) -> None:
    model, order = tiny(kind), torch.tensor([3, 1, 4, 0, 2])
    code, forced = codes(model), coins(symbols().shape) if forcing == "some" else None
    together = model.reconstruction(code, TENSES, symbols(), forced=forced)
    assert together.shape == (len(WORDS),)

    def take(rows: Tensor, width: int) -> Tensor:
        padded = functional.pad(symbols(), (0, 3), value=PAD)[rows, :width]
        coin = (
            functional.pad(forced, (0, 3), value=True)[rows, :width] if forcing == "some" else None
        )
        return model.reconstruction(code[rows], TENSES[rows], padded, forced=coin)

    width = symbols().shape[1]
    torch.testing.assert_close(take(order, width), together[order])
    torch.testing.assert_close(take(order, width + 3), together[order])
    for row in range(len(WORDS)):
        alone = take(torch.tensor([row]), int(lengths()[row]))
        torch.testing.assert_close(alone, together[row : row + 1])


@every_model
def test_neither_padding_nor_other_words_in_the_batch_change_a_posterior(kind: str) -> None:
    model = tiny(kind)
    together = model.encode(symbols(), lengths(), TENSES)
    wider = model.encode(functional.pad(symbols(), (0, 4), value=PAD), lengths(), TENSES)
    for row, length in enumerate(lengths().tolist()):
        one = torch.tensor([row])
        alone = model.encode(symbols()[one, :length], lengths()[one], TENSES[one])
        for here, there, padded in zip(alone, together, wider, strict=True):
            torch.testing.assert_close(here[0], there[row])
            torch.testing.assert_close(here[0], padded[row])
    assert not torch.allclose(together.mean[0], together.mean[2])


@every_model
def test_word_tense_and_code_all_matter(kind: str) -> None:
    model, code = tiny(kind), codes(tiny(kind))
    other = (TENSES + 1) % 4
    mean = model.encode(symbols(), lengths(), TENSES).mean
    assert ((mean - model.encode(symbols(), lengths(), other).mean).abs().amax(dim=1) > 1e-4).all()
    loss = model.reconstruction(code, TENSES, symbols())
    assert ((loss - model.reconstruction(code, other, symbols())).abs() > 1e-5).all()
    assert ((loss - model.reconstruction(-code, TENSES, symbols())).abs() > 1e-5).all()


def test_the_default_encoder_reads_a_word_from_both_ends() -> None:
    model = tiny("default, one level")
    for change in (0, len("splitting") - 1):
        word = list("splitting")
        word[change] = "z"
        words = words_to_tensor(["splitting", "".join(word)])
        tenses = torch.tensor([2, 2])
        mean = model.encode(words.symbols, words.lengths, tenses).mean
        assert not torch.allclose(mean[0], mean[1], atol=1e-3)


# Decoding


@every_model
def test_greedy_is_the_rollout_of_the_most_likely_symbols(kind: str) -> None:
    model = tiny(kind)
    code, steps = codes(model), 8
    said = torch.zeros(len(WORDS), 0, dtype=torch.long)
    for _ in range(steps):
        # The most likely next symbol after the same symbols so far: the argmax is the
        # smallest of the 28 losses of the word so far with one more symbol.
        free = torch.zeros(len(WORDS), said.shape[1] + 1, dtype=torch.bool)
        grown = [
            torch.cat([said, torch.full((len(WORDS), 1), symbol)], dim=1) for symbol in range(28)
        ]
        losses = torch.stack(
            [model.reconstruction(code, TENSES, word, forced=free) for word in grown]
        )
        said = torch.cat([said, losses.argmin(dim=0).unsqueeze(1)], dim=1)
    found = model.greedy(code, TENSES, steps)
    assert [decode(row) for row in found.tolist()] == [decode(row) for row in said.tolist()]
    assert len({decode(row) for row in found.tolist()}) > 1


@pytest.mark.parametrize("kind", [kind for kind in TINY if kind != "report, output fed back"])
def test_free_running_equals_the_pass_over_the_greedy_output(kind: str) -> None:
    # Not with the report's feedback, which is not a symbol; the hand-written loop tests it.
    model = tiny(kind)
    code = codes(model)
    said = model.greedy(code, TENSES, symbols().shape[1])
    said = functional.pad(said, (0, symbols().shape[1] - said.shape[1]), value=EOS)
    free = torch.zeros_like(symbols(), dtype=torch.bool)
    inputs = torch.cat([torch.full((len(WORDS), 1), SOS), said[:, :-1]], dim=1)
    logits = model.decoder(code, TENSES, inputs, None)
    expected = functional.cross_entropy(
        logits.flatten(0, 1), symbols().flatten(), ignore_index=PAD, reduction="none"
    )
    expected = expected.view(symbols().shape).sum(dim=1)
    torch.testing.assert_close(model.reconstruction(code, TENSES, symbols(), forced=free), expected)
    assert not torch.allclose(expected, model.reconstruction(code, TENSES, symbols()))


@every_model
def test_forcing_every_symbol_equals_the_fused_pass(kind: str) -> None:
    model = tiny(kind)
    code = codes(model)
    forced = torch.ones_like(symbols(), dtype=torch.bool)
    torch.testing.assert_close(
        model.reconstruction(code, TENSES, symbols(), forced=forced),
        model.reconstruction(code, TENSES, symbols()),
    )


@every_model
def test_the_coin_of_a_position_decides_that_positions_input(kind: str) -> None:
    model = tiny(kind)
    code = codes(model)
    fused = model.reconstruction(code, TENSES, symbols())
    first = torch.ones_like(symbols(), dtype=torch.bool)
    first[:, 0] = False  # the first input is always SOS
    torch.testing.assert_close(model.reconstruction(code, TENSES, symbols(), forced=first), fused)
    second = ~first
    second[:, 2:] = True
    second[:, 1] = False  # the second input is the model's own first symbol
    changed = model.reconstruction(code, TENSES, symbols(), forced=second)
    own = model.greedy(code, TENSES, 1)[:, 0]
    differs = (changed - fused).abs() > 1e-6
    if kind != "report, output fed back":
        assert torch.equal(differs, own != symbols()[:, 0])
    assert differs.any()


@every_model
def test_a_hidden_character_is_not_seen_and_the_start_never_hidden(kind: str) -> None:
    model = tiny(kind)
    code = codes(model)
    hidden = torch.ones_like(symbols(), dtype=torch.bool)
    first_symbol = symbols()[:, :1]
    torch.testing.assert_close(
        model.reconstruction(code, TENSES, first_symbol, dropped=hidden[:, :1]),
        model.reconstruction(code, TENSES, first_symbol),
    )
    # With every letter hidden, two words of the same length differ in their targets only.
    logits = model.decoder(
        code, TENSES, torch.tensor([[SOS, *[PAD] * 9]]).expand(len(WORDS), 10), None
    )
    expected = functional.cross_entropy(
        logits.flatten(0, 1), symbols().flatten(), ignore_index=PAD, reduction="none"
    )
    torch.testing.assert_close(
        model.reconstruction(code, TENSES, symbols(), dropped=hidden),
        expected.view(symbols().shape).sum(dim=1),
    )


def always_saying(kind: str, symbol: int) -> ConditionalVAE:
    model = tiny(kind)
    with torch.no_grad():
        model.decoder.out.weight.zero_()
        model.decoder.out.bias.zero_()
        model.decoder.out.bias[symbol] = 1.0
    return model


@every_model
def test_greedy_stops_when_all_have_ended_and_at_the_longest_length(kind: str) -> None:
    ending, endless = always_saying(kind, EOS), always_saying(kind, 0)
    code = codes(ending)
    assert ending.greedy(code, TENSES).tolist() == [[EOS]] * len(WORDS)
    assert endless.greedy(code, TENSES, 4).tolist() == [[0] * 4] * len(WORDS)
    assert endless.greedy(code, TENSES).shape == (len(WORDS), MAX_WORD_LENGTH + 1)


@every_model
def test_other_words_in_the_batch_do_not_change_greedy_decoding(kind: str) -> None:
    model = tiny(kind)
    code = codes(model, 40)
    tenses = torch.arange(40) % 4
    together = [decode(row) for row in model.greedy(code, tenses).tolist()]
    alone = [
        decode(model.greedy(code[row : row + 1], tenses[row : row + 1]).tolist()[0])
        for row in range(40)
    ]
    assert together == alone
    assert len(set(together)) > 5


# Gaussians and the prior network


def test_samples_have_the_gaussians_mean_and_variance_and_the_generator_decides() -> None:
    gaussian = Gaussian(
        torch.tensor([[1.0, -2.0]]).expand(50_000, 2), torch.tensor([[0.0, 2.0]]).expand(50_000, 2)
    )
    z = gaussian.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(dim=0), torch.tensor([1.0, -2.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(z.var(dim=0), gaussian.logvar[0].exp(), atol=0, rtol=0.05)
    assert float((z < gaussian.mean).float().mean()) == pytest.approx(0.5, abs=0.01)
    assert torch.equal(z, gaussian.sample(torch.Generator().manual_seed(0)))
    assert not torch.equal(z, gaussian.sample(torch.Generator().manual_seed(1)))


def test_a_sample_is_differentiable_in_mean_and_logvar() -> None:
    mean, logvar = torch.zeros(1, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    z = Gaussian(mean, logvar).sample(torch.Generator().manual_seed(0))
    z.sum().backward()
    assert mean.grad is not None
    assert logvar.grad is not None
    assert float(mean.grad) == 1.0
    torch.testing.assert_close(logvar.grad, 0.5 * z.detach())  # z = exp(logvar / 2) eps


@every_model
@pytest.mark.parametrize(("scale", "bound"), [(-1e4, LOGVAR_RANGE[0]), (1e4, LOGVAR_RANGE[1])])
def test_log_variances_stay_in_their_range(kind: str, scale: float, bound: float) -> None:
    model = tiny(kind)
    encoder: Any = model.encoder
    head = encoder.logvar if isinstance(encoder, ReportEncoder) else encoder.head
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(scale)
    logvar = model.encode(symbols(), lengths(), TENSES).logvar
    assert torch.equal(logvar, torch.full_like(logvar, bound))
    assert torch.isfinite(logvar.exp()).all()


def prior_of(model: ConditionalVAE) -> PriorNetwork:
    assert model.prior is not None
    return model.prior


def test_the_levels_of_a_model() -> None:
    one, two = tiny("default, one level"), tiny("default, two levels")
    z = torch.randn(3, 2)
    assert torch.equal(one.code_of_latent(z), z)
    posterior = one.encode(symbols(), lengths(), TENSES)
    assert one.infer_latent(posterior) is posterior
    assert posterior.mean.shape == (len(WORDS), 2)

    assert two.code_of_latent(z).shape == (3, 5)
    posterior = two.encode(symbols(), lengths(), TENSES)
    assert posterior.mean.shape == (len(WORDS), 5)
    latent = two.infer_latent(posterior)
    assert latent.mean.shape == latent.logvar.shape == (len(WORDS), 2)
    other = two.infer_latent(Gaussian(posterior.mean, posterior.logvar + 1.0))
    assert torch.equal(latent.mean, other.mean)  # computed from the code's mean


def test_the_prior_network_keeps_the_units_of_its_codes() -> None:
    prior = prior_of(tiny("default, two levels"))
    generator = torch.Generator().manual_seed(0)
    rows = 3.0 + torch.tensor([1.0, 2.0, 2.0, 2.0, 0.0]) * torch.randn(500, 5, generator=generator)
    logvar = torch.tensor([0.0, 0.0, -2.0, 2.0, 0.0]).expand(500, 5)
    z = torch.randn(6, 2)
    before = prior.generate_standardised(z)
    prior.fit_scale(Gaussian(rows, logvar))
    standard = prior.standardise(rows)
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.square().mean(), torch.tensor(1.0))
    # A unit is scaled by the spread of its posterior.
    spread = standard.std(dim=0)
    expected = rows.std(dim=0) / torch.exp(0.5 * logvar[0])
    torch.testing.assert_close(spread / spread[0], expected / expected[0])
    torch.testing.assert_close(prior.generate_standardised(z), before)
    torch.testing.assert_close(prior.standardise(prior(z)), before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(prior.infer(rows).mean, prior.infer_standardised(standard).mean)


def test_constant_codes_do_not_divide_by_zero() -> None:
    prior = prior_of(tiny("default, two levels"))
    still = torch.full((10, 5), 7.0)
    prior.fit_scale(Gaussian(still, torch.zeros(10, 5)))
    assert torch.isfinite(prior.standardise(still)).all()


def test_no_grids_feed_z_alone() -> None:
    model = build_model("default", **{**DEFAULT, "grid_levels": 0})
    first = prior_of(model).generator[0]
    assert isinstance(first, nn.Linear)
    assert first.in_features == 2
    assert model.code_of_latent(torch.randn(3, 2)).shape == (3, 5)


@pytest.mark.parametrize(
    ("latent_size", "planes"),
    [
        (1, [[0, 0]]),
        (2, [[0, 1]]),
        (3, [[0, 1], [1, 2], [2, 0]]),
        (4, [[0, 1], [1, 2], [2, 3], [3, 0]]),
    ],
)
def test_every_unit_lies_in_a_plane_with_a_grid(latent_size: int, planes: list[list[int]]) -> None:
    prior = prior_of(build_model("default", **{**DEFAULT, "latent_size": latent_size}))
    assert prior.planes == planes
    assert [tuple(grid.shape) for grid in prior.grids] == [
        (len(planes), 3, 8, 8),
        (len(planes), 3, 4, 4),
    ]
    z = torch.randn(3, latent_size)
    assert prior(z).shape == (3, 5)
    for unit in range(latent_size):
        moved = z.clone()
        moved[:, unit] += 1.0
        features, others = torch.cat(prior._features(z), 1), torch.cat(prior._features(moved), 1)
        assert (features != others).any(dim=1).all()


def test_a_grid_is_read_at_the_share_of_the_prior_below_z() -> None:
    prior = prior_of(tiny("default, two levels"))
    grid = prior.grids[1]  # 4 points along a side, at shares 0, 1/3, 2/3 and 1
    quantile = torch.distributions.Normal(0.0, 1.0).icdf
    third = quantile(torch.tensor(1 / 3))
    z = torch.stack([third, -third]).unsqueeze(0)  # the first unit runs along a row
    torch.testing.assert_close(prior._features(z)[1][0], grid[0, :, 2, 1])
    middle = grid[0, :, 1:3, 1:3].mean(dim=(1, 2))
    torch.testing.assert_close(prior._features(torch.zeros(1, 2))[1][0], middle)
    far = torch.full((1, 2), 1e6)
    torch.testing.assert_close(prior._features(far)[1][0], grid[0, :, 3, 3])


def test_the_grids_are_saved_with_the_weights() -> None:
    first, second = tiny("default, two levels", seed=0), tiny("default, two levels", seed=1)
    z = torch.randn(4, 2)
    assert not torch.allclose(first.code_of_latent(z), second.code_of_latent(z))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.code_of_latent(z), second.code_of_latent(z))


# Gradients


def whole_loss(model: ConditionalVAE, forced: Tensor | None) -> Tensor:
    """The sum of all training losses with fixed noise."""
    noise = torch.Generator().manual_seed(3)
    posterior = model.encode(symbols(), lengths(), TENSES)
    target_tense = (TENSES + 1) % 4
    hidden = coins(symbols().shape, seed=4) & coins(symbols().shape, seed=5)
    loss = model.reconstruction(
        posterior.sample(noise), target_tense, symbols(), forced=forced, dropped=hidden
    ).mean()
    loss = loss + kl_penalty(kl_per_unit(posterior), kl_weight=0.3).mean()
    z = torch.randn(len(WORDS), model.latent_size, generator=noise).double()
    loss = loss + 0.7 * model.reconstruction(model.code_of_latent(z), TENSES, symbols()).mean()
    if model.prior is not None:
        latent = model.infer_latent(posterior)
        generated = model.prior.generate_standardised(latent.sample(noise))
        loss = loss + kl_penalty(kl_per_unit(latent), kl_weight=0.2, free_nats=0.1).mean()
        loss = loss + code_nll(generated, model.prior.standardise(posterior.mean)).mean()
    return loss


@every_model
@pytest.mark.parametrize("forcing", ["all", "some"])
def test_gradients_of_the_whole_loss_are_its_finite_differences(kind: str, forcing: str) -> None:
    model = tiny(kind).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)  # log-variances inside their range, where they have a gradient
    forced = coins(symbols().shape) if forcing == "some" else None
    whole_loss(model, forced).backward()
    generator = torch.Generator().manual_seed(6)
    step = 1e-6
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=generator).double()
        slope = float((parameter.grad * direction).sum())
        with torch.no_grad():
            parameter.add_(step * direction)
            above = float(whole_loss(model, forced))
            parameter.sub_(2 * step * direction)
            below = float(whole_loss(model, forced))
            parameter.add_(step * direction)
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-7), name


# Arguments


@pytest.mark.parametrize("condition_size", [12, 13])
def test_a_condition_that_leaves_no_room_for_zeros_is_refused(condition_size: int) -> None:
    sizes = {**REPORT, "condition_size": condition_size, "feedback": "output"}
    with pytest.raises(
        ModelError, match=rf"condition_size \({condition_size}\).*hidden_size \(12\)"
    ):
        build_model("report", **sizes)


def test_unknown_names_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(ModelError, match="'transformer'; allowed: default, report"):
        build_model("transformer")
    with pytest.raises(ModelError, match="'letter'; allowed: output, symbol"):
        build_model("report", **{**REPORT, "feedback": "letter"})
