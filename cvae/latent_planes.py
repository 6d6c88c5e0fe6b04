"""Planes and lines through the latent space, by coordinates that are N(0, 1) under the prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class PlaneError(ValueError):
    """A plane or a line that the latent space does not have; the message is one line."""


# --- Planes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plane:
    """A plane through the latent space; a line, where z has one unit.

    Attributes:
        base: (latent,) where it is, orthogonal to the directions.
        directions: (2, latent) or (1, latent), orthonormal.
        axes: the name of each coordinate.
        elsewhere: what z is in all other directions, in words; empty where there is none.
    """

    base: Tensor
    directions: Tensor
    axes: tuple[str, ...]
    elsewhere: str

    def coordinates(self, z: Tensor) -> Tensor:
        """Where z (batch, latent) lies, projected on the plane; (batch, 2)."""
        return z @ self.directions.T

    def latents(self, coordinates: Tensor) -> Tensor:
        """z (batch, latent) of places (batch, 2)."""
        return self.base + coordinates @ self.directions


def _plane(base: Tensor, directions: Tensor, axes: Sequence[str], elsewhere: str) -> Plane:
    base = base - (base @ directions.T) @ directions
    return Plane(base, directions, tuple(axes), elsewhere)


def unit_plane(units: Sequence[int], base: Tensor, where: str) -> Plane:
    """The plane of two units of z (of one, where z has one), the others as in ``base``.

    Args:
        units: counted from 0.
        base: (latent,) a point of the plane.
        where: what that point is, in words.

    Raises:
        PlaneError: if z has no such units.
    """
    size = len(base)
    wanted = 2 if size > 1 else 1
    if len(set(units)) != wanted or not all(0 <= unit < size for unit in units):
        named = ",".join(str(unit + 1) for unit in units)
        allowed = f"two different units from 1 to {size}" if size > 1 else "1"
        raise PlaneError(f"the plane of units {named}; z has {size}: allowed: {allowed}")
    directions = torch.eye(size)[list(units)]
    elsewhere = f"other units of z: {where}" if size > 2 else ""
    return _plane(base, directions, [f"z{unit + 1}" for unit in units], elsewhere)


def principal_plane(means: Tensor, base: Tensor, where: str) -> Plane:
    """The plane in which the rows' posterior means (rows, latent) vary most (PCA).

    Args:
        base: (latent,) a point of the plane.
        where: what that point is, in words.
    """
    directions, shares = _principal_directions(means, 2)
    axes = [
        f"principal component {number + 1} ({share:.0%} of variance)"
        for number, share in enumerate(shares)
    ]
    return _plane(base, directions, axes, f"all other directions of z: {where}")


def usual_plane(means: Tensor) -> Plane:
    """The plane that is shown if nobody asks for another: all of z where z has two units or one.

    Else that in which the rows' posterior means (rows, latent) vary most, at their mean.
    """
    size = means.shape[1]
    if size <= 2:
        return unit_plane(range(size), means.new_zeros(size), "0")
    return principal_plane(means, means.mean(dim=0), "at the rows' mean")


def plane_of_line(start: Tensor, end: Tensor, means: Tensor, names: tuple[str, str]) -> Plane:
    """The plane through two points (latent,) in which the rows' means vary most otherwise.

    Raises:
        PlaneError: if the points are one.
    """
    along = end - start
    if float(along.norm()) < 1e-6:
        raise PlaneError(f"{names[0]} and {names[1]} have the same latent: no line joins them")
    along = along / along.norm()
    rest = means - (means @ along).unsqueeze(1) * along
    across, shares = _principal_directions(rest, 1)
    # Without any variance left the direction found need not be orthogonal.
    across = across[0] - (across[0] @ along) * along
    directions = torch.stack([along, across / across.norm()])
    axes = (
        f"from {names[0]} to {names[1]}",
        f"principal component across ({shares[0]:.0%} of the rest)",
    )
    return _plane(start, directions, axes, f"all other directions of z: as at {names[0]}")


def _principal_directions(means: Tensor, count: int) -> tuple[Tensor, list[float]]:
    """The first directions (count, latent) of the most variance, and their shares of it."""
    centred = (means - means.mean(dim=0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred)  # ascending
    directions = vectors.T.flip(0)[:count]
    # The sign is arbitrary; this one is the same on every machine.
    largest = directions.abs().argmax(dim=1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()
    total = max(float(values.sum()), 1e-12)
    shares = [float(value) / total for value in values.flip(0)[:count]]
    return directions.to(means), shares


def quantiles(coordinates: Tensor) -> Tensor:
    """The prior quantile of coordinates of any shape, in double precision."""
    shares: Tensor = torch.special.ndtr(coordinates.double())
    return shares


# --- Lines -------------------------------------------------------------------------------------


def line(start: Tensor, end: Tensor, steps: int, *, spherical: bool) -> Tensor:
    """Points from one latent (size,) to another, both ends included; (steps, size).

    Args:
        steps: at least 2.
        spherical: turn from one direction to the other at a steady angle, so that the length
            changes steadily too. A straight line between two draws of a prior of many units passes
            through lengths that are never drawn. Source: White 2016 (arXiv 1609.04468).
    """
    share = torch.linspace(0.0, 1.0, steps).unsqueeze(1)
    straight = (1.0 - share) * start + share * end
    if not spherical:
        return straight
    lengths = (start.norm(), end.norm())
    if min(lengths) < 1e-6:
        return straight  # a point at the origin has no direction
    cosine = (start @ end / (lengths[0] * lengths[1])).clamp(-1.0, 1.0)
    angle = torch.arccos(cosine)
    if float(torch.sin(angle)) < 1e-4:
        return straight  # the same direction, or opposite ones, between which no way is the nearest
    directions = (
        torch.sin((1.0 - share) * angle) * (start / lengths[0])
        + torch.sin(share * angle) * (end / lengths[1])
    ) / torch.sin(angle)
    arc: Tensor = directions * ((1.0 - share) * lengths[0] + share * lengths[1])
    return arc
