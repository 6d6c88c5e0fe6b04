"""``cvae.winner``: which run a directory stands for, over every kind of directory."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvae import compare, convert, explore, generate, interpolate, report_page, results, winner
from cvae.winner import WinnerError

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run


def trial(study: Path, name: str, value: object = 0.5, status: str = "complete") -> Path:
    """A trial's directory, with the files that its status leaves."""
    directory = study / name
    (directory / ".hydra").mkdir(parents=True)
    if status == "complete":
        (directory / "weights.safetensors").write_bytes(b"")
    if status in ("complete", "pruned"):
        result = {"status": status, "reason": None, "objective": {"value": value}}
        (directory / "result.json").write_text(json.dumps(result))
    elif status == "failed":
        unfinished = {"status": status, "reason": "RuntimeError: out of memory\nat once"}
        (directory / "unfinished.json").write_text(json.dumps(unfinished))
    return directory


def told(study: Path, **content: Any) -> None:
    """What the search writes about its best."""
    study.mkdir(parents=True, exist_ok=True)
    (study / "optimization_results.yaml").write_text(yaml.safe_dump({"name": "optuna", **content}))


def best(study: Path, directory: str, **content: Any) -> None:
    told(study, best_params={}, best_trial=7, best_directory=directory, **content)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two complete trials; the search says that the one of the lower value is the winner."""
    study = tmp_path / "multirun" / "default"
    trial(study, "trial_00003", 0.9)
    trial(study, "trial_00007", 0.8)
    trial(study, "trial_00008", 0.95, "pruned")
    (study / "multirun.yaml").write_text("")
    best(study, "trial_00007", best_value=0.8125)
    return study


def test_a_study_stands_for_the_trial_that_its_search_names(study: Path) -> None:
    directory, note = winner.run_of(study)
    assert directory == study / "trial_00007"
    assert note == f"{study}: using its winner, trial_00007 (objective 0.8125)"


@pytest.mark.parametrize("name", ["trial_00003", "trial_00008"])
def test_a_single_trial_stands_for_itself(study: Path, name: str) -> None:
    assert winner.run_of(study / name) == (study / name, None)


def test_a_winner_that_was_repeated_has_its_mean(study: Path) -> None:
    confirmed = [
        {"trial": 7, "mean": 0.75, "values": [0.8125, 0.7, 0.7375]},
        {"trial": 3, "mean": 0.7, "values": [0.9, 0.5, 0.7]},
    ]
    best(study, "trial_00007", best_value=0.8125, confirmed=confirmed)
    _, note = winner.run_of(study)
    assert note is not None
    assert note.endswith("trial_00007 (objective 0.7500, the mean of 3 runs)")


def moved(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.move(study, tmp_path / "else where"))


def copied(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "copy"))


def linked(study: Path, tmp_path: Path) -> Path:
    (tmp_path / "link").symlink_to(study)
    return tmp_path / "link"


@pytest.mark.parametrize("stored", ["relative", "absolute"])
@pytest.mark.parametrize("place", [moved, copied, linked])
def test_a_study_may_be_moved(
    study: Path, tmp_path: Path, stored: str, place: Callable[[Path, Path], Path]
) -> None:
    """Former versions of the search stored absolute paths."""
    best(study, str(study / "trial_00007") if stored == "absolute" else "trial_00007")
    here = place(study, tmp_path)
    assert winner.run_of(here)[0] == here / "trial_00007"


def test_trials_may_have_names_of_the_users(study: Path) -> None:
    trial(study, "seed=1,lr=0.1/model=a b", 0.2)
    for name in ("seed=1,lr=0.1/model=a b", str(study / "seed=1,lr=0.1" / "model=a b")):
        best(study, name)
        assert winner.run_of(study)[0] == study / "seed=1,lr=0.1" / "model=a b"


@pytest.mark.parametrize(
    "name",
    ["../../outside", "trial_00099", "/nowhere/trial_00099", "trial_00008", ".", "x" * 300],
)
def test_a_winner_that_is_not_there_is_not_replaced_by_another(
    study: Path, tmp_path: Path, name: str
) -> None:
    """Deleted, without weights, or outside of the study."""
    trial(tmp_path, "outside")
    best(study, name)
    with pytest.raises(WinnerError, match="its winner, .* is not there with its weights"):
        winner.run_of(study)


@pytest.mark.parametrize(
    "content",
    [
        None,  # a study of which only the trials were copied
        {"best_params": {"x": 1}, "best_value": 0.9},  # the stock sweeper's
        {"best_params": {}, "best_value": None},  # from before the first trial was complete
        "{ no: mapping",
    ],
)
def test_without_a_named_trial_the_results_are_compared(study: Path, content: Any) -> None:
    path = study / "optimization_results.yaml"
    path.unlink()
    if isinstance(content, dict):
        told(study, **content)
    elif content:
        path.write_text(content)
    directory, note = winner.run_of(study)
    assert directory == study / "trial_00003"
    assert note is not None and note.endswith("trial_00003 (objective 0.9000)")


def test_trials_alone_are_a_study(tmp_path: Path) -> None:
    trial(tmp_path / "copy", "trial_00000", 0.1)
    trial(tmp_path / "copy", "trial_00001_2", 0.2)
    assert winner.run_of(tmp_path / "copy")[0].name == "trial_00001_2"


def test_several_directions_have_no_single_winner(tmp_path: Path) -> None:
    study = tmp_path / "pareto"
    for number in range(7):
        trial(study, f"trial_{number:05d}", [0.1 * number, 0.7])
    solutions = [
        {"number": number, "values": [0.1 * number, 0.7], "directory": f"trial_{number:05d}"}
        for number in range(7)
    ]
    told(study, solutions=solutions)
    with pytest.raises(WinnerError) as caught:
        winner.run_of(study)
    assert str(caught.value) == (
        f"{study}: has several directions and so no single winner; name a trial, "
        "Pareto-optimal are "
        + ", ".join(f"{study}/trial_{n:05d} ({0.1 * n:.4g}, 0.7)" for n in range(5))
        + " and 2 more"
    )
    (study / "optimization_results.yaml").unlink()
    with pytest.raises(WinnerError, match=r"complete are .*/trial_00000 \(0, 0.7\), "):
        winner.run_of(study)


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([], "has no winner: it has no trial yet; wait for its search, or continue it$"),
        (["running"], r"of its 1 trials none is complete \(1 running or interrupted\); wait"),
        (
            ["failed", "failed"],
            r"of its 2 trials none is complete \(2 failed; the last reason: "
            r"RuntimeError: out of memory at once\); python -m cvae.compare .*/study shows all$",
        ),
        (["failed", "pruned", "running"], r"\(1 failed, 1 pruned, 1 running or interrupted; the"),
    ],
)
def test_a_study_without_a_winner_says_what_there_is(
    tmp_path: Path, statuses: list[str], words: str
) -> None:
    study = tmp_path / "study"
    told(study, best_params={}, best_value=None)
    for number, status in enumerate(statuses):
        trial(study, f"trial_{number:05d}", status=status)
    with pytest.raises(WinnerError, match=words):
        winner.run_of(study)


def test_a_running_study_has_the_winner_so_far(study: Path) -> None:
    trial(study, "trial_00009", status="running")
    assert winner.run_of(study)[0].name == "trial_00007"


def test_several_studies_are_listed(study: Path) -> None:
    above = study.parent
    (above / "README.md").write_text("")
    with pytest.raises(WinnerError, match=f"^{above}: holds 1 study: {study}; name one$"):
        winner.run_of(above)
    for name in ("anneal", "study_2", "study_10"):
        trial(above / name, "trial_00000")
    trial(above / "scores", "seed_0")  # runs, and no study
    with pytest.raises(WinnerError) as caught:
        winner.run_of(above)
    names = ("anneal", "default", "study_2", "study_10")
    shown = ", ".join(str(above / name) for name in names)
    assert str(caught.value) == f"{above}: holds 4 studies: {shown}; name one"
    with pytest.raises(WinnerError, match=f"holds 1 run: {above / 'scores' / 'seed_0'}; name one"):
        winner.run_of(above / "scores")


@pytest.mark.parametrize("place", ["empty", "missing", "file", "x" * 300, "a\0b"])
def test_what_is_neither_run_nor_study_is_left_to_its_reader(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert winner.run_of(tmp_path / place) == (tmp_path / place, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(study: Path) -> None:
    (study / "optimization_results.yaml").unlink()
    os.mkfifo(study / "optimization_results.yaml")
    assert winner.run_of(study)[0].name == "trial_00003"


# --- the programs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (convert, ["abandon", "--to", "past"]),
        (generate, ["-n", "1"]),
        (interpolate, ["walk", "swim"]),
        (explore, []),
    ],
)
def test_programs_tell_which_trial_they_use(
    program: Any, words: list[str], study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trial's weights are empty: they are refused by their name, after the note."""
    assert program.main([str(study), *words]) == 2
    out, err = capsys.readouterr()
    note, refusal = err.splitlines()
    assert out == ""
    assert note == f"{program.__name__}: {winner.run_of(study)[1]}"
    assert f"{study / 'trial_00007'}" in refusal
    assert program.main([str(study.parent), *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "holds 1 study" in err


def test_tables_and_page_begin_with_the_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    for number in range(5):
        fabricate_run(study / f"trial_{number:05d}", {"seed": number}, objective=0.1 * number)
    (study / "trial_00001" / "weights.safetensors").write_bytes(b"")
    assert compare.main([str(study)]) == 0
    assert f"best run   {study / 'trial_00004'}\n" in capsys.readouterr().out
    best(study, "trial_00001")
    assert compare.main([str(study)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[lines.index(f"winner     {study / 'trial_00001'}") + 1].endswith("run seed=1")
    assert compare.main([str(study), "--by", "bleu4"]) == 0
    assert "best run   " in capsys.readouterr().out
    frame = results.load(study)
    assert report_page.page_data(frame, "")["best"] == [1, 4, 3]
    # Of two studies neither winner is the winner.
    fabricate_run(tmp_path / "other" / "trial_00000", objective=0.2)
    best(tmp_path / "other", "trial_00000")
    both = results.load(tmp_path)
    assert winner.among([Path(run) for run in both["run"]]) is None
