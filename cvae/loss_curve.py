"""The training losses over the steps of a run, thinned to a bounded number of points.

Means over windows of consecutive steps, so short that the losses' course within an annealing cycle
is seen. The windows end at fixed steps: a run that was interrupted has the same ones.
"""

from __future__ import annotations

import math
from typing import Any, Final

from cvae.state import StateError

MOST_POINTS: Final = 500
"""Windows of a run of any length; a run of fewer steps has one for each."""


class LossCurve:
    """Collects a run's losses step by step."""

    def __init__(self, total_steps: int, steps_per_epoch: int) -> None:
        self.total_steps = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.window = math.ceil(total_steps / MOST_POINTS)
        self._closed: list[list[float]] = []  # step, cross-entropy, KL
        self._step = 0  # steps taken
        self._sums = [0.0, 0.0, 0.0]  # over the open window's words: cross-entropy, KL, words

    def add(self, step: int, cross_entropy: float, kl: float, words: int) -> None:
        """Add a step.

        Args:
            step: its number, from 0.
            cross_entropy, kl: means over the batch, in nats per word.
            words: in the batch.
        """
        self._step = step + 1
        self._sums[0] += cross_entropy * words
        self._sums[1] += kl * words
        self._sums[2] += words
        if self._step % self.window == 0:
            self._closed.append(self._mean())
            self._sums = [0.0, 0.0, 0.0]

    def _mean(self) -> list[float]:
        cross_entropy, kl, words = self._sums
        return [self._step, cross_entropy / words, kl / words]

    def rows(self) -> list[dict[str, float]]:
        """Return the windows so far, the open one last.

        ``step`` is the number of steps taken at the window's end, ``epoch`` the same in epochs.
        """
        windows = [*self._closed, self._mean()] if self._sums[2] else self._closed
        return [
            {
                "step": step,
                "epoch": step / self.steps_per_epoch,
                "progress": step / self.total_steps,
                "cross_entropy": cross_entropy,
                "kl": kl,
            }
            for step, cross_entropy, kl in windows
        ]

    # State

    def state(self) -> dict[str, Any]:
        """Return plain lists of numbers."""
        return {"closed": list(self._closed), "step": self._step, "sums": list(self._sums)}

    def check_state(self, state: Any) -> None:
        """Check what ``load_state`` would take.

        Raises:
            StateError: if it is nothing that ``state`` gives.
        """
        if isinstance(state, dict) and state.keys() == {"closed", "step", "sums"}:
            closed, step, sums = state["closed"], state["step"], state["sums"]
            if (
                isinstance(closed, list)
                and len(closed) <= self.total_steps
                and all(map(_is_triple, [*closed, sums]))
                and sums[2] >= 0
                and type(step) is int
                and 0 <= step <= self.total_steps
            ):
                return
        raise StateError("loss_curve is no table of numbers")

    def load_state(self, state: Any) -> None:
        """Put back what ``state`` gave.

        Raises:
            StateError: as ``check_state`` would.
        """
        self.check_state(state)
        self._closed, self._step = list(state["closed"]), state["step"]
        self._sums = list(state["sums"])


def _is_triple(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(type(value) in (int, float) and abs(value) < 1e100 for value in values)
    )
