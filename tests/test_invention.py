"""What a two-level model says around its prior draws."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from shared import DEFAULT, REPORT, REPOSITORY, write_untrained_run
from torch import Tensor

from cvae import invention
from cvae.data import Forms
from cvae.model import ConditionalVAE, build_model

CPU = torch.device("cpu")


@pytest.fixture
def model() -> ConditionalVAE:
    torch.manual_seed(0)
    model = build_model("default", **DEFAULT).eval()
    assert model.prior is not None
    model.prior.code_mean.fill_(2.0)
    model.prior.code_scale.fill_(3.0)
    return model


def draws(model: ConditionalVAE, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, model.latent_size, generator=generator)
    return z, invention.noise_for(model, count, generator)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_codes_lie_around_the_mean_by_the_temperature(
    model: ConditionalVAE, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Tensor] = []

    def decode(_: object, codes: Tensor) -> list[Forms]:
        decoded.append(codes)
        return [("", "", "", "")] * len(codes)  # an empty past is not read again

    monkeypatch.setattr(invention, "decode_codes", decode)
    z, noise = draws(model, 600)
    said = invention.invent(model, z, noise, temperature=temperature, device=CPU)
    assert said == [("", "", "", "")] * 600
    with torch.no_grad():
        means = model.code_of_latent(z)
    # In units of a standardised code: of the scale that the prior network has for each unit.
    assert torch.allclose(torch.cat(decoded), means + 3.0 * temperature * noise, atol=1e-5)


def test_the_forms_are_those_of_what_the_past_is_read_as(
    model: ConditionalVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, odd = ("a", "b", "c", ""), ("a", "b", "c", "w?lked")
    first: list[Forms] = [("bake", "taks", "making", "walked"), empty, odd]
    answers = iter([first, [("walk", "walks", "walking", "walked")]])
    read: list[Tensor] = []

    def decode(_: object, codes: Tensor) -> list[Forms]:
        read.append(codes)
        return next(answers)

    monkeypatch.setattr(invention, "decode_codes", decode)
    z, noise = draws(model, 3)
    said = invention.invent(model, z, noise, temperature=0.3, device=CPU)
    assert said == [("walk", "walks", "walking", "walked"), empty, odd]
    with torch.no_grad():
        packed = invention.words_to_tensor(["walked"])
        code = model.encode(packed.symbols, packed.lengths, torch.tensor([3])).mean
    assert torch.equal(read[1], code)


def test_a_one_level_model_has_nothing_around_a_draw() -> None:
    one_level = build_model("report", **REPORT).eval()
    with pytest.raises(invention.NoUpperLevelError):
        invention.noise_for(one_level, 3, torch.Generator())


def test_the_table_of_temperatures(
    model: ConditionalVAE,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    inventing = importlib.import_module("inventing")
    sizes = {"name": "default", **DEFAULT}
    runs = [str(write_untrained_run(tmp_path / name, model, sizes)) for name in ("a", "b")]
    assert inventing.main([*runs, "--draws", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["| 0", "| 0.2", "| 0.4", "| 0.6", "| 0.8", "| 1"]
    # An untrained model says no training row, no real verb, and the same in both runs.
    assert all(row[1:3] == ["0", "0"] and float(row[3]) > 0 and row[4] == "0" for row in rows)
    assert "n = 2 runs, 20 draws each" in lines
