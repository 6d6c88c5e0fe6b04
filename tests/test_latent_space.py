"""Tests of cvae.latent_space: places, planes, lines, and what is said about them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from shared import DEFAULT, REPORT, VERBS
from torch import Tensor

from cvae import latent_planes, latent_space, metrics
from cvae.data import Forms, Paradigm
from cvae.inflection import is_regular
from cvae.latent_space import Paradigms, RowLatents
from cvae.model import ConditionalVAE, Gaussian, build_model


def paradigm(text: str) -> Paradigm:
    a, b, c, d = text.split()
    return Paradigm(((a,), (b,), (c,), (d,)), is_regular((a, b, c, d)))


ROWS = [paradigm(text) for text in VERBS]
WALK, SWIM, STOP, *_ = (row.preferred for row in ROWS)
NOTHING: Forms = ("x", "xs", "xing", "xed")


def model_of(latent_size: int) -> ConditionalVAE:
    torch.manual_seed(0)
    return build_model("report", **{**REPORT, "latent_size": latent_size}).eval()


def encoded(means: list[list[float]], spread: float = 0.1) -> RowLatents:
    mean = torch.tensor(means)
    latents = Gaussian(mean, torch.full_like(mean, 2 * math.log(spread)))
    return RowLatents(latents, latents)


def by_quadrant(_: object, z: Tensor, __: object) -> list[Forms]:
    """walk at the upper right of the first two units, swim at the lower right, else nothing."""
    return [NOTHING if point[0] < 0 else WALK if point[1] > 0 else SWIM for point in z]


@pytest.fixture
def quadrants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_space, "generate", by_quadrant)


# --- Verbs -------------------------------------------------------------------------------------


def test_a_row_is_found_by_any_form_and_by_its_lemma_first() -> None:
    rows = [paradigm("lie lies lying lay"), paradigm("lay lays laying laid"), *ROWS]
    assert latent_space.row_of(rows, "lay") == 1
    assert latent_space.row_of(rows, "lying") == 0
    assert latent_space.row_of(rows, "swam") == 3
    assert latent_space.row_of(rows, "run") is None


def test_the_place_of_a_code_generates_it() -> None:
    """In a two-level model: nearer to the code than what the posterior mean generates."""
    torch.manual_seed(0)
    model = build_model("default", **DEFAULT).eval()
    assert model.prior is not None
    with torch.no_grad():
        for parameter in model.prior.generator.parameters():
            parameter.mul_(10.0)  # so that codes differ by more than the prior cares
        wanted = torch.tensor([[0.8, -0.4]])
        code = model.prior(wanted)[0]
        place = latent_space.place_of_code(model, code, torch.zeros(2))
        errors = [
            float((model.prior(z.unsqueeze(0))[0] - code).square().sum())
            for z in (place, torch.zeros(2))
        ]
    assert errors[0] < 0.01 * errors[1]


def test_the_place_of_a_row_decodes_to_the_row(quadrants: None) -> None:
    model = build_model("default", **DEFAULT).eval()
    assert model.prior is not None
    z = torch.tensor([1.0, -1.0])  # swim lies here
    with torch.no_grad():
        code = model.prior(z.unsqueeze(0))[0]
    for forms in (WALK, SWIM):
        place = latent_space.place_of_code(model, code, z, forms)
        assert by_quadrant(model, place.unsqueeze(0), None) == [forms]
    likeliest = latent_space.place_of_code(model, code, z)
    assert torch.equal(latent_space.place_of_code(model, code, z, STOP), likeliest)


def test_in_a_one_level_model_the_place_is_the_code() -> None:
    mean = torch.tensor([0.1, 0.2, 0.3])
    assert torch.equal(latent_space.place_of_code(model_of(3), mean, mean), mean)


# --- The map -----------------------------------------------------------------------------------


def test_places_are_decoded_where_they_lie(quadrants: None) -> None:
    plane = latent_planes.unit_plane([0, 1], torch.zeros(2), "0")
    paradigms = Paradigms(ROWS)
    places = latent_space.decode_window(model_of(2), plane, paradigms, latent_space.WHOLE, 4)
    nothing = len(ROWS)
    assert places.tolist() == [[nothing, nothing, 1, 1]] * 2 + [[nothing, nothing, 0, 0]] * 2
    assert paradigms.forms[nothing] == NOTHING
    right = latent_space.decode_window(model_of(2), plane, paradigms, (0.6, 0.9, 0.2, 0.9), 2)
    assert right.tolist() == [[1, 1], [0, 0]]


def test_a_window_is_spaced_by_prior_quantiles(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def remember(_: object, z: Tensor, __: object) -> list[Forms]:
        seen.append(z)
        return [WALK] * len(z)

    monkeypatch.setattr(latent_space, "generate", remember)
    plane = latent_planes.unit_plane([1, 0], torch.zeros(2), "0")
    latent_space.decode_window(model_of(2), plane, Paradigms(ROWS), (0.0, 1.0, 0.5, 1.0), 2)
    quantiles = latent_planes.quantiles(seen[0])
    wanted = [[0.625, 0.25], [0.625, 0.75], [0.875, 0.25], [0.875, 0.75]]
    assert torch.allclose(quantiles, torch.tensor(wanted, dtype=torch.float64), atol=1e-6)


def test_the_numbers_of_a_map(quadrants: None) -> None:
    plane = latent_planes.unit_plane([0, 1], torch.zeros(2), "0")
    means = [[1.0, 1.0], [1.0, -1.0], [-1.0, 0.0], [-1.0, 1.0], [0.0, 0.0]]
    seen = latent_space.draw_map(model_of(2), ROWS, encoded(means), plane, side=8)
    assert seen.covered == 0.5
    assert seen.rows_met == 2
    assert seen.returned == 0.4
    assert seen.rows[0] == pytest.approx([0.8413, 0.8413], abs=1e-4)
    assert seen.spread[0] == pytest.approx([0.1, 0.1])
    near = metrics.edit_distance("walk", "swim")
    assert seen.neighbours == (near, near)  # the only two rows with a place
    assert seen.warning is None
    text = latent_space.summary(seen)
    assert "50.0% of the plane decodes to training rows (2 of 5)" in text
    assert "40.0% of the rows" in text


@pytest.mark.parametrize("spread", [1.0, 0.1])
def test_a_collapsed_latent_is_named(quadrants: None, spread: float) -> None:
    plane = latent_planes.unit_plane([0, 1], torch.zeros(2), "0")
    seen = latent_space.draw_map(
        model_of(2), ROWS, encoded([[0.0, 0.0]] * len(ROWS), spread), plane, side=8
    )
    assert seen.warning is not None
    assert seen.warning.startswith("posterior collapse: ")
    assert "0 of 2 units active" in seen.warning


def test_a_decoder_that_ignores_z_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_space, "generate", lambda _, z, __: [WALK] * len(z))
    plane = latent_planes.unit_plane([0, 1], torch.zeros(2), "0")
    means = [[2.0 * row, -row] for row in range(len(ROWS))]
    seen = latent_space.draw_map(model_of(2), ROWS, encoded(means), plane, side=8)
    assert seen.warning is not None and "the decoder does not use z" in seen.warning
    assert seen.neighbours is None


@pytest.mark.parametrize("size", [1, 2, 3, 32])
@pytest.mark.parametrize("count", [1, 5])
def test_any_latent_size_and_few_rows_make_a_map(size: int, count: int) -> None:
    model = model_of(size)
    rows = ROWS[:count]
    found = latent_space.row_latents(model, rows)
    plane = (
        latent_planes.unit_plane(range(size), torch.zeros(size), "0")
        if size <= 2
        else latent_planes.principal_plane(found.latents.mean, torch.zeros(size), "0")
    )
    seen = latent_space.draw_map(model, rows, found, plane, side=6)
    assert seen.places.shape == ((1, 6) if size == 1 else (6, 6))
    assert seen.rows.shape == (count, min(size, 2))
    assert np.isfinite(seen.rows).all() and np.isfinite(seen.spread).all()


def test_places_grow_with_the_rows_within_bounds() -> None:
    sides = [latent_space.places_for(rows, 2) for rows in (1, 40, 1200, 4381, 10**6)]
    assert sides == [64, 64, 190, 256, 256]
    assert latent_space.places_for(1200, 1) == 36_000
    assert latent_space.places_for(40, 1) == 64 * 64


def test_the_widest_place_lies_inside_its_region() -> None:
    places = np.zeros((9, 9), dtype=np.int64)
    places[2:7, 3:8] = 7
    places[0, 0] = 3
    found = {number: rest for number, *rest in latent_space.widest_places(places)}
    assert found.keys() == {0, 3, 7}
    assert found[7] == [4, 5, 3.0]
    assert found[3] == [0, 0, 1.0]
    row, column, _ = found[0]
    assert places[int(row), int(column)] == 0


def test_on_a_line_the_widest_place_is_the_middle_of_the_longest_stretch() -> None:
    places = np.array([[9, 2, 2, 2, 2, 2, 9, 9, 9]])
    assert latent_space.widest_places(places) == [(2, 0, 3, 3.0), (9, 0, 7, 2.0)]


def test_a_long_line_takes_little_memory() -> None:
    places = np.zeros((1, 60_000), dtype=np.int64)
    assert latent_space.widest_places(places) == [(0, 0, 29_999, 30_000.0)]
