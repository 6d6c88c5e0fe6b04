"""Calibrated probabilities: the formula, the fit, the cross-validation and the file."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from cvae import confidence
from cvae.confidence import Calibration, CalibrationError
from cvae.data import Pair
from cvae.metrics import calibration_error
from cvae.reranking import Answer, Candidate
from cvae.run_directory import RunDirectoryError

TRUE = Calibration(forward_weight=0.6, back_weight=0.9, reading_weight=-1.5, bias=-2.0)


def answer(*candidates: tuple[str, float, float], reading: float = -0.04) -> Answer:
    found = tuple(Candidate(*candidate) for candidate in candidates)
    return Answer(found, found[0].word, reading)


def conversions(count: int, seed: int = 0) -> list[tuple[Pair, Answer]]:
    """Conversions whose outcomes are drawn from ``TRUE``."""
    draws = random.Random(seed)
    made = []
    for _ in range(count):
        scores = [(-draws.expovariate(0.4), -draws.expovariate(0.4)) for _ in range(3)]
        named = [(word, *score) for word, score in zip("abc", scores, strict=True)]
        named.sort(key=lambda item: -item[1] - item[2])
        said = answer(*named, reading=-draws.expovariate(1.0))
        shares = TRUE.probabilities(said)
        words = [*(found.word for found in said.candidates), "none"]
        right = draws.choices(words, [*shares, 1.0 - sum(shares)])[0]
        made.append((Pair("x", 0, 3, (right,), True), said))
    return made


def test_the_probabilities_are_those_of_the_formula() -> None:
    said = answer(("walked", -0.5, -0.1), ("walken", -2.0, -1.0), reading=-0.25)
    terms = [math.exp(-0.3 - 0.09), math.exp(-1.2 - 0.9), math.exp(-2.0 - 1.5 * 0.5)]
    wanted = [term / sum(terms) for term in terms[:2]]
    assert TRUE.probabilities(said) == pytest.approx(wanted)


def test_hopeless_words_have_probability_zero_and_not_nan() -> None:
    assert TRUE.probabilities(answer(("x", -1e5, -1e5))) == [0.0]
    assert TRUE.probabilities(answer(("x", 0.0, 0.0), reading=1e-7))[0] > 0.8


def test_the_fit_finds_the_weights_behind_the_outcomes() -> None:
    found = confidence.fit(conversions(12_000))
    assert found.forward_weight == pytest.approx(0.6, abs=0.1)
    assert found.back_weight == pytest.approx(0.9, abs=0.1)
    assert found.reading_weight == pytest.approx(-1.5, abs=0.3)
    assert found.bias == pytest.approx(-2.0, abs=0.3)


def test_cross_validated_probabilities_are_calibrated() -> None:
    made = conversions(6_000)
    shares = confidence.cross_validated(made)
    assert calibration_error(shares, confidence.correct(made)) < 0.03
    # Not those of the one calibration of all.
    whole = confidence.fit(made)
    assert shares != [whole.probabilities(said)[0] for _, said in made]


def test_the_twelve_pairs_of_a_verb_are_left_out_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = conversions(12 * 10)
    fitted: list[set[int]] = []
    places = {id(item): index for index, item in enumerate(made)}

    def record(part: list[tuple[Pair, Answer]]) -> Calibration:
        fitted.append({places[id(item)] // 12 for item in part})
        return TRUE

    monkeypatch.setattr(confidence, "fit", record)
    confidence.cross_validated(made)
    assert [len(verbs) for verbs in fitted] == [8] * 5  # of ten verbs, two are left out at a time
    assert set.intersection(*fitted) == set()


@pytest.mark.parametrize(("accepted", "what"), [("a", "right"), ("z", "wrong")])
def test_outcomes_that_are_all_alike_are_refused(accepted: str, what: str) -> None:
    alike = [(Pair("x", 0, 3, (accepted,), True), answer(("a", -0.1, -0.1)))] * 30
    with pytest.raises(CalibrationError, match=f"all of the 30 conversions are {what}"):
        confidence.fit(alike)


# --- The file ----------------------------------------------------------------------------------


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    calibration = confidence.fit(conversions(300))
    confidence.write(tmp_path, calibration)
    assert confidence.read(tmp_path) == calibration


def test_a_run_without_one_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError) as caught:
        confidence.read(tmp_path)
    assert f"make it with: python -m cvae.calibrate {tmp_path}" in str(caught.value)


GOOD = {"forward_weight": 1, "back_weight": 1, "reading_weight": 1, "bias": 1}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\xff",
        json.dumps({**GOOD, "more": 1}),
        json.dumps({**GOOD, "bias": "1"}),
        json.dumps({**GOOD, "bias": True}),
        json.dumps({**GOOD, "bias": 1e9}),
        json.dumps({**GOOD, "bias": math.nan}),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / confidence.FILE).write_text(content, encoding="latin-1")
    with pytest.raises(RunDirectoryError, match=r"calibration.json: is damaged") as caught:
        confidence.read(tmp_path)
    assert "\n" not in str(caught.value) and "cvae.calibrate" in str(caught.value)
