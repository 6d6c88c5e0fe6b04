"""The state of a training between epochs: tensors by name, with a prefix for each owner.

A state may come from a file, so each owner checks it before loading any of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cvae.model import misfit


class StateError(ValueError):
    """Raised for a state that does not belong to this training; the message says why."""


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, keyed by the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def check_tensors(
    prefix: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, finite: bool
) -> None:
    """Check that the tensors under ``prefix`` match ``expected``.

    Args:
        expected: tensors with the expected full names, shapes and types.
        finite: whether all values must be finite.

    Raises:
        StateError: if a tensor is missing, unknown, or has another shape or type.
    """
    found = {name: value for name, value in tensors.items() if name.startswith(prefix)}
    fault = misfit(found, expected, infinite=None if finite else prefix)
    if fault:
        raise StateError(fault)
