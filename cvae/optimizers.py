"""Optimizers by part of a model: each part has an optimizer and a learning rate.

A part is a list of parameters with a learning rate that may change during training. The rates of
encoder and decoder come from ``OptimizerSettings``; code that adds a part provides its rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from cvae.eager_optimizers import SGD, Adam
from cvae.schedules import learning_rate_factor, step_lr_factor
from cvae.state import below, check_tensors

RATE_LIMIT: Final = 1e30
"""Above this learning rate training has diverged: torch cannot take a step in single precision."""


class Diverged(ArithmeticError):
    """Raised when a value of the training explodes or is not finite; the message says where."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Optimizer settings, with separate learning rates for encoder and decoder as in the report.

    Attributes:
        algorithm: adam or sgd.
        encoder_lr, decoder_lr: peak learning rates.
        prior_lr: peak learning rate of the prior network (two-level models). It has its own
            schedule: constant until the latent is frozen, then falling linearly to 0.
        momentum: momentum of sgd.
        schedule: constant, or one_cycle: a linear rise over the first tenth, then a
            linear fall to 0.
        encoder_step_epochs: StepLR on the encoder's rate: it is multiplied by
            encoder_step_gamma after this many epochs; 0 for never.
        gradient_clip: maximum Euclidean norm of the whole gradient; 0 for no clipping.
    """

    algorithm: Literal["adam", "sgd"]
    encoder_lr: float
    decoder_lr: float
    prior_lr: float
    momentum: float
    schedule: Literal["constant", "one_cycle"]
    encoder_step_epochs: int
    encoder_step_gamma: float
    gradient_clip: float

    def encoder_rate(self, progress: float, epoch: int) -> float:
        """The encoder's learning rate; infinite if it overflows."""
        drop = step_lr_factor(
            epoch, step_epochs=self.encoder_step_epochs, gamma=self.encoder_step_gamma
        )
        return self.encoder_lr * learning_rate_factor(self.schedule, progress) * drop

    def decoder_rate(self, progress: float, epoch: int) -> float:
        """The decoder's learning rate."""
        return self.decoder_lr * learning_rate_factor(self.schedule, progress)


@dataclass(frozen=True)
class Part:
    """Parameters that share a learning rate.

    Attributes:
        parameters: the parameters; the list may be empty.
        rate: the learning rate at a progress in [0, 1] and an epoch.
    """

    parameters: list[nn.Parameter]
    rate: Callable[[float, int], float]


class Optimizers:
    """The optimizers of a model's parts, which step together."""

    def __init__(self, settings: OptimizerSettings, parts: Mapping[str, Part]) -> None:
        self.settings = settings
        self.parts = {name: part for name, part in parts.items() if part.parameters}
        self._parameters = [value for part in self.parts.values() for value in part.parameters]
        self._optimizers = {
            name: _make_optimizer(settings, part.parameters) for name, part in self.parts.items()
        }

    def rates(self, progress: float, epoch: int) -> dict[str, float]:
        """The learning rate of each part."""
        return {name: part.rate(progress, epoch) for name, part in self.parts.items()}

    def set_rates(self, progress: float, epoch: int) -> None:
        """Set the learning rates for the following steps.

        Raises:
            Diverged: if a rate exceeds ``RATE_LIMIT``.
        """
        for name, rate in self.rates(progress, epoch).items():
            if not rate <= RATE_LIMIT:
                raise Diverged(f"the {name}'s learning rate became {rate:.3g}")
            for group in self._optimizers[name].param_groups:
                group["lr"] = rate

    def step(self, losses: Iterable[Tensor], *, number: int) -> None:
        """Step every optimizer whose parameters the sum of the losses depends on.

        Args:
            losses: each is differentiated before the next one is asked for, so that the memory of
                one is enough.
            number: number of the training step, for the error message.

        Raises:
            Diverged: if the gradient is clipped and its norm is not finite.
        """
        for optimizer in self._optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.gradient_clip > 0.0:
            norm = nn.utils.clip_grad_norm_(self._parameters, self.settings.gradient_clip)
            if not math.isfinite(float(norm)):
                raise Diverged(f"the gradient's norm became {float(norm)} at step {number}")
        for optimizer in self._optimizers.values():
            optimizer.step()

    # State

    def state(self) -> dict[str, Tensor]:
        """The optimizers' tensors, not copies, as ``optimizer.<part>.<parameter>.<slot>``."""
        return {
            f"optimizer.{name}.{index}.{slot}": torch.as_tensor(value)
            for name, optimizer in self._optimizers.items()
            for index, slots in optimizer.state_dict()["state"].items()
            for slot, value in slots.items()
            if value is not None
        }

    def check_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Check tensors before ``load_state``.

        Raises:
            StateError: if a tensor has another shape. Torch's fused optimizer takes the length from
                the parameter, so it would read past the end of a shorter tensor.
        """
        slots = ["exp_avg", "exp_avg_sq", "step"]
        if self.settings.algorithm == "sgd":
            slots = ["momentum_buffer"]
        expected: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            for index, parameter in enumerate(part.parameters):
                # A parameter that has not been trained yet has no slots.
                place = f"optimizer.{name}.{index}."
                if below(place, tensors):
                    expected |= {
                        f"{place}{slot}": torch.zeros(()) if slot == "step" else parameter
                        for slot in slots
                    }
        check_tensors("optimizer.", tensors, expected, finite=False)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned.

        Raises:
            StateError: see ``check_state``.
        """
        self.check_state(tensors)
        for name, optimizer in self._optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for place, value in below(f"optimizer.{name}.", tensors).items():
                index, slot = place.split(".", 1)
                slots.setdefault(int(index), {})[slot] = value.clone()
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})


def _make_optimizer(
    settings: OptimizerSettings, parameters: list[nn.Parameter]
) -> torch.optim.Optimizer:
    """Make the optimizer of a part; ``set_rates`` sets its learning rate."""
    if settings.algorithm == "adam":
        return Adam(parameters, fused=True)
    # Not fused: fused SGD with momentum fails if some parameters get their first gradient later,
    # as those of a prior network do.
    return SGD(parameters, lr=1.0, momentum=settings.momentum)
