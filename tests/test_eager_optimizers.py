"""The optimizers take torch's own steps, and a run imports nothing that only compiling needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from shared import VERBS, python

from cvae import eager_optimizers


def trained(optimizer: type[torch.optim.Optimizer], **settings: Any) -> dict[str, Any]:
    """The weights and the optimizer's state after a few steps, one of them after a reload."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, generator=generator).requires_grad_()
    made = optimizer([{"params": [weight]}], **settings)
    for step in range(4):
        if step == 3:
            made.load_state_dict(made.state_dict())
        made.zero_grad()
        (torch.randn(5, 4, generator=generator) @ weight).square().sum().backward()
        made.step()
    assert not made.param_groups[0]["params"][0].grad_fn  # no step is part of the graph
    return {"weight": weight.detach(), **made.state_dict()["state"][0]}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Adam", {"fused": True}),
        ("Adam", {"lr": 1.0, "betas": (0.9, 0.9), "maximize": True}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ],
)
def test_the_steps_are_those_of_torch_to_the_bit(name: str, settings: dict[str, Any]) -> None:
    ours = trained(getattr(eager_optimizers, name), **settings)
    theirs = trained(getattr(torch.optim, name), **settings)
    assert ours.keys() == theirs.keys()
    for slot, value in theirs.items():
        assert torch.equal(ours[slot], value), slot


@pytest.mark.parametrize("optimizer", ["one_cycle", "sgd"])
def test_a_run_does_not_import_the_compiler(optimizer: str, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("\n".join(VERBS) + "\n")
    words = ["data=files", "data.train_path=train.txt", "data.dev_count=1", f"optim={optimizer}"]
    finished = python(
        *("-X", "importtime", "-m", "cvae.run", "debug=smoke", "training.epochs=2"),
        *("data.test_path=null", "hydra.run.dir=run", *words),
        cwd=tmp_path,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in finished.stderr.splitlines()}
    assert "torch.optim.adam" in imported
    assert not {"torch._dynamo", "torch._inductor", "sympy"} & imported
