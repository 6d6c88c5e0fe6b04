"""Tensors by name: their owners, and the check against the expected ones."""

from __future__ import annotations

import math
import re

import pytest
import torch

from cvae.state import StateError, below, check_tensors

FOUND = {"a.x": torch.zeros(2), "a.b.y": torch.ones(()), "ab.z": torch.zeros(3)}


def test_an_owner_finds_its_own_tensors() -> None:
    assert below("a.", FOUND).keys() == {"x", "b.y"}
    assert below("a.b.", FOUND) == {"y": FOUND["a.b.y"]}
    assert below("c.", FOUND) == {}


def test_tensors_of_other_owners_are_ignored() -> None:
    check_tensors("ab.", FOUND, {"ab.z": torch.ones(3)}, finite=True)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (None, "lacks tensor 'a.x'"),
        (torch.zeros(3), "a.x is of shape (3,), not (2,)"),
        (torch.zeros(2, dtype=torch.int64), "a.x is of type torch.int64, not torch.float32"),
        (torch.tensor([0.0, math.nan]), "a.x holds values that are not finite"),
    ],
)
def test_an_unexpected_tensor_is_named(tensor: torch.Tensor | None, message: str) -> None:
    found = {} if tensor is None else {"a.x": tensor}
    with pytest.raises(StateError, match=f"^{re.escape(message)}$"):
        check_tensors("a.", found, {"a.x": torch.zeros(2)}, finite=True)


def test_values_that_are_not_finite_pass_if_allowed() -> None:
    found = {"a.x": torch.tensor([0.0, math.inf])}
    check_tensors("a.", found, {"a.x": torch.zeros(2)}, finite=False)


def test_an_unknown_tensor_is_named() -> None:
    with pytest.raises(StateError, match=r"has the unknown tensor 'a\.b\.y'"):
        check_tensors("a.", FOUND, {"a.x": torch.zeros(2)}, finite=True)
