"""The state that a training leaves between epochs: tensors by name, each owner's under its prefix.

A state may come from a file, so its owner checks it before it takes any of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cvae.model import misfit


class StateError(ValueError):
    """A state that is none of this training's; the message says what is wrong with it."""


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def check_tensors(
    prefix: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, finite: bool
) -> None:
    """Refuse the tensors under ``prefix`` if they are not those expected.

    Args:
        expected: tensors of the full names, shapes and types that are wanted.
        finite: whether all values must be finite.

    Raises:
        StateError: for a tensor that is missing, unknown, or none of the expected kind.
    """
    found = {name: value for name, value in tensors.items() if name.startswith(prefix)}
    fault = misfit(found, expected, infinite=None if finite else prefix)
    if fault:
        raise StateError(fault)
