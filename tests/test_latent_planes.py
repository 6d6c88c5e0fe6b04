"""Tests of cvae.latent_planes: planes hold what they say, lines have both ends."""

from __future__ import annotations

import math

import pytest
import torch

from cvae import latent_planes
from cvae.latent_planes import PlaneError

# --- Planes ------------------------------------------------------------------------------------


def test_a_plane_of_units_holds_the_others() -> None:
    base = torch.tensor([5.0, 0.5, 7.0, -1.0])
    plane = latent_planes.unit_plane([2, 0], base, "chosen")
    z = plane.latents(torch.tensor([[1.0, 2.0]]))
    assert z.tolist() == [[2.0, 0.5, 1.0, -1.0]]
    assert plane.coordinates(z).tolist() == [[1.0, 2.0]]
    assert plane.axes == ("z3", "z1")
    assert "chosen" in plane.elsewhere


@pytest.mark.parametrize(
    ("units", "size", "allowed"),
    [
        ([0, 2], 2, "two different units from 1 to 2"),
        ([1, 1], 3, "two different units from 1 to 3"),
        ([0], 3, "two different units from 1 to 3"),
        ([-1, 0], 3, "two different units from 1 to 3"),
        ([0, 1], 1, "allowed: 1"),
    ],
)
def test_units_that_z_lacks_are_named(units: list[int], size: int, allowed: str) -> None:
    with pytest.raises(PlaneError, match=allowed):
        latent_planes.unit_plane(units, torch.zeros(size), "0")


@pytest.mark.parametrize("size", [2, 3, 32])
def test_the_principal_plane_holds_the_most_variance_and_says_how_much(size: int) -> None:
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(size, size)).Q[:2]
    weights = torch.randn(500, 2)
    weights = torch.linalg.qr(weights - weights.mean(dim=0)).Q * torch.tensor([3.0, 1.0])
    plane = latent_planes.principal_plane(weights @ directions, torch.zeros(size), "0")
    assert torch.allclose((plane.directions @ directions.T).abs(), torch.eye(2), atol=1e-4)
    assert [axis.split("(")[1] for axis in plane.axes] == ["90% of variance)", "10% of variance)"]
    assert torch.allclose(plane.directions @ plane.directions.T, torch.eye(2), atol=1e-5)


def test_the_plane_of_a_line_holds_both_ends() -> None:
    torch.manual_seed(0)
    means = torch.randn(50, 8)
    plane = latent_planes.plane_of_line(means[3], means[7], means, ("walk", "swim"))
    for end in (means[3], means[7]):
        again = plane.latents(plane.coordinates(end.unsqueeze(0)))[0]
        assert torch.allclose(again, end, atol=1e-5)
    assert torch.allclose(plane.directions @ plane.directions.T, torch.eye(2), atol=1e-5)
    with pytest.raises(PlaneError, match="walk and swim have the same latent"):
        latent_planes.plane_of_line(means[3], means[3], means, ("walk", "swim"))


# --- Lines -------------------------------------------------------------------------------------


def test_a_straight_line_has_equal_steps_and_both_ends() -> None:
    points = latent_planes.line(
        torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0]), 5, spherical=False
    )
    assert points.tolist() == [[0.0, 1.0], [0.5, 1.0], [1.0, 1.0], [1.5, 1.0], [2.0, 1.0]]


def test_an_arc_turns_at_a_steady_angle_and_keeps_the_length() -> None:
    points = latent_planes.line(
        torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0]), 3, spherical=True
    )
    diagonal = 3.0 / math.sqrt(2.0)
    assert torch.allclose(
        points, torch.tensor([[2.0, 0.0], [diagonal, diagonal], [0.0, 4.0]]), atol=1e-6
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [([0.0, 0.0], [1.0, 2.0]), ([1.0, 1.0], [2.0, 2.0]), ([1.0, 0.0], [-1.0, 0.0])],
)
def test_where_no_arc_is_the_nearest_the_line_is_straight(
    start: list[float], end: list[float]
) -> None:
    ends = torch.tensor(start), torch.tensor(end)
    arc = latent_planes.line(*ends, 4, spherical=True)
    assert torch.equal(arc, latent_planes.line(*ends, 4, spherical=False))
