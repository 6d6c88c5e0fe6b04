"""What a run returns to a search: which metrics count, and how they are combined."""

from __future__ import annotations

import pytest
from test_config import compose

from cvae import objectives
from cvae.objectives import as_returned, objective_of, parts_of, scalar, worst

TABLE = {
    "bleu4": 0.91,  # of the ten pairs, which never count
    "dev_bleu4": 0.5,
    "seen_bleu4": 0.7,
    "gaussian_score": 0.92,  # of the reported bank, which never counts
    "dev_gaussian_score": 0.8,
    "dev_gaussian_variety": 0.3,
}


@pytest.mark.parametrize(("conversions", "bleu4"), [("unseen", 0.5), ("seen", 0.7)])
@pytest.mark.parametrize(("generation", "part"), [("share", 0.8), ("variety", 0.3)])
@pytest.mark.parametrize("name", list(objectives.OBJECTIVES))
def test_an_objective_counts_what_it_names(
    name: str, generation: str, part: float, conversions: str, bleu4: float
) -> None:
    chosen = [f"objective={name}", f"objective.conversions={conversions}"]
    chosen += [] if name == "bleu" else [f"objective.generation={generation}"]
    node = compose(*chosen)["objective"]
    parts = parts_of(TABLE, conversions)
    assert parts == {"bleu4": bleu4, "gaussian_score": 0.8, "gaussian_variety": 0.3}
    value = objective_of(node, parts)
    assert as_returned(value) == pytest.approx(
        {
            "weighted": 0.5 * bleu4 + 0.5 * part,
            "bleu": bleu4,
            "pareto": (bleu4, part),
            "gaussian": part,
        }[name]
    )
    assert scalar(value) == pytest.approx(bleu4 + part if name == "pareto" else value)
    assert scalar(worst(node)) == 0.0


def test_a_missing_metric_counts_as_nothing() -> None:
    assert parts_of({**TABLE, "dev_bleu4": None}, "unseen")["bleu4"] == 0.0


def test_the_weights_of_the_config_count() -> None:
    node = {**compose()["objective"], "bleu_weight": 0.9, "gaussian_weight": 0.1}
    assert objective_of(node, parts_of(TABLE, "unseen")) == pytest.approx(0.9 * 0.5 + 0.1 * 0.3)
