"""The latent space as a map: what each place of a plane decodes to, and where the rows lie.

A plane is spanned by two directions of the prior latent z. Its places are spaced by prior
quantiles: a coordinate is N(0, 1) under the prior, and the normal distribution function maps it to
[0, 1], so that equal areas hold equal shares of what the model generates (in the plane).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvae import metrics
from cvae.batches import TrainingRows, words_to_tensor
from cvae.coverage import row_posteriors
from cvae.data import Forms, Paradigm
from cvae.evaluation import decode_codes, generate
from cvae.losses import kl_per_unit
from cvae.model import ConditionalVAE, Gaussian

PLACES_A_ROW: Final = 30
"""Places decoded for each training row, so that a row's part is some 5.5 places wide."""

FEWEST_PLACES, MOST_PLACES = 64, 256  # along a side of a plane; squared, of a line

_COMPARED: Final = 2000
_PLACE_DRAWS: Final = 32_768
_PLACE_SEED: Final = 20260101
_CPU: Final = torch.device("cpu")


class LatentSpaceError(ValueError):
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
        LatentSpaceError: if z has no such units.
    """
    size = len(base)
    wanted = 2 if size > 1 else 1
    if len(set(units)) != wanted or not all(0 <= unit < size for unit in units):
        named = ",".join(str(unit + 1) for unit in units)
        allowed = f"two different units from 1 to {size}" if size > 1 else "1"
        raise LatentSpaceError(f"the plane of units {named}; z has {size}: allowed: {allowed}")
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


def plane_of_line(start: Tensor, end: Tensor, means: Tensor, names: tuple[str, str]) -> Plane:
    """The plane through two points (latent,) in which the rows' means vary most otherwise.

    Raises:
        LatentSpaceError: if the points are one.
    """
    along = end - start
    if float(along.norm()) < 1e-6:
        raise LatentSpaceError(
            f"{names[0]} and {names[1]} have the same latent: no line joins them"
        )
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


# --- The codes of verbs ------------------------------------------------------------------------


@dataclass(frozen=True)
class RowLatents:
    """The training rows as the model encodes them.

    Attributes:
        codes: q(code|row), each tensor (rows, code).
        latents: q(z|row), each tensor (rows, latent); the codes themselves in a one-level model.
    """

    codes: Gaussian
    latents: Gaussian


@torch.no_grad()
def row_latents(model: ConditionalVAE, paradigms: Sequence[Paradigm]) -> RowLatents:
    """Encode the training rows, each from its four forms."""
    codes = row_posteriors(model, TrainingRows(paradigms), _CPU)
    return RowLatents(codes, model.infer_latent(codes))


@torch.no_grad()
def encode_form(model: ConditionalVAE, word: str, tense: int) -> tuple[Tensor, Tensor]:
    """The means of code and latent of one word, read under one tense; (code,) and (latent,)."""
    packed = words_to_tensor([word])
    codes = model.encode(packed.symbols, packed.lengths, torch.tensor([tense]))
    return codes.mean[0], model.infer_latent(codes).mean[0]


def decode_points(model: ConditionalVAE, points: Tensor, *, codes: bool) -> list[Forms]:
    """The four forms at points (points, size): prior latents, or codes."""
    if not codes:
        return generate(model, points, _CPU)
    return [forms for part in torch.split(points, 1024) for forms in decode_codes(model, part)]


@torch.no_grad()
def place_of_code(model: ConditionalVAE, code: Tensor, posterior_mean: Tensor) -> Tensor:
    """Where in the prior a code (code,) is generated: the most likely z of it; (latent,).

    In a two-level model the posterior mean is an approximation that training leaves behind, once
    it has divided the prior in equal parts; the place maximises log p(h|z) + log p(z) over fixed
    prior draws. In a one-level model it is the posterior mean, which is the code itself.
    """
    if model.prior is None:
        return posterior_mean
    z = torch.randn(
        _PLACE_DRAWS, model.latent_size, generator=torch.Generator().manual_seed(_PLACE_SEED)
    )
    z = torch.cat([posterior_mean.unsqueeze(0), z])
    wanted = model.prior.standardise(code)
    error = (model.prior.generate_standardised(z) - wanted).square().sum(dim=1)
    nearest: Tensor = z[(error + z.square().sum(dim=1)).argmin()]
    return nearest


def row_of(paradigms: Sequence[Paradigm], word: str) -> int | None:
    """The training row that has ``word`` as a form: as its lemma rather than as another one."""
    for tense in range(4):
        for row, paradigm in enumerate(paradigms):
            if word in paradigm.forms[tense]:
                return row
    return None


# --- The map -----------------------------------------------------------------------------------


Window = tuple[float, float, float, float]
"""Part of the plane, in prior quantiles: left, right, bottom, top."""

Places = NDArray[np.int64]
"""The number of a paradigm at each place of a part of the plane, from the lower left."""

WHOLE: Final[Window] = (0.0, 1.0, 0.0, 1.0)


class Paradigms:
    """Distinct paradigms by number: the training rows first, then whatever else is decoded."""

    def __init__(self, rows: Sequence[Paradigm]) -> None:
        self.forms: list[Forms] = [row.preferred for row in rows]
        self.row_count = len(self.forms)
        self._numbers: dict[Forms, int] = {}
        for number, forms in enumerate(self.forms):
            self._numbers.setdefault(forms, number)

    def number(self, forms: Forms) -> int:
        """The number of ``forms``, a new one if they were not seen before."""
        number = self._numbers.setdefault(forms, len(self.forms))
        if number == len(self.forms):
            self.forms.append(forms)
        return number

    def numbers(self, many: Sequence[Forms]) -> NDArray[np.int64]:
        """``number`` of each."""
        return np.array([self.number(forms) for forms in many], dtype=np.int64)


@dataclass(frozen=True)
class LatentMap:
    """A plane of the latent space, decoded, with the training rows on it.

    Attributes:
        paradigms: what ``places``, ``decoded`` count in.
        places: (height, width) the paradigm at each place, from the lower left; height is 1 where
            z has one unit.
        rows: (rows, 2) the quantiles of the rows' posterior means; (rows, 1) for one unit.
        spread: (rows, 2) the standard deviations of their posteriors along the axes.
        decoded: (rows,) what the model makes of each row's posterior mean itself.
        neighbours: mean edit distance of the lemmas of rows that border on each other, and of any
            two rows, in letters; None where no two rows do.
        warning: names posterior collapse where there is one.
    """

    plane: Plane
    paradigms: Paradigms
    places: Places
    rows: NDArray[np.float64]
    spread: NDArray[np.float64]
    decoded: NDArray[np.int64]
    kl: float
    active_units: int
    neighbours: tuple[float, float] | None
    warning: str | None

    @property
    def covered(self) -> float:
        """Share of the plane that decodes to training rows."""
        return float((self.places < self.paradigms.row_count).mean())

    @property
    def rows_met(self) -> int:
        """Training rows with a place in the plane."""
        return int((np.unique(self.places) < self.paradigms.row_count).sum())

    @property
    def returned(self) -> float:
        """Share of the rows whose posterior mean decodes to the row itself."""
        return float((self.decoded == np.arange(len(self.decoded))).mean())


def places_for(row_count: int, dimensions: int) -> int:
    """How many places along a side show every row, within what is decoded in reasonable time."""
    power = 1.0 / dimensions
    wanted = (PLACES_A_ROW * row_count) ** power
    fewest, most = FEWEST_PLACES ** (2 * power), MOST_PLACES ** (2 * power)
    side: float = min(most, max(fewest, wanted))
    return round(side)


def decode_window(
    model: ConditionalVAE, plane: Plane, paradigms: Paradigms, window: Window, side: int
) -> Places:
    """The paradigm at the middle of each of ``side`` by ``side`` places; (side, side).

    From the lower left, as the axes go; (1, side) where z has one unit.
    """
    left, right, bottom, top = window
    middles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    across = torch.special.ndtri(left + (right - left) * middles)
    up = torch.special.ndtri(bottom + (top - bottom) * middles)
    if len(plane.axes) == 1:
        coordinates = across.unsqueeze(1)
    else:
        coordinates = torch.cartesian_prod(up, across).flip(1)
    decoded = generate(model, plane.latents(coordinates.float()), _CPU)
    return paradigms.numbers(decoded).reshape(-1, side)


def draw_map(
    model: ConditionalVAE,
    rows: Sequence[Paradigm],
    encoded: RowLatents,
    plane: Plane,
    *,
    side: int,
) -> LatentMap:
    """Decode a plane of ``side`` by ``side`` places and lay the training rows on it."""
    paradigms = Paradigms(rows)
    mean, logvar = encoded.latents
    variance = torch.exp(logvar) @ plane.directions.square().T
    decoded = paradigms.numbers(generate(model, mean, _CPU))
    places = decode_window(model, plane, paradigms, WHOLE, side)
    kl = float(kl_per_unit(encoded.latents).sum(dim=1).mean())
    units = metrics.active_units(mean)
    return LatentMap(
        plane=plane,
        paradigms=paradigms,
        places=places,
        rows=quantiles(plane.coordinates(mean)).numpy(),
        spread=variance.sqrt().double().numpy(),
        decoded=decoded,
        kl=kl,
        active_units=units,
        neighbours=_neighbours(places, paradigms),
        warning=_warning(encoded.latents, kl, units, places),
    )


def _neighbours(places: Places, paradigms: Paradigms) -> tuple[float, float] | None:
    pairs = np.concatenate(
        [
            np.stack([places[:, 1:].ravel(), places[:, :-1].ravel()], axis=1),
            np.stack([places[1:].ravel(), places[:-1].ravel()], axis=1),
        ]
    )
    pairs.sort(axis=1)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs[:, 1] < paradigms.row_count)]
    if not len(pairs):
        return None
    generator = np.random.default_rng(0)
    near = generator.permutation(np.unique(pairs, axis=0))[:_COMPARED]
    met = np.unique(near)
    any_two = [generator.choice(met, 2, replace=False) for _ in range(len(near))]
    return _mean_distance(near, paradigms), _mean_distance(any_two, paradigms)


def _mean_distance(pairs: Iterable[NDArray[np.int64]], paradigms: Paradigms) -> float:
    lemmas = [[paradigms.forms[number][0] for number in pair] for pair in pairs]
    return float(np.mean([metrics.edit_distance(*pair) for pair in lemmas]))


def _warning(latents: Gaussian, kl: float, units: int, places: Places) -> str | None:
    samples = latents.sample(torch.Generator().manual_seed(0))
    information = metrics.mutual_information(latents.mean, latents.logvar, samples)
    if len(latents.mean) > 1 and metrics.collapse_warning(
        kl, units, information, latent_size=latents.mean.shape[1]
    ):
        return (
            f"posterior collapse: the latent says {max(information, 0.0):.2f} nats about the verb, "
            f"{units} of {latents.mean.shape[1]} units active"
        )
    if len(np.unique(places)) == 1:
        return "every place decodes to the same paradigm: the decoder does not use z"
    return None


def widest_places(places: Places) -> list[tuple[int, int, int, float]]:
    """For each paradigm the place deepest inside its region: number, row, column, depth in places.

    The depth is the distance to the next place of another paradigm or outside.
    """
    if places.shape[0] == 1:
        return _widest_on_a_line(places[0])
    from scipy.ndimage import distance_transform_edt, find_objects

    found = []
    for number, box in enumerate(find_objects(places + 1)):
        if box is None:
            continue
        top, left = box[0].start, box[1].start
        region = places[box] == number
        depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        found.append((number, int(top + row), int(left + column), float(depth.max())))
    return found


def _widest_on_a_line(places: Places) -> list[tuple[int, int, int, float]]:
    """The middle of each paradigm's longest stretch."""
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    lengths = np.diff(starts, append=len(places))
    longest = {int(places[starts[n]]): n for n in np.argsort(lengths, kind="stable")}
    return [
        (number, 0, int(starts[n] + (lengths[n] - 1) // 2), float((lengths[n] + 1) // 2))
        for number, n in sorted(longest.items())
    ]


def summary(seen: LatentMap) -> str:
    """What the map shows, in numbers."""
    rows = seen.paradigms.row_count
    plane = "the plane" if len(seen.plane.axes) == 2 else "the line"
    return (
        f"{seen.covered:.1%} of {plane} decodes to training rows ({seen.rows_met:,} of {rows:,}); "
        f"{seen.returned:.1%} of the rows are decoded from their own posterior mean"
    )


def neighbourhood(seen: LatentMap) -> str:
    """How near in spelling neighbours are, in words; empty where no two rows border."""
    if seen.neighbours is None:
        return ""
    near, any_two = seen.neighbours
    return f"lemmas of neighbours differ in {near:.2f} letters, of any two rows in {any_two:.2f}"
