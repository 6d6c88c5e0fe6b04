"""``cvae.results`` over fabricated runs: what is in the table, and what is computed from it."""

from __future__ import annotations

import doctest
import fcntl
import json
import math
import os
import re
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cvae import compare, report_page, results
from cvae.results import ResultsError
from cvae.run_directory import RunDirectory

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run, fabricate_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("multirun") / "search"
    fabricate_sweep(directory, 40)
    return directory


@pytest.fixture(scope="module")
def frame(sweep: Path) -> pd.DataFrame:
    return results.load(sweep)


# ------------------------------------------------------------------------------------- loading


def test_every_run_is_a_row_with_its_status_and_reason(frame: pd.DataFrame) -> None:
    assert list(frame["trial"]) == list(range(40))
    assert frame["status"].value_counts().to_dict() == {
        "complete": 35,
        "diverged": 1,
        "pruned": 1,
        "failed": 1,
        "interrupted": 1,
        "unreadable": 1,
    }
    reasons = frame.set_index("trial")["reason"]
    assert reasons[3] == "kl is 1e9 at step 812"
    assert reasons[7] == "RuntimeError: out of memory"
    assert reasons[9] == "no result.json: the run was killed, or has just begun"
    assert reasons[11].startswith("result.json is no JSON: ")
    assert reasons[frame["status"] == "complete"].isna().all()


def test_values_are_those_of_the_files(sweep: Path, frame: pd.DataFrame) -> None:
    written = json.loads((sweep / "trial_00004" / "result.json").read_text())
    row = frame.iloc[4]
    assert row["run"] == str(sweep / "trial_00004")
    assert row["sweep"] == str(sweep)
    assert row["study"] == "search"
    assert row["objective"] == written["objective"]["value"]
    assert row["objective_bleu4"] == written["objective"]["parts"]["bleu4"]
    assert row["seconds"] == written["seconds"]["total"]
    assert row["seed"] == written["seed"]
    assert set(results.metrics(frame)) == set(written["metrics"])
    for name, value in written["metrics"].items():
        assert row[name] == value
    assert row["overrides"] == " ".join(written["overrides"])
    assert row["started_at"] == pd.Timestamp(written["started_at"]).tz_localize(None)


def test_overridden_keys_are_typed_columns(frame: pd.DataFrame) -> None:
    assert results.parameters(frame) == [
        "anneal",
        "model.latent_size",
        "optim.encoder_lr",
        "model.two_level",
        "anneal.cycle_count",
    ]
    assert pd.api.types.is_string_dtype(frame["anneal"])
    assert frame["model.latent_size"].dtype == "int64"
    assert frame["optim.encoder_lr"].dtype == "float64"
    assert frame["model.two_level"].dtype == "bool"
    # Only a cyclical schedule has cycles: the others have no value, and not the default one.
    assert frame["anneal.cycle_count"].dtype == "Int64"
    assert (frame["anneal.cycle_count"].notna() == (frame["anneal"] == "cyclical")).all()


def test_killed_and_damaged_runs_keep_their_overrides_and_seed(
    sweep: Path, frame: pd.DataFrame
) -> None:
    for number in (9, 11):
        overrides = (sweep / f"trial_{number:05d}" / ".hydra" / "overrides.yaml").read_text()
        row = frame.iloc[number]
        assert f"- model.latent_size={row['model.latent_size']}\n" in overrides
        assert f"- anneal={row['anneal']}\n" in overrides
        assert f"- seed={row['seed']}\n" in overrides
        assert math.isnan(row["objective"])


def test_a_failed_trial_has_its_reason_and_its_configuration(tmp_path: Path) -> None:
    given = {"anneal": "monotonic", "seed": 2}
    failed = fabricate_run(
        tmp_path / "trial_00004", given, status="failed", reason="no", study="s", number=4
    )
    assert not (failed / "result.json").exists()
    row = results.load(tmp_path).iloc[0]
    assert (row["status"], row["reason"], row["study"], row["trial"]) == ("failed", "no", "s", 4)
    assert (row["anneal"], row["seed"]) == ("monotonic", 2)
    (failed / "unfinished.json").write_text('{"status": "fai')
    row = results.load(tmp_path).iloc[0]
    assert row["status"] == "unreadable" and row["reason"].startswith("unfinished.json is no JSON")
    # A result outweighs it: the run was repeated by hand.
    shutil.copy(fabricate_run(tmp_path / "other") / "result.json", failed)
    shutil.rmtree(tmp_path / "other")
    assert results.load(tmp_path).iloc[0]["status"] == "complete"


def test_keys_that_only_some_runs_override_are_filled_from_the_configuration(
    tmp_path: Path,
) -> None:
    fabricate_run(tmp_path / "a", {"anneal": "monotonic", "optim.clip": 5})
    fabricate_run(tmp_path / "b", {"model.latent_size": 8})
    fabricate_run(tmp_path / "c", status="interrupted")
    frame = results.load(tmp_path)
    assert list(frame["anneal"]) == ["monotonic", "cyclical", "cyclical"]
    assert list(frame["model.latent_size"]) == [32, 8, 32]
    assert list(frame["optim.clip"]) == [5.0, 1.0, 1.0]
    assert frame["optim.clip"].dtype == "float64"


def test_group_choice_without_hydras_record_falls_back_to_the_name(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", {"anneal": "monotonic"})
    shutil.rmtree(fabricate_run(tmp_path / "b") / ".hydra")
    assert list(results.load(tmp_path)["anneal"]) == ["monotonic", "cyclical"]


def test_a_key_named_like_a_column_gets_a_prefix(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", {"objective": "bleu"})
    fabricate_run(tmp_path / "b")
    frame = results.load(tmp_path)
    assert list(frame["config.objective"]) == ["bleu", "combined"]
    assert frame["objective"].dtype == "float64"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("-3", -3),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("inf", math.inf),
        ("true", True),
        ("null", None),
        ("'8'", "8"),
        ("1.2.3", "1.2.3"),
        ("cyclical", "cyclical"),
        ("[8,16]", "[8,16]"),
        ("a=b", "a=b"),
    ],
)
def test_override_values_follow_hydras_grammar(tmp_path: Path, text: str, value: object) -> None:
    run = fabricate_run(tmp_path / "a", status="interrupted")
    (run / ".hydra" / "overrides.yaml").write_text(f'- "+extra.key={text}"\n- ~gone\n- +b=1\n')
    frame = results.load(run)
    assert results.parameters(frame) == ["extra.key", "b"]
    found = frame["extra.key"].iloc[0]
    if value is None:
        assert pd.isna(found)
    else:
        assert found == value
        assert isinstance(found, str) == isinstance(value, str)


def test_lists_are_text_and_mixed_columns_too(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", {"data.bucket_sizes": [4, 8], "optim.clip": "none"})
    fabricate_run(tmp_path / "b")
    frame = results.load(tmp_path)
    assert list(frame["data.bucket_sizes"]) == ["[4,8]", "[8,12,24]"]
    assert list(frame["optim.clip"]) == ["none", "1.0"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "result.json is no JSON"),
        (b"\xff\xfe{", "result.json cannot be read"),
        (b"[1, 2]", "result.json has [1, 2] as the file, no dict"),
        (b"{}", "result.json has status None"),
        (b'{"status": "done"}', "result.json has status 'done', none of complete"),
        (b'{"status": "complete", "metrics": {"kl": "big"}}', "has 'big' as metrics.kl, no num"),
        (b'{"status": "complete", "seed": 1.5}', "has 1.5 as seed, no whole number"),
        (b'{"status": "complete", "seconds": 3}', "has 3 as seconds, no dict"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"status": "complete", "seed": 1' + b"0" * 5000 + b"}", "cannot be read"),
    ],
)
def test_damaged_result_is_a_row_that_says_how(tmp_path: Path, content: bytes, reason: str) -> None:
    run = fabricate_run(tmp_path / "trial_00003", {"anneal": "monotonic"})
    (run / "result.json").write_bytes(content)
    row = results.load(tmp_path).iloc[0]
    assert row["status"] == "unreadable"
    assert reason in row["reason"]
    assert "\n" not in row["reason"]
    assert (row["trial"], row["anneal"]) == (3, "monotonic")


UNFINISHED = {
    "status": "failed",
    "reason": "ValueError: no such key",
    "trial": {"study": "s", "number": 3},
    "overrides": ["anneal=monotonic", "seed=4"],
}


def test_a_run_that_holds_its_directory_is_running(tmp_path: Path) -> None:
    for name in ("trial_00000", "trial_00001"):
        fabricate_run(tmp_path / name, status="interrupted")
    with RunDirectory(tmp_path / "trial_00000").lock():
        (tmp_path / "trial_00001" / ".lock").write_text("")
        status = results.load(tmp_path)["status"].tolist()
        assert status == ["running", "interrupted"]
        counted = results.load(tmp_path)["status"].value_counts()
        assert counted["running"] == 1
    assert results.load(tmp_path)["status"].tolist() == ["interrupted"] * 2


def test_a_look_at_the_results_keeps_no_run_from_its_directory(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", status="interrupted")
    with open(tmp_path / "a" / ".lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as a look does, for a moment
        threading.Timer(0.05, file.close).start()
        with RunDirectory(tmp_path / "a").lock():
            pass


def test_a_trial_that_went_on_elsewhere_is_one_row(tmp_path: Path) -> None:
    def leave(number: int, place: str) -> None:
        word = {"status": "interrupted", "reason": "SIGINT", "continued_in": place}
        directory = tmp_path / f"trial_{number:05d}"
        fabricate_run(directory, status="interrupted")
        (directory / "unfinished.json").write_text(json.dumps(word))

    leave(0, "../trial_00002")
    leave(1, "../trial_00009")  # which is not here
    leave(2, "../trial_00003")
    fabricate_run(tmp_path / "trial_00003", {"seed": 1}, number=3)
    frame = results.load(tmp_path)
    assert [Path(run).name for run in frame["run"]] == ["trial_00001", "trial_00003"]
    assert list(frame["status"]) == ["interrupted", "complete"]
    alone = results.load(tmp_path / "trial_00000")
    assert list(alone["status"]) == ["interrupted"], "who asks for it alone gets it"


@pytest.mark.parametrize(
    ("name", "files", "row"),
    [
        (
            "trial_00003",
            {"unfinished.json": json.dumps(UNFINISHED)},
            ("failed", "ValueError: no such key", 3, "monotonic", 4),
        ),
        (
            "mine_3",
            {"unfinished.json": json.dumps({**UNFINISHED, "overrides": None})},
            ("failed", "ValueError: no such key", 3, None, None),
        ),
        ("trial_00003", {}, ("interrupted", "no result.json: ", 3, None, None)),
        ("trial_00003_2", {}, ("interrupted", "no result.json: ", 3, None, None)),
        ("trial_00003", {"run.log": ""}, ("interrupted", "no result.json: ", 3, None, None)),
        ("mine_3", {}, ("interrupted", "no result.json: ", None, None, None)),
        ("mine_3", {".lock": ""}, ("interrupted", "no result.json: ", None, None, None)),
        ("mine", {"checkpoint.safetensors": ""}, ("interrupted", "no result", None, None, None)),
    ],
)
def test_a_trial_that_left_nothing_but_this_is_a_row_and_is_counted(
    tmp_path: Path, name: str, files: dict[str, str], row: tuple[object, ...]
) -> None:
    sweep = tmp_path / "study"
    for seed in (1, 2):
        fabricate_run(sweep / f"trial_{seed:05d}", {"anneal": "monotonic", "seed": seed})
    (sweep / "multirun.yaml").write_text("hydra: {}\n")
    (sweep / name).mkdir()
    for file, text in files.items():
        (sweep / name / file).write_text(text)
    frame = results.load(tmp_path)
    assert len(frame) == 3
    found = frame[frame["run"] == str(sweep / name)].iloc[0]
    shown = [found[c] for c in ("status", "reason", "trial", "anneal", "seed")]
    shown = [None if pd.isna(value) else value for value in shown]
    assert shown == [row[0], shown[1], *row[2:]] and str(shown[1]).startswith(str(row[1]))
    for table in (results.aggregate(frame, []), results.compare(frame, "status")):
        assert table["not_complete"].sum() == 1
    assert results.compare(frame, "status")["n"].sum() == 2


def test_what_is_no_trial_is_no_row(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "study" / "trial_00001")
    (tmp_path / "study" / "multirun.yaml").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "study" / "plots").mkdir()
    (tmp_path / "study" / "plots" / "loss.png").touch()
    fabricate_run(tmp_path / "trial_00009" / "run")  # a directory of runs, called so by its owner
    frame = results.load(tmp_path)
    assert [Path(run).name for run in frame["run"]] == ["trial_00001", "run"]


def test_natural_order_nesting_and_each_run_once(tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        fabricate_run(tmp_path / "multirun" / "day" / name)
    single = fabricate_run(tmp_path / "outputs" / "day" / "12-00-01")
    (tmp_path / "multirun" / "loop").symlink_to(tmp_path / "multirun")
    frame = results.load(single, tmp_path)
    assert [Path(run).name for run in frame["run"]] == ["12-00-01", "1", "9", "10"]
    assert list(frame["trial"].astype(object).where(frame["trial"].notna(), None)) == [
        None,
        1,
        9,
        10,
    ]


def test_what_cannot_be_loaded_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match=r"missing: no such directory$"):
        results.load(tmp_path / "missing")
    with pytest.raises(ResultsError, match=r"empty: holds no run \(a directory with"):
        results.load(tmp_path / "empty")
    with pytest.raises(ResultsError, match=r"file: is a file"):
        results.load(tmp_path / "file")
    with pytest.raises(ResultsError, match="no path given"):
        results.load()


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        ([""], "an empty path; name a directory, the one you are in as '.'"),
        ([[""]], "an empty path"),
        ([[]], "no path given"),
        ([None], "None is no path: name a directory, or a list of them"),
        ([["a", 5]], "5 is no path"),
        ([b"a"], "b'a' is no path"),
        (["a\0b"], "no such directory"),
        (["x" * 5000], "cannot be read: File name too long"),
    ],
)
def test_what_is_no_path_is_one_clear_error(paths: list[object], says: str) -> None:
    with pytest.raises(ResultsError, match=says):
        results.load(*paths)  # type: ignore[arg-type]


def test_paths_come_one_by_one_or_in_a_list(tmp_path: Path) -> None:
    a, b = (fabricate_run(tmp_path / name) for name in "ab")
    expected = results.load(a, b)
    for paths in ([[a, b]], [(str(a), b)], [[a], b], [path for path in (a, b)]):
        pd.testing.assert_frame_equal(results.load(*paths), expected)
    pd.testing.assert_frame_equal(results.load(str(path) for path in (a, b)), expected)


def test_a_pair_as_objective_leaves_the_objective_missing(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", {"objective": "pareto"}, objective=[0.5, 0.25])
    frame = results.load(tmp_path)
    assert math.isnan(frame["objective"].iloc[0])
    assert frame["objective_name"].iloc[0] == "pareto"
    with pytest.raises(
        ResultsError, match="have a pair as objective: rank them by objective_bleu4"
    ):
        results.best(frame)
    assert len(results.best(frame, by="objective_bleu4")) == 1


def test_runs_from_before_the_variety_are_compared_by_what_all_have(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"objective": "pareto"}
    fabricate_run(tmp_path / "old", chosen, objective=[0.5, 0.25])
    for seed in range(6):
        new = {**chosen, "objective.generation": "variety", "seed": seed}
        fabricate_run(tmp_path / f"new_{seed}", new, objective=[0.5, 0.25])
    fabricate_run(tmp_path / "bleu", {"objective": "bleu"})
    fabricate_run(tmp_path / "killed", {"objective.generation": "variety"}, status="interrupted")
    frame = results.load(tmp_path)
    frame.index = pd.Index([Path(run).name for run in frame["run"]])
    assert frame.loc["old", "objective_generation"] == "share"
    assert frame.loc["new_0", "objective_generation"] == "variety"
    assert pd.isna(frame.loc["bleu", "objective_generation"])
    assert pd.isna(frame.loc["old", "objective_gaussian_variety"])
    written = json.loads((tmp_path / "new_3" / "result.json").read_text())["objective"]["parts"]
    assert frame.loc["new_3", "objective_gaussian_variety"] == written["gaussian_variety"]
    assert results.pair(frame) == results.PARETO
    new = frame[frame["objective_generation"] == "variety"]
    assert results.pair(new) == ("objective_bleu4", "objective_gaussian_variety")
    assert set(results.pareto(new)["run"]) == set(
        results.pareto(new, ("objective_bleu4", "objective_gaussian_variety"))["run"]
    )
    assert set(results.pareto(new)["run"]) != set(results.pareto(new, results.PARETO)["run"])


def test_a_thousand_runs_load_in_two_seconds(tmp_path: Path) -> None:
    # The promise is 10,000 in 20 seconds. In processor time, which other programs change little.
    fabricate_sweep(tmp_path, 1000, evaluations=2, dev_rows=0)
    start = time.process_time()
    frame = results.load(tmp_path)
    assert time.process_time() - start < 2
    assert len(frame) == 1000


def test_csv_and_parquet_keep_the_table(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "runs.csv", index=False)
    again = pd.read_csv(tmp_path / "runs.csv")
    assert results.parameters(again) == results.parameters(frame)
    assert results.metrics(again) == results.metrics(frame)
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "runs.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "runs.parquet"), frame)


@pytest.fixture
def strange(tmp_path: Path) -> pd.DataFrame:
    """A table with everything that a text of a run may hold, and with missing values."""
    sweep = tmp_path / os.fsdecode(b"caf\xe9 \xc3\xa9")
    text = "".join(map(chr, range(0x250))) + "\u2028\ufffe"
    fabricate_run(sweep / "a\x1b[2Jb", {"data.note": text, "seed": 1})
    fabricate_run(sweep / "failed", status="failed", reason=text + "\ud800")
    fabricate_run(sweep / "killed", {"model.two_level": True}, status="interrupted")
    return results.load(tmp_path)


def test_excel_takes_the_table(strange: pd.DataFrame, tmp_path: Path) -> None:
    # What it refuses: time zones, and control characters in any text.
    assert not any(isinstance(dtype, pd.DatetimeTZDtype) for dtype in strange.dtypes)
    texts = [str(value) for column in strange for value in strange[column]]
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", "".join(texts))
    pytest.importorskip("openpyxl")
    strange.to_excel(tmp_path / "runs.xlsx", index=False)
    again = pd.read_excel(tmp_path / "runs.xlsx")
    assert list(again["run"]) == list(strange["run"])
    assert list(again["started_at"].dropna()) == list(strange["started_at"].dropna())


def test_csv_and_parquet_take_every_text(strange: pd.DataFrame, tmp_path: Path) -> None:
    strange.to_csv(tmp_path / "runs.csv", index=False)
    again = pd.read_csv(tmp_path / "runs.csv", parse_dates=["started_at"])
    for column in ("run", "status", "data.note", "reason", "configuration", "started_at"):
        assert list(again[column].dropna()) == list(strange[column].dropna()), column
    assert len(results.best(again)) == len(results.pareto(again)) == 1
    pytest.importorskip("pyarrow")
    strange.to_parquet(tmp_path / "runs.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "runs.parquet"), strange)


def test_the_directory_of_a_run_is_found_whatever_its_name(strange: pd.DataFrame) -> None:
    assert strange["run"].str.contains(r"caf\xe9 é", regex=False).all()
    assert strange["run"].str.endswith(r"/a\x1b[2Jb").any()
    for run in strange["run"]:
        assert (results.directory_of(run) / ".hydra").is_dir()
    assert results.curves(strange).groupby("run").size().tolist() == [12]


def test_categories_are_as_good_as_texts(frame: pd.DataFrame) -> None:
    as_categories = frame.copy()
    for column in ("anneal", "status", "model.latent_size", "model.two_level"):
        as_categories[column] = frame[column].astype("category")

    def same(function: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        pd.testing.assert_frame_equal(
            function(as_categories), function(frame), check_dtype=False, check_categorical=False
        )

    same(lambda table: results.best(table, 3)[["run", "objective"]])
    same(lambda table: results.aggregate(table, ["anneal", "model.latent_size"]))
    same(lambda table: results.compare(table, "anneal", baseline="monotonic"))
    same(lambda table: results.pareto(table)[["run"]])
    same(lambda table: results.curves(table)[["run", "kl"]])
    assert results.varied(as_categories) == results.varied(frame)
    assert (
        compare.leaderboard(as_categories).split("\n")[:2]
        == (compare.leaderboard(frame).split("\n")[:2])
    )


# -------------------------------------------------------------------------------------- curves


def test_curves_have_one_row_for_each_run_and_evaluation(sweep: Path, frame: pd.DataFrame) -> None:
    curves = results.curves(frame)
    counts = curves.groupby("trial").size()
    assert counts[0] == 12
    assert counts[3] == 4  # diverged a third of the way
    assert counts[5] == 6  # pruned half of the way
    assert not {7, 9} & set(counts.index)
    written = pd.read_csv(sweep / "trial_00004" / "metrics.csv")
    mine = curves[curves["run"] == str(sweep / "trial_00004")]
    pd.testing.assert_frame_equal(mine[list(written)].reset_index(drop=True), written)
    assert set(mine["anneal"]) == {frame["anneal"].iloc[4]}
    pd.testing.assert_frame_equal(results.curves(sweep), curves)
    pd.testing.assert_frame_equal(results.curves([sweep]), curves)


def test_curves_say_of_each_run_its_seed_status_and_objective(frame: pd.DataFrame) -> None:
    curves = results.curves(frame)
    of_run = frame.set_index("run")
    for column in ("seed", "status", "objective"):
        expected = of_run[column].loc[curves["run"]].reset_index(drop=True)
        pd.testing.assert_series_equal(curves[column], expected, check_index_type=False)
    # As aggregate wants them: the mean over the complete runs at every step.
    means = results.aggregate(curves, ["anneal", "step"], "dev_bleu4")
    complete = curves[curves["status"] == "complete"]
    expected = complete.groupby(["anneal", "step"])["dev_bleu4"].mean()
    found = means.set_index(["anneal", "step"])["dev_bleu4_mean"].reindex(expected.index)
    assert found.tolist() == pytest.approx(expected.tolist())


def test_curves_of_epochs_and_of_losses_come_from_their_files(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        run = fabricate_run(tmp_path / name, {"seed": seed})
        (run / "epochs.csv").write_text(f"epoch,kl\n1,{seed}\n2,7.5\n")
    (tmp_path / "b" / "losses.csv").write_text("step,kl\n3,0.25\n")
    epochs = results.curves(tmp_path, of="epochs")
    assert epochs[["seed", "epoch", "kl"]].to_numpy().tolist() == [
        [0, 1, 0.0], [0, 2, 7.5], [1, 1, 1.0], [1, 2, 7.5]
    ]  # fmt: skip
    assert results.curves(tmp_path, of="losses")[["seed", "kl"]].values.tolist() == [[1, 0.25]]
    with pytest.raises(ResultsError, match="of is 'epoch': did you mean epochs"):
        results.curves(tmp_path, of="epoch")


def test_conversions_and_samples_are_those_of_the_files_word_by_word(tmp_path: Path) -> None:
    for seed in (0, 1):
        fabricate_run(tmp_path / str(seed), {"seed": seed, "model.latent_size": 8 << seed})
    fabricate_run(tmp_path / "failed", {"seed": 2}, status="failed")
    path = tmp_path / "0" / "conversions.csv"
    head, _, rest = path.read_text().partition("\n")
    path.write_text(f"{head}\ndev,null,past,past,nan,NA,0,0.5,2,1\n{rest}")
    found = results.conversions(tmp_path)
    first = found.iloc[0]
    assert (first["source"], first["target"], first["prediction"]) == ("null", "nan", "NA")
    assert (first["seed"], first["model.latent_size"], first["status"]) == (0, 8, "complete")
    assert found.groupby("run").size().tolist() == [51, 50]
    assert found["correct"].dtype == "int64" and found["bleu4"].dtype == "float64"
    samples = results.samples(results.load(tmp_path))
    written = pd.read_csv(tmp_path / "1" / "samples.csv", keep_default_na=False)
    own = samples[samples["seed"] == 1].reset_index(drop=True)
    columns = list(written.columns)
    assert own[columns].to_numpy().tolist() == written.to_numpy().tolist()
    assert results.conversions(tmp_path / "failed").empty


@pytest.mark.parametrize("content", ["source,correct\na,b\n", "a,b\n1\n2,3,4\n", "\0", ""])
def test_damaged_conversions_are_named(tmp_path: Path, content: str) -> None:
    (fabricate_run(tmp_path / "a") / "conversions.csv").write_text(content)
    fabricate_run(tmp_path / "b", {"seed": 1})
    with pytest.raises(ResultsError, match="a/conversions.csv: is damaged: "):
        results.conversions(tmp_path)
    with pytest.warns(UserWarning, match="a/conversions.csv: is damaged: "):
        found = results.conversions(tmp_path, damaged="warn")
    assert {Path(run).name for run in found["run"]} == {"b"}


def test_the_compact_view_has_few_columns_and_every_run(frame: pd.DataFrame) -> None:
    view = results.compact(frame)
    assert list(view.index) == list(results.labels(frame))
    assert list(view.columns[:4]) == ["status", "objective", *results.PARETO]
    assert set(results.varied(frame)) <= set(view.columns) and "seed" in view
    assert len(view.columns) <= 8 + len(results.varied(frame))
    assert view["objective"].tolist() == pytest.approx(frame["objective"].tolist(), nan_ok=True)


def test_two_files_under_one_relative_path_are_no_repeat(tmp_path: Path) -> None:
    """And a picture at the end makes no other configuration."""
    for i, digest in enumerate(["sha256:1", "sha256:2", "sha256:1", None]):
        run = fabricate_run(tmp_path / str(i))
        result = json.loads((run / "result.json").read_text())
        result["config"]["data"] = {"name": "files", "train_path": "t.txt"}
        result["config"]["evaluation"] = {"draws": 10, **({"latent_places": 0} if i == 2 else {})}
        if digest:
            result["data_digest"] = digest
        (run / "result.json").write_text(json.dumps(result))
    runs = results.load(tmp_path)
    assert results.repeats(runs).tolist() == [False, False, True, False]
    assert runs["configuration"].nunique() == 3


def test_the_configuration_of_a_run_is_the_resolved_one(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a", {"model.latent_size": 8})
    assert results.configuration(str(run))["model"]["latent_size"] == 8
    killed = fabricate_run(tmp_path / "b", status="interrupted")
    assert results.configuration(str(killed)) == results.configuration("missing") == {}


def test_curves_of_some_rows_keep_to_them(frame: pd.DataFrame) -> None:
    curves = results.curves(frame.iloc[[6, 2]])
    assert list(curves["trial"].unique()) == [6, 2]


def test_runs_with_different_columns_share_one_table(tmp_path: Path) -> None:
    for name, header in (("a", "step,kl\n1,2\n"), ("b", "step,loss\n1,3\n2,\n")):
        (fabricate_run(tmp_path / name) / "metrics.csv").write_text(header)
    curves = results.curves(tmp_path)
    assert list(curves["step"]) == [1, 1, 2]
    assert curves["kl"].isna().tolist() == [False, True, True]
    assert curves["loss"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize("content", ["", "step,kl\n1\n", "step,kl\n1,x\n", "step,kl\n1,2,3\n4\n"])
def test_damaged_curves_are_named(tmp_path: Path, content: str) -> None:
    fabricate_run(tmp_path / "a")
    (fabricate_run(tmp_path / "b") / "metrics.csv").write_text(content)
    with pytest.raises(ResultsError, match=r"b/metrics.csv: is "):
        results.curves(tmp_path)
    with pytest.warns(UserWarning, match=r"b/metrics.csv: is "):
        curves = results.curves(tmp_path, damaged="warn")
    assert {Path(run).name for run in curves["run"]} == {"a"}


# ----------------------------------------------------------------------------- best and Pareto


def table(**columns: Sequence[object]) -> pd.DataFrame:
    """Return a table as ``load`` makes it, of complete runs unless it says otherwise."""
    size = len(next(iter(columns.values())))
    frame = pd.DataFrame({"run": [f"r{i}" for i in range(size)], "status": "complete"})
    for name in ("objective", *results.PARETO):
        frame[name] = math.nan
    for name, values in columns.items():
        frame[name] = values
    known = {"run", "status", "objective", "seed", *results.PARETO}
    frame.attrs = {"parameters": [name for name in columns if name not in known], "metrics": []}
    return frame


def test_best_ranks_complete_runs_only() -> None:
    frame = table(
        objective=[0.1, 0.9, 0.5, 0.7, math.nan],
        nll=[3.0, 1.0, 2.0, 5.0, 0.1],
        status=["complete", "pruned", "complete", "complete", "complete"],
    )
    assert list(results.best(frame, 2)["run"]) == ["r3", "r2"]
    assert list(results.best(frame, 9)["run"]) == ["r3", "r2", "r0"]
    assert list(results.best(frame, 1, by="nll")["run"]) == ["r4"]
    assert list(results.best(frame, 1, by="nll", ascending=False)["run"]) == ["r3"]
    with pytest.raises(ResultsError, match="no numeric column 'status': choose from objective, "):
        results.best(frame, by="status")
    with pytest.raises(ResultsError, match="n is 0"):
        results.best(frame, 0)
    with pytest.raises(ResultsError, match="none of the 1 runs is complete"):
        results.best(frame[frame["status"] == "pruned"])


def test_pareto_front_agrees_with_the_definition(frame: pd.DataFrame) -> None:
    front = results.pareto(frame)
    points = frame[frame["status"] == "complete"][list(results.PARETO)].to_numpy()
    unbeaten = [not any((q >= p).all() and (q > p).any() for q in points) for p in points]
    expected = frame[frame["status"] == "complete"][unbeaten]
    assert set(front["run"]) == set(expected["run"])
    assert front["objective_bleu4"].is_monotonic_decreasing
    assert front["objective_gaussian_score"].is_monotonic_increasing


def test_equal_points_are_on_the_front_together() -> None:
    frame = table(
        objective_bleu4=[0.5, 0.5, 0.4, 0.5], objective_gaussian_score=[0.3, 0.3, 0.3, 0.2]
    )
    assert sorted(results.pareto(frame)["run"]) == ["r0", "r1"]


# ---------------------------------------------------------------------------- seeds and groups


def test_aggregate_over_seeds_by_hand() -> None:
    frame = table(
        objective=[1.0, 2.0, 6.0, 4.0, 9.0, 5.0],
        size=[8, 8, 8, 16, 16, 32],
        status=["complete"] * 4 + ["diverged", "complete"],
    )
    mean = results.aggregate(frame)
    assert list(mean.columns) == [
        "size",
        "runs",
        "not_complete",
        "objective_mean",
        "objective_std",
        "objective_n",
        "objective_low",
        "objective_high",
    ]
    assert list(mean["size"]) == [32, 16, 8]
    assert list(mean["objective_mean"]) == [5.0, 4.0, 3.0]
    assert list(mean["runs"]) == [1, 2, 3]
    assert list(mean["not_complete"]) == [0, 1, 0]
    assert list(mean["objective_n"]) == [1, 1, 3]
    low, high = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem([1.0, 2.0, 6.0]))
    assert mean["objective_low"].iloc[2] == pytest.approx(low)
    assert mean["objective_high"].iloc[2] == pytest.approx(high)
    assert mean[["objective_std", "objective_low", "objective_high"]].iloc[:2].isna().all().all()


def test_aggregate_keeps_runs_without_the_key_and_takes_any_metric(frame: pd.DataFrame) -> None:
    mean = results.aggregate(frame, ["anneal", "anneal.cycle_count"], ["nll", "objective"])
    assert mean["runs"].sum() == len(frame)
    assert (mean["anneal"] == "monotonic").sum() == 1
    assert mean["nll_mean"].dropna().is_monotonic_increasing  # lower is better
    one = results.aggregate(frame, [], "objective")
    assert one["objective_mean"].tolist() == [
        pytest.approx(frame.loc[frame["status"] == "complete", "objective"].mean())
    ]
    with pytest.raises(ResultsError, match="no column 'aneal': did you mean anneal"):
        results.aggregate(frame, "aneal")


def test_compare_agrees_with_scipy(frame: pd.DataFrame) -> None:
    compared = results.compare(frame, "anneal")
    complete = frame[frame["status"] == "complete"]
    groups = {name: rows["objective"].to_numpy() for name, rows in complete.groupby("anneal")}
    best, other = (groups[name] for name in compared["anneal"])
    test = stats.ttest_ind(other, best, equal_var=False)
    interval = test.confidence_interval(0.95)
    row = compared.iloc[1]
    assert best.mean() > other.mean()
    assert compared["reference"].tolist() == [True, False]
    assert row["difference"] == pytest.approx(other.mean() - best.mean())
    assert row["difference_low"] == pytest.approx(interval.low)
    assert row["difference_high"] == pytest.approx(interval.high)
    assert row["p_value"] == pytest.approx(test.pvalue)
    assert math.isnan(compared["p_value"].iloc[0])
    assert "Welch" in compared.attrs["method"]


def test_compare_with_a_baseline_corrects_for_several_comparisons() -> None:
    random = np.random.default_rng(1)
    values = [*random.normal(0, 1, 8), *random.normal(1, 1, 8), *random.normal(3, 1, 8), 9.0]
    frame = table(objective=list(values), size=[8] * 8 + [16] * 8 + [32] * 8 + [64])
    compared = results.compare(frame, "size", baseline=8).set_index("size")
    assert compared["reference"].to_dict() == {64: False, 32: False, 16: False, 8: True}
    assert math.isnan(compared["p_value"][64])  # a single run has no spread
    assert compared["difference"][64] == pytest.approx(9.0 - np.mean(values[:8]))
    p16, p32 = compared["p_value"][16], compared["p_value"][32]
    assert p32 < p16
    assert compared["p_holm"][32] == pytest.approx(2 * p32)
    assert compared["p_holm"][16] == pytest.approx(max(2 * p32, p16))
    with pytest.raises(ResultsError, match="no group 7 in 'size': choose from 64, 32, 16, 8"):
        results.compare(frame, "size", baseline=7)


@pytest.mark.parametrize(
    "call",
    [
        lambda frame: results.best(frame, by="objectiv"),
        lambda frame: results.pareto(frame, ["seed", "objectiv"]),
        lambda frame: results.importance(frame, "objectiv"),
        lambda frame: results.aggregate(frame, "anneal", "objectiv"),
        lambda frame: results.compare(frame, "anneal", "objectiv"),
    ],
)
def test_a_misspelt_metric_is_guessed(
    frame: pd.DataFrame, call: Callable[[pd.DataFrame], object]
) -> None:
    with pytest.raises(
        ResultsError,
        match=r"^no numeric column 'objectiv': did you mean objective\? Choose from trial, objec",
    ):
        call(frame)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda frame: results.aggregate(frame, "aneal"), "column 'aneal': did you mean anneal?"),
        (lambda frame: results.compare(frame, "aneal"), "column 'aneal': did you mean anneal?"),
        (
            lambda frame: results.compare(frame, "anneal", baseline="monotonous"),
            "no group 'monotonous' in 'anneal': did you mean monotonic? Choose from",
        ),
        (lambda frame: results.best(frame, by=5), "no numeric column 5: choose from"),
    ],
)
def test_a_misspelt_column_or_value_is_guessed(
    frame: pd.DataFrame, call: Callable[[pd.DataFrame], object], says: str
) -> None:
    with pytest.raises(ResultsError, match=re.escape(says)):
        call(frame)


# --------------------------------------------------------------------------------------- repeats


@pytest.fixture
def repeated(tmp_path: Path) -> pd.DataFrame:
    """Two seeds of two schedules, each run twice, in two studies; one more was pruned twice."""
    number = 0
    for study in ("a", "b"):
        for anneal in ("cyclical", "monotonic"):
            for seed in (1, 2, 3):
                fabricate_run(
                    tmp_path / study / f"trial_{number:05d}",
                    {"anneal": anneal, "seed": seed},
                    status="pruned" if (anneal, seed) == ("cyclical", 3) else "complete",
                    number=number,
                )
                number += 1
    return results.load(tmp_path)


def test_an_exact_repeat_counts_once(repeated: pd.DataFrame) -> None:
    once = repeated[repeated["sweep"].str.endswith("/a")]
    assert results.repeats(repeated).sum() == 5
    says = r"^5 of 12 runs are exact repeats \(the same configuration and seed\), and not counted"
    with pytest.warns(UserWarning, match=says) as caught:
        mean = results.aggregate(repeated, "anneal").set_index("anneal")
    assert caught[0].filename == __file__ and len(caught) == 1
    expected = results.aggregate(once, "anneal").set_index("anneal")
    pd.testing.assert_series_equal(mean["objective_low"], expected["objective_low"])
    assert mean["objective_n"].to_dict() == {"cyclical": 2, "monotonic": 3}
    # A pruned run has said nothing that could be repeated.
    assert mean["not_complete"].to_dict() == {"cyclical": 2, "monotonic": 0}
    with pytest.warns(UserWarning, match=says) as caught:
        compared = results.compare(repeated, "anneal")
    assert caught[0].filename == __file__ and len(caught) == 1
    pd.testing.assert_series_equal(compared["p_value"], results.compare(once, "anneal")["p_value"])
    complete = "5 of 10 runs are exact repeats"
    with pytest.warns(UserWarning, match=complete):
        assert set(results.importance(repeated)["n"]) == {5}


def test_concatenated_tables_count_repeats_too(repeated: pd.DataFrame) -> None:
    once = repeated[repeated["sweep"].str.endswith("/a")].reset_index(drop=True)
    with pytest.warns(UserWarning, match="5 of 12 runs are exact repeats"):
        mean = results.aggregate(pd.concat([once, once]), "anneal")
    assert mean["objective_n"].sum() == 5


def test_a_repeat_in_another_group_counts_there(repeated: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert results.compare(repeated, "sweep")["n"].tolist() == [5, 5]


def test_what_differs_in_seed_or_any_key_is_no_repeat(tmp_path: Path) -> None:
    for name, given in {"a": {}, "b": {"seed": 1}, "c": {"optim.clip": 2.0}}.items():
        fabricate_run(tmp_path / name, given)
    for name in ("d", "e"):  # their configurations are not known
        result = json.loads((fabricate_run(tmp_path / name) / "result.json").read_text())
        (tmp_path / name / "result.json").write_text(json.dumps({**result, "config": None}))
    assert not results.repeats(results.load(tmp_path)).any()


def test_the_leaderboard_and_the_page_count_repeats(repeated: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        board = compare.leaderboard(repeated, width=200)
        page = report_page.page_data(repeated, "Title")
    told = "5 of 12 runs are exact repeats (the same configuration and seed)"
    assert board.startswith(f"12 runs in 2 directories: 10 complete, 2 pruned; {told}\n")
    assert f"{told}; the importance counts each once" in page["notes"]
    assert {entry["n"] for entry in page["importance"]} == {5}
    assert "exact repeat" not in compare.leaderboard(repeated.iloc[:6])


# ---------------------------------------------------------------------------------- importance


def test_importance_finds_what_matters_in_any_shape() -> None:
    random = np.random.default_rng(3)
    n = 300
    hump, noise = random.uniform(-1, 1, n), random.uniform(-1, 1, n)
    kind = random.choice(["a", "b", "c"], n)
    objective = -(hump**2) + 0.2 * (kind == "b") + random.normal(0, 0.05, n)
    frame = table(objective=list(objective), noise=list(noise), hump=list(hump), kind=list(kind))
    found = results.importance(frame).set_index("parameter")
    assert list(found.index) == ["hump", "kind", "noise"]
    assert found["importance"]["hump"] > 0.5  # a rank correlation would say about 0
    assert found["importance"]["kind"] > found["noise"]["kind"]
    assert found["importance"]["noise"] < 2 * found["noise"]["noise"] < 0.1
    assert found["groups"].to_dict() == {"hump": 5, "kind": 3, "noise": 5}
    pd.testing.assert_frame_equal(found, results.importance(frame).set_index("parameter"))


def test_repeats_of_the_best_rank_with_nobody_and_weigh_nothing() -> None:
    """Two lucky repeats of trial 0: neither is the best, and importance does not see them."""
    objective = [0.5, 0.6, 0.2, 0.1, 0.9, 0.8]
    frame = table(objective=objective, kind=list("aabbaa")).assign(
        objective_gaussian_score=objective,
        objective_bleu4=0.5,
        confirms=[None, None, None, None, 0, 0],
    )
    alone = frame[frame["confirms"].isna()]
    assert results.best(frame)["objective"].tolist() == [0.6]
    assert results.pareto(frame)["objective"].tolist() == [0.6]
    found = results.importance(frame)
    assert found["n"].tolist() == [4]
    pd.testing.assert_frame_equal(found, results.importance(alone))
    of_repeats = frame[frame["confirms"].notna()]
    assert results.best(of_repeats)["objective"].tolist() == [0.9], "there is nothing else"


def test_importance_of_a_perfect_and_of_an_unknowable_key() -> None:
    frame = table(objective=[0.0, 0.0, 1.0, 1.0] * 5, side=["l", "l", "r", "r"] * 5)
    assert results.importance(frame)["importance"].tolist() == [pytest.approx(1.0)]
    few = table(objective=[0.1, 0.2], side=["l", "r"])
    assert results.importance(few)["importance"].isna().tolist() == [True]


# ------------------------------------------------------------------------------------- writing


def test_labels_are_short_and_unique(tmp_path: Path) -> None:
    for sweep in ("a", "b"):
        fabricate_run(tmp_path / sweep / "trial_00001")
    fabricate_run(tmp_path / "a" / "trial_00000")
    assert list(results.labels(results.load(tmp_path / "a"))) == ["0", "1"]
    assert list(results.labels(results.load(tmp_path))) == ["a/0", "a/1", "b/1"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"

    def whole(path: Path) -> None:
        path.write_text("old")

    results.write_atomically(target, whole)

    def half(path: Path) -> None:
        path.write_text("new, but")
        raise OSError(28, "No space left on device")

    with pytest.raises(ResultsError, match="file: cannot be written: No space left on device"):
        results.write_atomically(target, half)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ------------------------------------------------------------------------------- documentation


def test_the_examples_of_the_documentation_are_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 0
    for anneal in ("cyclical", "monotonic"):
        for size in (16, 32):
            for seed in range(3):
                failed = (anneal, size, seed) == ("monotonic", 32, 1)
                fabricate_run(
                    tmp_path / "multirun" / "schedules" / f"trial_{number:05d}",
                    {"anneal": anneal, "model.latent_size": size, "seed": seed},
                    status="failed" if failed else "complete",
                    reason="RuntimeError: out of memory" if failed else None,
                    study="schedules",
                    number=number,
                )
                number += 1
    monkeypatch.chdir(tmp_path)
    document = Path(__file__).parents[1] / "docs" / "results.md"
    outcome = doctest.testfile(
        str(document), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert outcome.attempted >= 15
    assert outcome.failed == 0
    assert "<h1" in (tmp_path / "report.html").read_text(encoding="utf-8")
