"""Tests of cvae.latent_page: the page's data; tests/browser shows what a user sees of them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from test_latent_figure import map_of

from cvae import latent_page


def test_nothing_on_the_page_refers_elsewhere() -> None:
    page = latent_page.render(
        map_of(np.array([[0, 1], [5, 3]])),
        colouring="letter",
        title="<script>alert(1)</script>",
        command="python -m cvae.interpolate run",
        walk=None,
    )
    markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|url\(|@import|https?:""", markup)
    assert "alert(1)</script>" not in page


def test_the_data_are_plain_and_small() -> None:
    seen = map_of(np.zeros((100, 100), dtype=np.int64))
    ends = (("swim", 1, torch.tensor([0.0, 1.0])), ("blorp", None, torch.tensor([-1.0, 0.0])))
    data = latent_page.page_data(seen, colouring="class", title="t", command="c", walk=ends)
    assert len(json.dumps(data)) < 60_000
    assert data["walk"] == [
        {"name": "swim", "at": [0.5, pytest.approx(0.84134)]},
        {"name": "blorp", "at": [pytest.approx(0.15866), 0.5]},
    ]
    assert data["homes"][1:] == [None] * 4
    assert data["regions"][0][0] == 0


@pytest.mark.parametrize(
    ("units", "part"), [(1, "equal lengths"), (2, "equal areas"), (3, "the dots are projected")]
)
def test_how_to_read_it_depends_on_the_units(units: int, part: str) -> None:
    places = np.array([[0, 1]]) if units == 1 else np.array([[0, 1], [2, 3]])
    assert part in latent_page.about(map_of(places, units=units))


@pytest.mark.parametrize(("units", "at"), [(2, [0.1875, 0.1875]), (3, [0.5, 0.5])])
def test_a_line_starts_in_the_region_of_its_row_where_the_map_is_whole(
    units: int, at: list[float]
) -> None:
    seen = map_of(np.kron(np.array([[0, 1], [2, 3]]), np.ones((4, 4), dtype=np.int64)), units=units)
    ends = (("walk", 0, torch.zeros(2)), ("swim", 1, torch.zeros(2)))
    data = latent_page.page_data(seen, colouring="class", title="t", command="c", walk=ends)
    assert data["walk"][0]["at"] == at
