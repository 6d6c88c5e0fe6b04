"""The networks: the report's encoder and decoder, and the default two-level model.

A ``ConditionalVAE`` consists of an encoder, a decoder and, in a two-level model, a prior network
between the latent z with prior N(0, I) and the code that the decoder is conditioned on. Other
modules use the networks only through the methods of this class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvae import recurrence
from cvae.alphabet import EOS, MAX_WORD_LENGTH, PAD, SOS, SYMBOL_COUNT, TENSES

OUTPUT_COUNT: Final = EOS + 1
"""Size of the decoder's output: the letters, SOS and EOS (the report's 28), but not PAD."""

LOGVAR_RANGE: Final = (-14.0, 8.0)
"""Log-variances are clamped to this range, so exp() stays finite at any learning rate."""

Feedback = Literal["symbol", "output"]


class ModelError(ValueError):
    """Raised for arguments from which no network can be built."""


class Gaussian(NamedTuple):
    """A batch of diagonal Gaussians; both tensors (batch, size), with the natural log-variance."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One sample each by the reparameterisation mean + exp(logvar / 2) * eps, eps ~ N(0, I).

        Source: Kingma and Welling 2014, section 2.4; docs/derivation.md, equation (6).
        """
        noise = torch.randn(self.mean.shape, generator=generator, device="cpu")
        return self.mean + torch.exp(0.5 * self.logvar) * noise.to(self.mean)


def _gaussian(head: Tensor) -> Gaussian:
    mean, logvar = head.chunk(2, dim=-1)
    return Gaussian(mean, logvar.clamp(*LOGVAR_RANGE))


def _last(outputs: Tensor, lengths: Tensor) -> Tensor:
    """The output at each word's last symbol; (batch, time, size) -> (batch, size)."""
    return outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1]


def _true_steps(
    lstm: nn.LSTM,
    symbols: nn.Embedding,
    condition: Tensor | None,
    state: recurrence.State,
    inputs: Tensor,
) -> Tensor:
    """Outputs (batch, time, hidden) of an LSTM fed symbols (batch, time) and a condition.

    On a CPU, ``recurrence`` saves the input half of the products; elsewhere the fused call is used.
    """
    if inputs.device.type == "cpu":
        gates, rows = recurrence.gates_of_inputs(lstm, symbols, condition, inputs)
        return recurrence.run(gates, state, rows).transpose(0, 1)
    embedded = symbols(inputs)
    if condition is not None:
        repeated = condition.unsqueeze(1).expand(-1, inputs.shape[1], -1)
        embedded = torch.cat([embedded, repeated], dim=2)
    hidden, cell = state
    return lstm(embedded, (hidden.unsqueeze(0), cell.unsqueeze(0)))[0]  # type: ignore[no-any-return]


class ReportEncoder(nn.Module):
    """The report's encoder: the tense is part of the initial hidden and cell state."""

    def __init__(self, *, hidden_size: int, condition_size: int, latent_size: int) -> None:
        super().__init__()
        if condition_size >= hidden_size:
            raise ModelError(
                f"condition_size ({condition_size}) must be less than hidden_size ({hidden_size}): "
                "the initial state holds the tense beside hidden_size - condition_size zeros"
            )
        self.symbol_embedding = nn.Embedding(SYMBOL_COUNT, hidden_size)
        self.tense_embedding = nn.Embedding(len(TENSES), condition_size)
        self.lstm = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.mean = nn.Linear(hidden_size, latent_size)
        self.logvar = nn.Linear(hidden_size, latent_size)
        self.zeros_size = hidden_size - condition_size

    def forward(self, symbols: Tensor, lengths: Tensor, tense: Tensor) -> Gaussian:
        """Return q(z|x, c) of words (batch, time) and tenses (batch,)."""
        start = symbols.new_full((len(symbols), 1), SOS)
        read = torch.cat([start, symbols], dim=1)
        condition = self.tense_embedding(tense)  # (batch, condition)
        zeros = condition.new_zeros(len(symbols), self.zeros_size)
        state = torch.cat([zeros, condition], dim=1)  # (batch, hidden)
        outputs = _true_steps(self.lstm, self.symbol_embedding, None, (state, state), read)
        final = _last(outputs, lengths + 1)  # + 1 for SOS
        return Gaussian(self.mean(final), self.logvar(final).clamp(*LOGVAR_RANGE))


class ReportDecoder(nn.Module):
    """The report's decoder: one symbol per step, z and the tense in the initial state only."""

    def __init__(
        self, *, hidden_size: int, condition_size: int, latent_size: int, feedback: Feedback
    ) -> None:
        """Make the decoder.

        Args:
            feedback: input of a free-running step: ``output`` is the LSTM's own last output, as in
                the report; ``symbol`` is the usual embedding of the predicted symbol.
        """
        super().__init__()
        if feedback not in ("output", "symbol"):
            raise ModelError(f"feedback is {feedback!r}; allowed: output, symbol")
        self.feedback = feedback
        self.symbol_embedding = nn.Embedding(SYMBOL_COUNT, hidden_size)
        self.tense_embedding = nn.Embedding(len(TENSES), condition_size)
        self.latent_to_hidden = nn.Linear(latent_size + condition_size, hidden_size)
        self.lstm = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, OUTPUT_COUNT)
        self.zeros_size = hidden_size - condition_size

    def forward(self, code: Tensor, tense: Tensor, inputs: Tensor, forced: Tensor | None) -> Tensor:
        """Return logits (batch, time, 28); arguments as in ``ConditionalVAE.reconstruction``."""
        state = self._initial_state(code, tense)
        if forced is None:
            return self.out(  # type: ignore[no-any-return]
                _true_steps(self.lstm, self.symbol_embedding, None, state, inputs)
            )
        if self.feedback == "output":
            gates, rows = recurrence.gates_of_inputs(self.lstm, self.symbol_embedding, None, inputs)
            outputs = recurrence.run_with_own_outputs(gates, state, rows, forced, self.lstm)
        else:
            gates = recurrence.known_gates(self.lstm, self.symbol_embedding, None)
            outputs = recurrence.run_with_own_symbols(gates, state, inputs, forced, self.out)
        return self.out(outputs).transpose(0, 1)  # type: ignore[no-any-return]

    def greedy(self, code: Tensor, tense: Tensor, max_length: int) -> Tensor:
        """Return the most likely symbol of each step; (batch, at most max_length)."""
        state = self._initial_state(code, tense)
        gates = recurrence.known_gates(self.lstm, self.symbol_embedding, None)
        if self.feedback == "output":
            return recurrence.greedy_with_own_outputs(gates, state, self.out, max_length, self.lstm)
        return recurrence.greedy(gates, state, self.out, max_length)

    def beam(
        self, code: Tensor, tense: Tensor, max_length: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """Return the likeliest words that a beam finds; see ``recurrence.beam``."""
        state = self._initial_state(code, tense)
        gates = recurrence.known_gates(self.lstm, self.symbol_embedding, None)
        if self.feedback == "output":
            return recurrence.beam_with_own_outputs(
                gates, state, self.out, max_length, width, self.lstm
            )
        return recurrence.beam(gates, state, self.out, max_length, width)

    def _initial_state(self, code: Tensor, tense: Tensor) -> recurrence.State:
        condition = self.tense_embedding(tense)
        hidden = self.latent_to_hidden(torch.cat([code, condition], dim=1))
        cell = torch.cat([condition.new_zeros(len(code), self.zeros_size), condition], dim=1)
        return hidden, cell


class Encoder(nn.Module):
    """Two LSTMs that read the word forwards and backwards, with its tense at every step.

    With two ``nn.LSTM`` instead of a bidirectional one, no packing is needed: each reads a padded
    word from the word's own first symbol, so padding never reaches a final state.
    """

    def __init__(
        self, *, embedding_size: int, hidden_size: int, condition_size: int, latent_size: int
    ) -> None:
        super().__init__()
        self.symbol_embedding = nn.Embedding(SYMBOL_COUNT, embedding_size)
        self.tense_embedding = nn.Embedding(len(TENSES), condition_size)
        self.forwards = nn.LSTM(embedding_size + condition_size, hidden_size, batch_first=True)
        self.backwards = nn.LSTM(embedding_size + condition_size, hidden_size, batch_first=True)
        self.head = nn.Linear(2 * hidden_size, 2 * latent_size)

    def forward(self, symbols: Tensor, lengths: Tensor, tense: Tensor) -> Gaussian:
        """Return q(h|x, c) of words (batch, time) and tenses (batch,)."""
        positions = torch.arange(symbols.shape[1], device=symbols.device)
        mirrored = (lengths.unsqueeze(1) - 1 - positions).clamp(min=0)  # (batch, time)
        condition = self.tense_embedding(tense).unsqueeze(1).expand(-1, symbols.shape[1], -1)
        finals = []
        for lstm, read in (
            (self.forwards, symbols),
            (self.backwards, symbols.gather(1, mirrored)),
        ):
            outputs, _ = lstm(torch.cat([self.symbol_embedding(read), condition], dim=2))
            finals.append(_last(outputs, lengths))
        return _gaussian(self.head(torch.cat(finals, dim=1)))


class Decoder(nn.Module):
    """An LSTM that is fed the last symbol, the code and the tense at every step.

    Source for the latent at every step: skip-VAE, Dieng et al. 2019.
    """

    def __init__(
        self, *, embedding_size: int, hidden_size: int, condition_size: int, code_size: int
    ) -> None:
        super().__init__()
        self.symbol_embedding = nn.Embedding(SYMBOL_COUNT, embedding_size)
        self.tense_embedding = nn.Embedding(len(TENSES), condition_size)
        self.initial = nn.Linear(code_size + condition_size, 2 * hidden_size)
        self.lstm = nn.LSTM(
            embedding_size + code_size + condition_size, hidden_size, batch_first=True
        )
        self.out = nn.Linear(hidden_size, OUTPUT_COUNT)

    def forward(self, code: Tensor, tense: Tensor, inputs: Tensor, forced: Tensor | None) -> Tensor:
        """Return logits (batch, time, 28); arguments as in ``ConditionalVAE.reconstruction``."""
        condition = torch.cat([code, self.tense_embedding(tense)], dim=1)
        state = self._initial_state(condition)
        if forced is None:
            return self.out(  # type: ignore[no-any-return]
                _true_steps(self.lstm, self.symbol_embedding, condition, state, inputs)
            )
        gates = recurrence.known_gates(self.lstm, self.symbol_embedding, condition)
        outputs = recurrence.run_with_own_symbols(gates, state, inputs, forced, self.out)
        return self.out(outputs).transpose(0, 1)  # type: ignore[no-any-return]

    def greedy(self, code: Tensor, tense: Tensor, max_length: int) -> Tensor:
        """Return the most likely symbol of each step; (batch, at most max_length)."""
        condition = torch.cat([code, self.tense_embedding(tense)], dim=1)
        gates = recurrence.known_gates(self.lstm, self.symbol_embedding, condition)
        return recurrence.greedy(gates, self._initial_state(condition), self.out, max_length)

    def beam(
        self, code: Tensor, tense: Tensor, max_length: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """Return the likeliest words that a beam finds; see ``recurrence.beam``."""
        condition = torch.cat([code, self.tense_embedding(tense)], dim=1)
        gates = recurrence.known_gates(self.lstm, self.symbol_embedding, condition)
        return recurrence.beam(gates, self._initial_state(condition), self.out, max_length, width)

    def _initial_state(self, condition: Tensor) -> recurrence.State:
        hidden, cell = torch.tanh(self.initial(condition)).chunk(2, dim=1)
        return hidden.contiguous(), cell.contiguous()


class PriorNetwork(nn.Module):
    """The upper level: the generator p(h|z), z ~ N(0, I), and the inference network q(z|h).

    A code h is far wider than z, so h is not a smooth function of z: each verb owns a region of the
    prior with a sharp border. A perceptron alone learns such borders slowly. Therefore it is also
    fed features that are learned on grids, from coarse to fine, over the plane of two units of z,
    and interpolated between the grid points. The normal distribution function maps a unit to
    [0, 1], so that the density of the grid points follows the prior. The number of weights depends
    on the grids, not on the number of verbs.

    Sources: two-stage VAE, Dai and Wipf 2019; grids, Mueller et al. 2022, section 3; planes of
    two coordinates, Chan et al. 2022, section 3.1.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        code_size: int,
        hidden_size: int,
        layer_count: int,
        grid_size: int,
        grid_levels: int,
        grid_features: int,
    ) -> None:
        """Make the network.

        Args:
            grid_size: points along a side of the finest grid.
            grid_levels: number of grids, each with half as many points along a side as the one
                before; 0 feeds z only.
            grid_features: features at each grid point.
        """
        super().__init__()
        sizes = [max(2, grid_size >> level) for level in range(grid_levels)]
        self.planes = _planes(latent_size)
        self.grids = nn.ParameterList(
            0.1 * torch.randn(len(self.planes), grid_features, size, size) for size in sizes
        )
        # Codes are standardised for this network; ``fit_scale`` sets their mean and scale.
        self.code_mean: Tensor
        self.code_scale: Tensor
        self.register_buffer("code_mean", torch.zeros(code_size))
        self.register_buffer("code_scale", torch.ones(code_size))
        self.generator = _perceptron(
            latent_size + len(self.planes) * grid_features * grid_levels,
            hidden_size,
            code_size,
            layer_count,
        )
        self.inference = _perceptron(code_size, hidden_size, 2 * latent_size, 2)

    def standardise(self, codes: Tensor) -> Tensor:
        """Return codes (batch, code) in the units of this network."""
        return (codes - self.code_mean) / self.code_scale

    def destandardise(self, codes: Tensor) -> Tensor:
        """Undo ``standardise``."""
        return codes * self.code_scale + self.code_mean

    @torch.no_grad()
    def fit_scale(self, codes: Gaussian) -> None:
        """Set the scale from the codes of the training rows; tensors (rows, code).

        Each unit of the code is divided by the spread of its posterior, which shows how precisely
        the decoder reads the unit. Then all units are scaled together to a mean square of 1.
        """
        spread = torch.exp(codes.logvar).mean(dim=0).sqrt()
        mean = codes.mean.mean(dim=0)
        rms = ((codes.mean - mean) / spread).square().mean().sqrt().clamp(min=1e-3)
        self.code_mean.copy_(mean)
        self.code_scale.copy_(spread * rms)

    def infer(self, codes: Tensor) -> Gaussian:
        """Return q(z|h) of codes (batch, code)."""
        return self.infer_standardised(self.standardise(codes))

    def infer_standardised(self, codes: Tensor) -> Gaussian:
        """``infer`` for codes that are already standardised."""
        return _gaussian(self.inference(codes))

    def generate_standardised(self, z: Tensor) -> Tensor:
        """The mean of p(h|z) in standardised units; (batch, latent) -> (batch, code)."""
        return self.generator(torch.cat([z, *self._features(z)], dim=1))  # type: ignore[no-any-return]

    def _features(self, z: Tensor) -> list[Tensor]:
        """Features (batch, planes * features) of each grid at z (batch, latent)."""
        place = torch.erf(z * math.sqrt(0.5))  # the distribution function, from [0, 1] to [-1, 1]
        places = torch.stack([place[:, plane] for plane in self.planes])  # (planes, batch, 2)
        return [
            functional.grid_sample(
                grid, places.unsqueeze(2), padding_mode="border", align_corners=True
            )
            .flatten(0, 1)  # (planes * features, batch, 1)
            .squeeze(2)
            .T
            for grid in self.grids
        ]

    def forward(self, z: Tensor) -> Tensor:
        """The mean of p(h|z); (batch, latent) -> (batch, code)."""
        return self.destandardise(self.generate_standardised(z))


def _planes(latent_size: int) -> list[list[int]]:
    """Pairs of units that share a grid: each unit with the next, cyclically; one pair if two."""
    if latent_size <= 2:
        return [[0, latent_size - 1]]
    return [[unit, (unit + 1) % latent_size] for unit in range(latent_size)]


def _perceptron(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    sizes = [inputs] + [hidden] * layers
    blocks: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        blocks += [nn.Linear(size_in, size_out), nn.SiLU()]
    return nn.Sequential(*blocks, nn.Linear(sizes[-1], outputs))


class ConditionalVAE(nn.Module):
    """Encoder, decoder and, in a two-level model, the prior network between z and the code."""

    def __init__(
        self,
        encoder: ReportEncoder | Encoder,
        decoder: ReportDecoder | Decoder,
        prior: PriorNetwork | None,
        *,
        latent_size: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.latent_size = latent_size

    def encode(self, symbols: Tensor, lengths: Tensor, tense: Tensor) -> Gaussian:
        """The encoder's posterior over the code, which in a one-level model is z itself."""
        return self.encoder(symbols, lengths, tense)  # type: ignore[no-any-return]

    def infer_latent(self, codes: Gaussian) -> Gaussian:
        """q(z|x, c) from the result of ``encode``; in a two-level model, from its mean."""
        return codes if self.prior is None else self.prior.infer(codes.mean)

    def code_of_latent(self, z: Tensor) -> Tensor:
        """The code generated from a prior latent; (batch, latent) -> (batch, code)."""
        return z if self.prior is None else self.prior(z)

    def reconstruction(
        self,
        code: Tensor,
        tense: Tensor,
        symbols: Tensor,
        *,
        forced: Tensor | None = None,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Return -log p(word | code, tense) in nats per word, without padding; (batch,).

        Args:
            code: (batch, code).
            tense: (batch,) the target tense.
            symbols: (batch, time) the target word: letters, EOS, PAD.
            forced: (batch, time) bool: true where a step is fed the true symbol, false where it is
                fed the model's own (scheduled sampling, Bengio et al. 2015). None means all true.
            dropped: (batch, time) bool: inputs to hide (word dropout of Bowman et al. 2016, here
                of characters). None means none.

        Source: docs/derivation.md, equation (5), first term.
        """
        inputs = functional.pad(symbols[:, :-1], (1, 0), value=SOS)
        if dropped is not None:
            inputs = inputs.masked_fill(dropped & (inputs != SOS), PAD)
        logits = self.decoder(code, tense, inputs, forced)
        losses = functional.cross_entropy(
            logits.flatten(0, 1), symbols.flatten(), ignore_index=PAD, reduction="none"
        )
        return losses.view(symbols.shape).sum(dim=1)

    @torch.no_grad()
    def greedy(self, code: Tensor, tense: Tensor, max_length: int = MAX_WORD_LENGTH + 1) -> Tensor:
        """Decode greedily; (batch, at most max_length) symbols, EOS from a word's end on."""
        return self.decoder.greedy(code, tense, max_length)

    @torch.no_grad()
    def beam(
        self, code: Tensor, tense: Tensor, width: int, max_length: int = MAX_WORD_LENGTH + 1
    ) -> tuple[Tensor, Tensor]:
        """Beam search: words (batch, width, at most max_length) and their log p, likeliest first.

        Words have EOS from their end on; log-probabilities (batch, width) are in nats. The
        likeliest of a wider beam may be likelier than the greedy word.
        """
        return self.decoder.beam(code, tense, max_length, width)


def build_model(name: str, **sizes: Any) -> ConditionalVAE:
    """Build a network by name from the keys of its config member.

    Args:
        name: ``report`` (latent_size, condition_size, hidden_size, feedback) or ``default``
            (latent_size, word_latent_size, hidden_size, encoder_hidden_size, embedding_size,
            condition_size, prior_hidden_size, prior_layer_count, grid_size, grid_levels,
            grid_features); word_latent_size 0 makes it a one-level model.

    Raises:
        ModelError: for an unknown name or sizes that do not fit each other.
    """
    if name == "report":
        return _build_report(**sizes)
    if name == "default":
        return _build_default(**sizes)
    raise ModelError(f"model name is {name!r}; allowed: default, report")


def _build_report(
    *, latent_size: int, condition_size: int, hidden_size: int, feedback: Feedback
) -> ConditionalVAE:
    encoder = ReportEncoder(
        hidden_size=hidden_size, condition_size=condition_size, latent_size=latent_size
    )
    decoder = ReportDecoder(
        hidden_size=hidden_size,
        condition_size=condition_size,
        latent_size=latent_size,
        feedback=feedback,
    )
    return ConditionalVAE(encoder, decoder, None, latent_size=latent_size)


def _build_default(
    *,
    latent_size: int,
    word_latent_size: int,
    hidden_size: int,
    encoder_hidden_size: int,
    embedding_size: int,
    condition_size: int,
    prior_hidden_size: int,
    prior_layer_count: int,
    grid_size: int,
    grid_levels: int,
    grid_features: int,
) -> ConditionalVAE:
    code_size = word_latent_size or latent_size
    encoder = Encoder(
        embedding_size=embedding_size,
        hidden_size=encoder_hidden_size,
        condition_size=condition_size,
        latent_size=code_size,
    )
    decoder = Decoder(
        embedding_size=embedding_size,
        hidden_size=hidden_size,
        condition_size=condition_size,
        code_size=code_size,
    )
    prior = None
    if word_latent_size:
        prior = PriorNetwork(
            latent_size=latent_size,
            code_size=code_size,
            hidden_size=prior_hidden_size,
            layer_count=prior_layer_count,
            grid_size=grid_size,
            grid_levels=grid_levels,
            grid_features=grid_features,
        )
    return ConditionalVAE(encoder, decoder, prior, latent_size=latent_size)


def misfit(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, infinite: str | None = None
) -> str | None:
    """Say how tensors that were read from a file differ from those expected; None if they match.

    Args:
        expected: tensors with the expected names, shapes and types.
        infinite: prefix of names whose values need not be finite.
    """
    if tensors.keys() != expected.keys():
        name = min(tensors.keys() ^ expected.keys())
        return f"{'lacks' if name in expected else 'has the unknown'} tensor {name!r:.80}"
    for name, tensor in tensors.items():
        like = expected[name]
        if tensor.shape != like.shape:
            return f"{name} is of shape {tuple(tensor.shape)}, not {tuple(like.shape)}"
        if tensor.dtype != like.dtype:
            return f"{name} is of type {tensor.dtype}, not {like.dtype}"
        if not (infinite and name.startswith(infinite)) and not bool(torch.isfinite(tensor).all()):
            return f"{name} holds values that are not finite"
    return None
