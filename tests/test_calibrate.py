"""Tests of cvae.calibrate and of what convert prints with --scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from shared import DEFAULT, write_untrained_run

from cvae import calibrate, confidence, convert
from cvae.alphabet import EOS
from cvae.model import ConditionalVAE, build_model
from cvae.reranking import Answer, Candidate
from cvae.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three training and two dev verbs, whose model was not trained."""
    directory = write_untrained_run(tmp_path / "run", model(), {"name": "default", **DEFAULT})
    set_dev_count(directory, 2)
    return directory


def model() -> ConditionalVAE:
    torch.manual_seed(1)
    network = build_model("default", **DEFAULT).eval()
    with torch.no_grad():
        network.decoder.out.bias[EOS] += 1.0
    return network


def set_dev_count(directory: Path, count: int) -> None:
    result = json.loads((directory / "result.json").read_text())
    result["config"]["data"]["dev_count"] = count
    RunDirectory(directory).write_result(result)


def test_a_model_that_is_always_wrong_cannot_be_calibrated(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate.main([str(run)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == (
        "cvae.calibrate: all of the 24 conversions are wrong: there is nothing to calibrate\n"
    )
    assert not (run / confidence.FILE).exists()


def test_a_run_without_dev_verbs_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_dev_count(run, 0)
    assert calibrate.main([str(run)]) == 2
    assert "no dev verbs to calibrate on; train with data.dev_count" in capsys.readouterr().err


def test_it_writes_the_fit_of_the_dev_verbs_and_prints_their_table(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs = [(word, -0.1 * index, -0.1 * index) for index, word in enumerate("abcdefgh")]

    def converted(network: object, dev: tuple[object, ...]) -> confidence.Converted:
        assert len(dev) == 2
        from cvae.data import Pair

        said = [Answer((Candidate(*verb),), "a", -0.1) for verb in verbs] * 15
        return [
            (Pair("x", 0, 3, (found.word if index % 3 else "z",), True), found)
            for index, found in enumerate(said)
        ]

    monkeypatch.setattr(confidence, "converted", converted)
    assert calibrate.main([str(run)]) == 0
    header, row = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert header == [
        "split", "pairs", "greedy", "reranked", "probability", "calibration_error",
    ]  # fmt: skip
    made = converted(None, (1, 2))
    accuracy = sum(confidence.correct(made)) / len(made)
    assert row[:2] == ["dev", "120"] and float(row[3]) == pytest.approx(accuracy, abs=1e-4)
    assert float(row[2]) < float(row[3]) and abs(float(row[4]) - accuracy) < 0.05
    assert confidence.read(run) == confidence.fit(made)


def test_scores_need_a_calibration_and_say_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert.main([str(run), "walk", "--to", "past", "--scores"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"make it with: python -m cvae.calibrate {run}" in err


def test_scores_stand_behind_each_prediction(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    confidence.write(run, confidence.Calibration(1.0, 0.0, 0.0, -100.0))
    words = ["walk", "swim", "internationalize"]
    assert convert.main([str(run), *words, "--to", "past"]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert convert.main([str(run), *words, "--to", "past", "--scores"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == plain
    for row in rows:
        assert len(row) == 4 and 0.0 < float(row[1]) <= 1.0
        assert (row[2] == "") == (row[3] == "")


@pytest.mark.parametrize(("second", "shown"), [(-1.0, ["walken", "0.269"]), (-9.0, ["", ""])])
def test_the_second_answer_is_shown_if_it_is_near(second: float, shown: list[str]) -> None:
    found = Answer((Candidate("walked", 0.0, 0.0), Candidate("walken", second, 0.0)), "walked", 0.0)
    cells = convert.scores(found, confidence.Calibration(1.0, 1.0, 0.0, -100.0))
    assert cells[1:] == shown and float(cells[0]) > 0.7


@pytest.mark.parametrize("count", ["0", "-1", "21"])
def test_a_number_of_candidates_out_of_range_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    assert convert.main([str(run), "walk", "--to", "past", f"--candidates={count}"]) == 2
    assert f"--candidates is {count}; allowed: 1 to 20" in capsys.readouterr().err


def test_the_default_number_of_candidates_is_rerankings() -> None:
    from cvae import reranking

    assert convert.DEFAULT_CANDIDATES == reranking.WIDTH
