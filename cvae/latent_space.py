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
from cvae.latent_planes import Plane, quantiles
from cvae.losses import kl_per_unit
from cvae.model import ConditionalVAE, Gaussian

PLACES_A_ROW: Final = 30
"""Places decoded for each training row, so that a row's part is some 5.5 places wide."""

FEWEST_PLACES, MOST_PLACES = 64, 256  # along a side of a plane; squared, of a line

_COMPARED: Final = 2000
_PLACE_DRAWS: Final = 32_768
_PLACES_TRIED: Final = 1024
_PLACE_SEED: Final = 20260101
_CPU: Final = torch.device("cpu")


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
def place_of_code(
    model: ConditionalVAE, code: Tensor, posterior_mean: Tensor, forms: Forms | None = None
) -> Tensor:
    """Where in the prior a code (code,) is generated: the most likely z of it; (latent,).

    In a two-level model the posterior mean is an approximation that training leaves behind, once
    it has divided the prior in equal parts; the place maximises log p(h|z) + log p(z) over fixed
    prior draws. For one training row in five that place belongs to another row (60 rows of the
    default, seed 0): with the row's ``forms``, it is the best place that decodes to them, if there
    is one among the best. In a one-level model it is the posterior mean, which is the code itself.
    """
    if model.prior is None:
        return posterior_mean
    z = torch.randn(
        _PLACE_DRAWS, model.latent_size, generator=torch.Generator().manual_seed(_PLACE_SEED)
    )
    z = torch.cat([posterior_mean.unsqueeze(0), z])
    wanted = model.prior.standardise(code)
    error = (model.prior.generate_standardised(z) - wanted).square().sum(dim=1)
    order = (error + z.square().sum(dim=1)).argsort()
    best = z[order[:_PLACES_TRIED]]
    said = generate(model, best, _CPU) if forms is not None else []
    return best[said.index(forms) if forms in said else 0]


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
    return LatentMap(
        plane=plane,
        paradigms=paradigms,
        places=places,
        rows=quantiles(plane.coordinates(mean)).numpy(),
        spread=variance.sqrt().double().numpy(),
        decoded=decoded,
        neighbours=_neighbours(places, paradigms),
        warning=_warning(encoded.latents, places),
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


def _warning(latents: Gaussian, places: Places) -> str | None:
    kl = float(kl_per_unit(latents).sum(dim=1).mean())
    units = metrics.active_units(latents.mean)
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
