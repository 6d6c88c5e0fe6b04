"""The map of the latent space as one self-contained HTML page, to explore without any network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import numpy as np
from torch import Tensor

from cvae import latent_space, offline_page
from cvae.alphabet import TENSES
from cvae.colouring import COLOURINGS
from cvae.latent_planes import quantiles
from cvae.latent_space import LatentMap, neighbourhood, summary

_MODULES: Final = ("normal_distribution.js", "latent_map.js", "latent_walk.js")

End = tuple[str, int | None, Tensor]
"""An end of a line: a verb, its training row if it is one, and its place in the plane."""


def render(
    seen: LatentMap,
    *,
    colouring: str,
    title: str,
    command: str,
    walk: tuple[End, End] | None,
) -> str:
    """Return the page as text.

    Args:
        colouring: which of ``COLOURINGS`` is shown first.
        command: the command line that walks a line exactly.
        walk: the line shown first, if any.
    """
    modules = "\n".join(_asset("latent_assets", name) for name in _MODULES)
    return offline_page.fill(
        _asset("latent_assets", "page.html"),
        title=title,
        style=_asset("report_assets", "report.css") + _asset("latent_assets", "page.css"),
        data=page_data(seen, colouring=colouring, title=title, command=command, walk=walk),
        # One block: what the modules name is seen by each other and by no other script.
        behaviour=f'"use strict";\n{{\n{modules}}}\n',
    )


def _asset(folder: str, name: str) -> str:
    return files("cvae").joinpath(folder, name).read_text(encoding="utf-8")


def page_data(
    seen: LatentMap,
    *,
    colouring: str,
    title: str,
    command: str,
    walk: tuple[End, End] | None,
) -> dict[str, Any]:
    """Return all that the page shows, as plain lists and dictionaries."""
    height, width = seen.places.shape
    rows = seen.paradigms.row_count
    regions = sorted(latent_space.widest_places(seen.places), key=lambda region: -region[3])
    homes: list[list[float] | None] = [None] * rows
    placed = []
    for number, row, column, depth in regions:
        x, y = (column + 0.5) / width, (row + 0.5) / height
        if number < rows:
            homes[number] = _short([x, y][: len(seen.plane.axes)])
        if depth >= 1.5:  # smaller ones have no room for a word at any size
            placed.append([number, *_short([x, y, depth / width])])
    places = base64.b64encode(seen.places.astype("<u4").tobytes()).decode("ascii")
    return {
        "title": title,
        "summary": "; ".join(filter(None, [summary(seen), neighbourhood(seen)])),
        "about": about(seen),
        "warning": seen.warning,
        "command": command,
        "tenses": [tense.replace("_", " ") for tense in TENSES],
        "width": width,
        "height": height,
        "places": places,
        "rowCount": rows,
        "forms": seen.paradigms.forms,
        "rows": [_short(at) for at in seen.rows.tolist()],
        "spread": [_short(at) for at in seen.spread.tolist()],
        "homes": homes,
        "regions": placed,
        "typicalWidth": width / max(1, len(np.unique(seen.places))) ** (1.0 / seen.rows.shape[1]),
        "axes": list(seen.plane.axes),
        "colouring": colouring,
        "colourings": {
            key: {
                "title": choice.title,
                "labels": list(choice.labels),
                "colours": list(choice.colours),
                "categories": [choice.category(forms) for forms in seen.paradigms.forms],
            }
            for key, choice in COLOURINGS.items()
        },
        "walk": walk and [_end(seen, homes, *end) for end in walk],
    }


def _end(
    seen: LatentMap,
    homes: Sequence[list[float] | None],
    name: str,
    row: int | None,
    place: Tensor,
) -> dict[str, Any]:
    """An end of a line; on a map of all of z the middle of its row's region, as if typed."""
    home = None if row is None or seen.plane.elsewhere else homes[row]
    return {"name": name, "at": home or _short(quantiles(place).tolist())}


def about(seen: LatentMap) -> str:
    """How the map is to be read."""
    equal = "areas" if len(seen.plane.axes) == 2 else "lengths"
    parts = [
        f"The axes are spaced by prior quantiles: equal {equal} hold equal shares of the prior.",
        "A colour is what the place decodes to, a dot a training row's posterior mean.",
    ]
    if seen.plane.elsewhere:
        parts.append(
            f"The plane is a cut through z of {len(seen.plane.base)} units "
            f"({seen.plane.elsewhere}); the dots are projected on it, and what lies beneath one "
            "need not be what it decodes to."
        )
    elif seen.returned < 0.5 < seen.covered:
        parts.append(
            "Few posterior means lie in the region of their row: training has divided the prior "
            "among the rows in equal parts, which moves the regions."
        )
    return " ".join(parts)


def _short(numbers: Sequence[float]) -> list[float]:
    return [round(number, 5) for number in numbers]
