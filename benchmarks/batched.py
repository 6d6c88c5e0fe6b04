"""Many trials of one shape as one model: ``torch.func`` over stacked parameters.

The trials of a search are small for an accelerator: most of a step is waiting for the next kernel
to start. Trials of the same shape, with other seeds, learning rates and KL weights, can go through
their steps together: every parameter gets a dimension in front, one slice a trial, and each product
becomes a batched one.

``nn.LSTM`` and the loop of ``cvae.recurrence`` cannot be mapped over so. The loss of the one-level
model, with teacher forcing and without prior coverage, is therefore written out here once more in
plain operations; ``difference`` says how far it is from the project's own.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring  # noqa: F401  (sets what must be set before torch is imported)
import torch
from torch import Tensor
from torch.func import grad_and_value, stack_module_state, vmap
from torch.nn import functional

from cvae.alphabet import PAD, SOS
from cvae.batches import PairBatch
from cvae.losses import kl_penalty, kl_per_unit
from cvae.model import LOGVAR_RANGE, ConditionalVAE, Decoder, Encoder, Gaussian

Batch = tuple[Tensor, ...]
"""source, its lengths and tense, target and its tense; each with the trials in front."""

_BETAS: Final = (0.9, 0.999)
_EPSILON: Final = 1e-8


def _lstm(
    weights: dict[str, Tensor], name: str, inputs: Tensor, hidden: Tensor, cell: Tensor
) -> Tensor:
    """Outputs (batch, time, hidden) of the ``nn.LSTM`` of this name."""
    weight, recurrent = weights[f"{name}.weight_ih_l0"], weights[f"{name}.weight_hh_l0"]
    bias = weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"]
    outputs = []
    for gates in (inputs @ weight.T + bias).unbind(1):
        i, f, g, o = (gates + hidden @ recurrent.T).chunk(4, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def _linear(weights: dict[str, Tensor], name: str, inputs: Tensor) -> Tensor:
    return inputs @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _with_tense(weights: dict[str, Tensor], part: str, symbols: Tensor, fixed: Tensor) -> Tensor:
    embedded = functional.embedding(symbols, weights[f"{part}.symbol_embedding.weight"])
    repeated = fixed.unsqueeze(1).expand(-1, symbols.shape[1], -1)
    return torch.cat([embedded, repeated], dim=2)


def loss(weights: dict[str, Tensor], batch: Batch, noise: Tensor, kl_weight: Tensor) -> Tensor:
    """The one-level model's loss on a batch, in nats per word; of one trial.

    Args:
        weights: of a ``ConditionalVAE`` with ``Encoder`` and ``Decoder`` and no prior network.
        noise: (batch, latent), of the draw of z.
    """
    source, lengths, source_tense, target, target_tense = batch
    tense = functional.embedding(source_tense, weights["encoder.tense_embedding.weight"])
    places = torch.arange(source.shape[1], device=source.device)
    mirrored = source.gather(1, (lengths.unsqueeze(1) - 1 - places).clamp(min=0))
    zeros = tense.new_zeros(len(source), weights["encoder.forwards.weight_hh_l0"].shape[1])
    finals = []
    for name, read in (("forwards", source), ("backwards", mirrored)):
        inputs = _with_tense(weights, "encoder", read, tense)
        outputs = _lstm(weights, f"encoder.{name}", inputs, zeros, zeros)
        last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, outputs.shape[2])
        finals.append(outputs.gather(1, last).squeeze(1))
    mean, logvar = _linear(weights, "encoder.head", torch.cat(finals, dim=1)).chunk(2, dim=1)
    posterior = Gaussian(mean, logvar.clamp(*LOGVAR_RANGE))
    z = posterior.mean + torch.exp(0.5 * posterior.logvar) * noise

    wanted = functional.embedding(target_tense, weights["decoder.tense_embedding.weight"])
    condition = torch.cat([z, wanted], dim=1)
    state = torch.tanh(_linear(weights, "decoder.initial", condition)).chunk(2, dim=1)
    fed = functional.pad(target[:, :-1], (1, 0), value=SOS)
    inputs = _with_tense(weights, "decoder", fed, condition)
    logits = _linear(weights, "decoder.out", _lstm(weights, "decoder.lstm", inputs, *state))
    chosen = torch.log_softmax(logits, dim=2).gather(2, target.clamp(max=PAD - 1).unsqueeze(2))
    reconstruction = -(chosen.squeeze(2) * (target != PAD)).sum(dim=1)
    penalty = kl_penalty(kl_per_unit(posterior), kl_weight=1.0) * kl_weight
    return (reconstruction + penalty).mean()


def own_loss(model: ConditionalVAE, batch: Batch, noise: Tensor, kl_weight: Tensor) -> Tensor:
    """The same by the project's own model."""
    source, lengths, source_tense, target, target_tense = batch
    posterior = model.encode(source, lengths, source_tense)
    z = posterior.mean + torch.exp(0.5 * posterior.logvar) * noise
    penalty = kl_penalty(kl_per_unit(posterior), kl_weight=1.0) * kl_weight
    return (model.reconstruction(z, target_tense, target) + penalty).mean()


class Trials:
    """Trials of one shape that take their steps together, with Adam.

    Attributes:
        weights: by name, the trials in front.
    """

    def __init__(
        self,
        models: Sequence[ConditionalVAE],
        rates: Sequence[float],
        kl_weights: Sequence[float],
        clip: float,
    ) -> None:
        for model in models:
            assert isinstance(model.encoder, Encoder) and isinstance(model.decoder, Decoder)
            assert model.prior is None
        stacked, _ = stack_module_state(list(models))  # type: ignore[arg-type]
        self.weights = {name: value.detach() for name, value in stacked.items()}
        like = next(iter(self.weights.values()))
        self.rates = like.new_tensor(rates)
        self.kl_weights = like.new_tensor(kl_weights)
        self.clip = clip
        self._means = {name: torch.zeros_like(value) for name, value in self.weights.items()}
        self._squares = {name: torch.zeros_like(value) for name, value in self.weights.items()}
        self._steps = 0
        self._gradients = vmap(grad_and_value(loss))

    def gradients(self, batch: Batch, noise: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Every trial's gradient by parameter, and its loss; noise (trials, batch, latent)."""
        found: tuple[dict[str, Tensor], Tensor] = self._gradients(
            self.weights, batch, noise, self.kl_weights
        )
        return found

    @torch.no_grad()
    def step(self, batch: Batch, noise: Tensor) -> Tensor:
        """A step of all trials; their losses, (trials,)."""
        gradients, losses = self.gradients(batch, noise)
        self._steps += 1
        first, second = _BETAS
        squares = sum(value.flatten(1).square().sum(dim=1) for value in gradients.values())
        assert isinstance(squares, Tensor)
        shrink = (self.clip / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        rates = self.rates / (1 - first**self._steps)
        unbiased = (1 - second**self._steps) ** 0.5
        for name, value in self.weights.items():
            shape = (-1, *[1] * (value.dim() - 1))
            gradient = gradients[name] * shrink.view(shape)
            mean = self._means[name].lerp_(gradient, 1 - first)
            square = self._squares[name].lerp_(gradient.square(), 1 - second)
            value -= rates.view(shape) * mean / (square.sqrt() / unbiased + _EPSILON)
        return losses


def together(batches: Sequence[PairBatch], device: torch.device) -> Batch:
    """One batch of each trial, padded to one width; all of one size."""

    def padded(words: Sequence[Tensor]) -> Tensor:
        width = max(each.shape[1] for each in words)
        return torch.stack(
            [functional.pad(each, (0, width - each.shape[1]), value=PAD) for each in words]
        ).to(device)

    return (
        padded([batch.source.symbols for batch in batches]),
        torch.stack([batch.source.lengths for batch in batches]).to(device),
        torch.stack([batch.source_tense for batch in batches]).to(device),
        padded([batch.target.symbols for batch in batches]),
        torch.stack([batch.target_tense for batch in batches]).to(device),
    )


def difference(models: Sequence[ConditionalVAE], trials: Trials, batch: Batch) -> float:
    """Largest difference of a gradient from the project's own, as a share of its largest value."""
    size = models[0].latent_size
    noise = torch.randn(len(models), batch[0].shape[1], size).to(trials.rates)
    gradients, _ = trials.gradients(batch, noise)
    worst = 0.0
    for index, model in enumerate(models):
        twin = copy.deepcopy(model)
        of_trial = {name: value[index] for name, value in trials.weights.items()}
        twin.load_state_dict(of_trial)
        own = tuple(part[index] for part in batch)
        own_loss(twin, own, noise[index], trials.kl_weights[index]).backward()
        for name, parameter in twin.named_parameters():
            assert parameter.grad is not None
            apart = (gradients[name][index] - parameter.grad).abs().max()
            worst = max(worst, float(apart / parameter.grad.abs().max().clamp(min=1e-12)))
    return worst
