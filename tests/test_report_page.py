"""The report page as text: complete, self-contained, of sensible size, and escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cvae import report_page, results, run_details
from cvae.results import ResultsError

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run, fabricate_sweep


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("multirun")
    fabricate_sweep(root / "search", 40)
    return results.load(root / "search")


def scripts(page: str) -> list[tuple[str, str]]:
    """Return attributes and content of every script, found as a browser finds them."""
    return re.findall(r"<script\b([^>]*)>(.*?)</script", page, flags=re.DOTALL)


def data_of(page: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(scripts(page)[0][1])
    return data


def test_page_holds_every_trial_and_plotly_once(frame: pd.DataFrame) -> None:
    page = report_page.render(frame)
    (kind, _), (_, plotly), (_, behaviour) = scripts(page)
    assert kind == ' type="application/json" id="data"'
    assert page.count("plotly.js v") == 1
    data = data_of(page)
    columns = {column["name"]: column for column in data["columns"]}
    assert columns["status"]["values"] == frame["status"].tolist()
    assert columns["model.latent_size"]["values"] == frame["model.latent_size"].tolist()
    assert columns["objective"]["values"][7] is None
    assert data["front"] == results.pareto(frame).index.tolist()
    assert data["importance"][0]["parameter"] == results.importance(frame)["parameter"][0]
    assert len(data["curves"]["runs"]) == results.curves(frame)["run"].nunique()
    # Only these two scripts may run, and nothing may be fetched.
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for script in (plotly, behaviour):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]


def test_nothing_on_the_page_refers_elsewhere(frame: pd.DataFrame) -> None:
    page = report_page.render(frame)
    markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|url\(|@import|https?:""", markup)


def test_curves_are_thinned_to_a_stated_number_with_both_ends(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "a", evaluations=1000)
    frame = results.load(tmp_path)
    data = data_of(report_page.render(frame))
    run = dict(zip(data["curves"]["columns"], data["curves"]["runs"]["0"], strict=True))
    steps = results.curves(frame)["step"].tolist()
    assert len(run["step"]) == 200
    assert (run["step"][0], run["step"][-1]) == (steps[0], steps[-1])
    assert data["notes"] == ["curves of 1 runs are thinned to 200 evaluations each"]


def test_conversions_are_limited_and_counted(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a", {"optim.encoder_lr": 1e-6}, dev_rows=400)
    written = pd.read_csv(run / "conversions.csv", keep_default_na=False)
    found = data_of(report_page.render(results.load(tmp_path)))["conversions"]["0"]
    dev = written[written["split"] == "dev"]
    assert (found["dev"], found["wrong"]) == (400, (dev["correct"] == 0).sum())
    assert [entry[0] for entry in found["rows"]] == [0] * 10 + [1] * 15
    shown = {tuple(entry[1:5]) for entry in found["rows"][10:]}
    wrong = dev[dev["correct"] == 0]
    assert shown <= set(
        zip(
            wrong["source"],
            wrong["source_tense"],
            wrong["target_tense"],
            wrong["target"],
            strict=True,
        )
    )
    for entry, row in zip(found["rows"], written.itertuples(), strict=False):
        assert entry[1:6] == [
            row.source,
            row.source_tense,
            row.target_tense,
            row.target,
            row.correct,
        ]
        letters = entry[6]
        assert "".join(text for kind, text in letters if kind != "-") == row.prediction
        assert "".join(text for kind, text in letters if kind != "x") == row.target
        if len([1 for e in found["rows"] if e[0] == 0]) == 10 and entry is found["rows"][9]:
            break


@pytest.mark.parametrize(
    ("target", "prediction", "pieces"),
    [
        ("splitting", "splitting", [("=", "splitting")]),
        ("abandoned", "abandons", [("=", "abandon"), ("x", "s"), ("-", "ed")]),
        ("sends", "", [("-", "sends")]),
        ("a", "b", [("x", "b"), ("-", "a")]),
        ("dreamed|dreamt", "dreamtt", [("=", "dreamt"), ("x", "t")]),
        ("learned/learnt", "learned", [("=", "learned")]),
    ],
)
def test_letters_are_marked_against_the_nearest_target(
    target: str, prediction: str, pieces: list[tuple[str, str]]
) -> None:
    assert run_details.align(target, prediction) == pieces


@pytest.mark.parametrize("name", ["metrics.csv", "conversions.csv", "samples.csv"])
@pytest.mark.parametrize("content", [b"a,b\n1,x\n", b"\xff\xff\n\xff\n"])
def test_damaged_files_are_named_and_do_not_stop_the_page(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (fabricate_run(tmp_path / "a") / name).write_bytes(content)
    fabricate_run(tmp_path / "b", {"seed": 1})
    data = data_of(report_page.render(results.load(tmp_path)))
    (note,) = data["notes"]
    assert f"a/{name}" in note
    key = {"metrics.csv": "curves"}.get(name, name.removesuffix(".csv"))
    held = data[key]["runs"] if key == "curves" else data[key]
    assert list(held) == ["1"]


def test_data_cannot_end_its_script_or_break_the_page(tmp_path: Path) -> None:
    evil = "</script><!--<script>\u2028 %%data%% %%plotly%% %%behaviour%%"
    fabricate_run(tmp_path / "a", {"extra.key": evil}, status="failed", reason=evil)
    page = report_page.render(results.load(tmp_path), title=evil)
    assert len(scripts(page)) == 3
    data = data_of(page)
    assert data["title"] == evil
    columns = {column["name"]: column["values"] for column in data["columns"]}
    assert columns["reason"] == [evil]
    assert columns["extra.key"] == [evil]


def test_more_than_a_thousand_runs_keep_the_details_of_the_best(
    monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame
) -> None:
    monkeypatch.setattr(report_page, "_DETAILED_RUNS", 5)
    data = data_of(report_page.render(frame))
    best = results.best(frame, 5).index
    assert sorted(map(int, data["conversions"])) == sorted(best)
    assert "conversions, samples and configurations are those of the best 5 runs" in data["notes"]


def test_a_pair_as_objective_is_explained_by_bleu(tmp_path: Path) -> None:
    for i in range(6):
        overrides = {"objective": "pareto", "optim.encoder_lr": 10.0**-i}
        fabricate_run(tmp_path / str(i), overrides, objective=[0.1, 0.2])
    data = data_of(report_page.render(results.load(tmp_path)))
    assert data["target"] == "objective_bleu4"
    assert data["targetLabel"] == "objective_bleu4 (these runs have a pair as objective)"
    assert data["pair"] == list(results.PARETO)


def test_refuses_a_frame_that_is_not_a_table_of_runs(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="needs a table from cvae.results.load"):
        report_page.render(pd.DataFrame({"a": [1]}))
    with pytest.raises(ResultsError, match="the table has no runs"):
        report_page.render(frame.iloc[:0])
    with pytest.raises(ResultsError, match="cannot be written"):
        report_page.write(frame, tmp_path / "missing" / "page.html")


ASSETS = Path(report_page.__file__).parent / "report_assets"
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
DEFINED = re.compile(r"^(export )?(?:const|let|(?:async )?function) (\w+)", re.MULTILINE)


def imports_of_scripts() -> dict[str, dict[str, list[str]]]:
    """For each module of the page what it imports, by module."""
    found = {}
    for path in sorted(ASSETS.glob("*.js")):
        imports = IMPORT.findall(path.read_text(encoding="utf-8"))
        found[path.stem] = {name: re.findall(r"\w+", names) for names, name in imports}
    return found


def test_each_script_imports_what_it_uses_and_nothing_else() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in ASSETS.glob("*.js")}
    exported = {
        module: {name for export, name in DEFINED.findall(text) if export}
        for module, text in texts.items()
    }
    for module, imports in imports_of_scripts().items():
        body = re.sub(r"//[^\n]*", "", IMPORT.sub("", texts[module]))
        code = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', body)
        used = set(re.findall(r"(?<![^.]\.)\b\w+", re.sub(r"\b\w+(?=:[^:])", "", code)))
        for other, names in imports.items():
            assert set(names) <= exported[other], (module, other)
            assert set(names) <= used, (module, other)
        own = {name for _, name in DEFINED.findall(texts[module])}
        taken = {name for names in imports.values() for name in names}
        called = set(re.findall(r"(?<![^.]\.)\b(\w+)\(", code))
        everything = set().union(*exported.values())
        assert (called & everything) - own - taken == set(), module


def test_scripts_are_joined_in_the_order_of_their_imports(frame: pd.DataFrame) -> None:
    _, _, (_, behaviour) = scripts(report_page.render(frame))
    assert not re.search(r"^(import|export)\b", behaviour, flags=re.MULTILINE)
    # The first line of each module says what it is for.
    places = {
        path.stem: behaviour.index(path.read_text(encoding="utf-8").split("\n")[0])
        for path in ASSETS.glob("*.js")
    }
    for module, imports in imports_of_scripts().items():
        assert all(places[other] < places[module] for other in imports), module


def test_maps_of_the_latent_space_travel_with_the_page(tmp_path: Path) -> None:
    fabricate_sweep(tmp_path / "sweep", 12, faults=False)
    frame = results.load(tmp_path / "sweep")
    assert data_of(report_page.render(frame))["latent"] == []
    best = results.best(frame, 1).index[0]
    png = b"\x89PNG\r\n\x1a\n"
    for row, run in enumerate(frame["run"]):
        (results.directory_of(run) / "latent.png").write_bytes(png + bytes([row]))
    other = (best + 1) % len(frame)
    (results.directory_of(frame["run"][other]) / "latent.png").write_bytes(b"text")
    data = data_of(report_page.render(frame))
    shown = data["latent"]
    assert len(shown) == 8 and shown[0]["row"] == best
    content = base64.b64decode(shown[0]["picture"].removeprefix("data:image/png;base64,"))
    assert content == png + bytes([best])
    assert other not in [picture["row"] for picture in shown]
    assert any("is no map of the latent space" in note for note in data["notes"])
    assert any("those of 8 runs" in note for note in data["notes"])


def test_repeats_of_the_best_are_not_shown_first(tmp_path: Path) -> None:
    """They stand in the table, with the trial that they repeat beside their status."""
    for number, (value, confirms) in enumerate([(0.3, None), (0.5, None), (0.9, 1), (0.8, 1)]):
        overrides = {"model.latent_size": 8 + number, "seed": number}
        fabricate_run(
            tmp_path / "s" / f"trial_{number:05d}", overrides,
            number=number, confirms=confirms, objective=value,
        )  # fmt: skip
    data = report_page.page_data(results.load(tmp_path), "x")
    assert data["best"] == [1, 0]
    names = [column["name"] for column in data["columns"]]
    (column,) = [column for column in data["columns"] if column["name"] == "confirms"]
    assert names.index("confirms") < names.index("objective")
    assert column["shown"] and column["values"] == [None, None, 1, 1]


def test_without_dev_verbs_the_objectives_bleu_has_the_name_of_what_counts(tmp_path: Path) -> None:
    for conversions, name in (("unseen", "dev verbs"), ("seen", "sample of training verbs")):
        run = fabricate_run(tmp_path / conversions)
        result = json.loads((run / "result.json").read_text())
        same = result["objective"]["parts"]["bleu4"]
        result["metrics"] |= {"dev_bleu4": same, "seen_bleu4": same}
        result["config"]["objective"]["conversions"] = conversions
        (run / "result.json").write_text(json.dumps(result))
        names = report_page.page_data(results.load(run), "x")["names"]
        assert names["objective_bleu4"] == f"BLEU-4, {name} (objective)"
