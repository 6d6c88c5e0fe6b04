"""docs/findings.md and docs/scores.md are filled from runs; each criterion decides correctly."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from cvae.data import load_table
from cvae.evaluation import BASELINES, baseline_conversions

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("findings")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    for name in ("findings.md", "scores.md", "ladder.md"):
        shutil.copy(REPOSITORY / "docs" / name, tmp_path / "docs" / name)
    return tmp_path / "docs"


def run(root: Path, study: str, number: int, given: dict[str, Any], **measured: Any) -> None:
    """A fabricated run of a study, with some of its metrics set; ``status`` too."""
    status, parts = measured.pop("status", "complete"), measured.pop("parts", None)
    path = root / study / f"trial_{number:05d}"
    fabricate_run(path, given, study=study, number=number, status=status)
    result = json.loads((path / "result.json").read_text())
    result["metrics"].update(measured)
    if parts:
        result["objective"]["parts"] = dict(zip(("bleu4", "gaussian_score"), parts, strict=True))
    (path / "result.json").write_text(json.dumps(result))


def block(document: Path, name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", document.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_tables_verdicts_and_figures_come_from_the_runs(
    findings: ModuleType, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "multirun"
    number = 0
    for base, distinct in (("report", {0.05: 1, 1.0: 900}), ("batched", {0.001: 40, 0.02: 30})):
        for rate, said in distinct.items():
            for seed in (0, 1):
                given = {"base": base, "optim.encoder_lr": rate, "seed": seed}
                run(
                    runs,
                    "claim_equal_rates",
                    number,
                    given,
                    distinct_paradigms=said + seed,
                    kl=seed,
                )
                number += 1
    run(runs, "scores_best", 0, {"data": "large", "seed": 0}, dev_exact_match_regular=0.75,
        test_exact_match_irregular=0.25)  # fmt: skip
    words = [
        "split,source,source_tense,target_tense,target,prediction,"
        "correct,bleu4,edit_distance,regular"
    ]
    of_lengths = {"go": 1, "walked": 0, "walking": 1, "ab" * 5: 1, "ab" * 8: 1}
    for split in ("dev", "test"):
        for source, correct in of_lengths.items():
            words.append(f"{split},{source},past,progressive,x,y,{correct},1.0,0,1")
        words.append(f"{split},sang,past,progressive,x,y,0,1.0,0,0")  # irregular: not counted
    (runs / "scores_best" / "trial_00000" / "conversions.csv").write_text("\n".join(words))
    for number, parts in enumerate([(0.8, 0.5), (0.9, 0.5), (0.5, 0.75)]):
        given = {"training.hallucination_share": 0.1 * number}
        run(runs, "pareto", number, given, parts=parts, dev_exact_match_regular=0.25)
    run(runs, "ablation", 0, {"change": "no_grids", "seed": 0}, gaussian_score=0.5)
    run(runs, "ablation", 1, {"change": "none", "seed": 0}, gaussian_score=0.875)
    run(runs, "ablation", 2, {"change": "none", "seed": 1}, status="diverged")
    assert findings.main([str(runs), "--documents", str(documents)]) == 0

    claim = block(documents / "findings.md", "claim_equal_rates")
    rows = [line for line in claim.splitlines() if line.startswith("| single words")]
    assert len(rows) == 2 and "encoder_lr 0.05" in rows[0] and "2 complete" in rows[0]
    assert "| 1.500 (1 to 2) |" in rows[0] and "| 900.5 (900 to 901) |" in rows[1]
    assert "- single words: **yes**" in claim and "- batches: **no**" in claim
    picture = documents / "figures" / "claim_equal_rates.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    # Tables without runs are not changed, and this is reported.
    committed = block(REPOSITORY / "docs" / "findings.md", "claim_cycles")
    assert block(documents / "findings.md", "claim_cycles") == committed
    said = capsys.readouterr().out
    assert "findings.md: filled claim_equal_rates\n" in said
    assert "no runs of claim_step_lr" in said and "left as it was" in said
    assert "scores.md: filled protocol, scores, lengths, ablation, pareto\n" in said

    scores = block(documents / "scores.md", "scores")
    (model,) = [line for line in scores.splitlines() if line.startswith("| large | scores")]
    assert "| 0.750 |" in model and model.endswith("| 0.250 |")
    (protocol,) = block(documents / "scores.md", "protocol").splitlines()[2:]
    assert protocol.startswith("| large | scores_best | 1 |") and "of 894 |" in protocol
    assert "| common | rules | 0.990 | 0.580 | 0.987 | 0.527 |" in scores
    lengths = block(documents / "scores.md", "lengths").splitlines()[2:]
    assert lengths[2:] == [
        "| large | pairs | test | n = 1 | n = 2 | n = 1 | n = 1 |",
        "| large | scores_best (1 runs) | test | 1 | 0.500 | 1 | 1 |",
    ]
    front = block(documents / "scores.md", "pareto")
    assert "| 1 | 0.900 | 0.500 |" in front and "| 0 |" not in front
    assert (documents / "figures" / "pareto.png").read_bytes().startswith(b"\x89PNG")
    ablation = block(documents / "scores.md", "ablation").splitlines()
    assert ablation[2].startswith("| none | 1 of 2 |") and "| 0.875 |" in ablation[2]
    assert ablation[3].startswith("| no_grids | 1 of 1 |") and "| 0.500 |" in ablation[3]


def test_the_ladder_compares_with_the_default_on_as_many_threads(
    findings: ModuleType, documents: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "multirun"
    taken = {  # seconds and threads of each seed
        "ladder_default": [(100.0, 2), (300.0, 1)],
        "ladder_report_tuned": [(150.0, 2), (150.0, 1), (75.0, 4)],
    }
    for study, seeds in taken.items():
        for seed, (seconds, threads) in enumerate(seeds):
            run(runs, study, seed, {"seed": seed}, train_exact_match=0.75, gaussian_draws=1000)
            path = runs / study / f"trial_{seed:05d}" / "result.json"
            result = json.loads(path.read_text())
            result["seconds"]["total"] = seconds
            result["versions"] = {"torch_threads": str(threads)}
            path.write_text(json.dumps(result))
    assert findings.main([str(runs), "--documents", str(documents)]) == 0
    found = block(documents / "ladder.md", "ladder").splitlines()
    rows = [line for line in found[2:] if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows] == ["| report_tuned", "| default"]
    # The default was not run on four threads, so that seed's time cannot be compared.
    assert rows[0].endswith("| 0.750 | 1 (0.500 to 1.500) |") and "of 679" in rows[0]
    assert rows[1].endswith("| 0.750 | 1 |")
    assert findings.main([str(runs), "--documents", str(documents), "--busy"]) == 0
    found = block(documents / "ladder.md", "ladder").splitlines()
    assert [row.endswith("| 0.750 | - |") for row in found[2:4]] == [True, True]
    assert (documents / "figures" / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_every_rung_of_the_ladder_is_an_experiment(findings: ModuleType) -> None:
    members = {path.stem for path in (REPOSITORY / "configs" / "experiment").glob("*.yaml")}
    assert set(findings.RUNGS) - {"default"} <= members


def test_the_documents_hold_every_claim_and_its_command(findings: ModuleType) -> None:
    text = (REPOSITORY / "docs" / "findings.md").read_text()
    members = {path.stem for path in (REPOSITORY / "configs" / "experiment").glob("claim_*.yaml")}
    assert members == set(findings.CLAIMS)
    for name in members:
        assert f"    python -m cvae.run -m experiment={name}\n" in text
        block(REPOSITORY / "docs" / "findings.md", name)


def test_without_runs_there_is_one_line(
    findings: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert findings.main([str(tmp_path / "none")]) == 2
    assert "no such directory" in capsys.readouterr().err


def test_a_study_without_complete_runs_still_has_a_table_and_a_figure(
    findings: ModuleType, documents: Path, tmp_path: Path
) -> None:
    for number, anneal in enumerate(("constant", "monotonic")):
        given = {"base": "report", "anneal": anneal, "seed": 0}
        run(tmp_path / "multirun", "claim_constant_kl", number, given, status="diverged")
    for curve in tmp_path.rglob("metrics.csv"):
        curve.unlink()  # the runs diverged before their first evaluation
    assert findings.main([str(tmp_path / "multirun"), "--documents", str(documents)]) == 0
    claim = block(documents / "findings.md", "claim_constant_kl")
    assert "| constant | 1 diverged | - |" in claim and "**yes** (1 of 1 diverged" in claim
    assert (documents / "figures" / "claim_constant_kl.png").stat().st_size > 1000


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("status", "kl", "holds"),
    [("diverged", None, True), ("complete", 250.0, True), ("complete", 0.01, False)],
)
def test_the_criterion_of_a_constant_weight(
    findings: ModuleType, status: str, kl: float | None, holds: bool
) -> None:
    runs = frame(anneal=["constant", "monotonic"], status=[status, "complete"], kl=[kl, 5.0],
                 reason=["the KL exploded", None])  # fmt: skip
    found, shown = findings.constant_kl(runs, frame())
    assert found is holds and ("1 of 1 diverged (the KL exploded)" in shown) == (kl is None)
    assert findings.constant_kl(runs[1:], frame())[0] is None


def test_the_criterion_of_switching_on(findings: ModuleType) -> None:
    curves = frame(run=["a", "b", "b"], kl=[1.0, 50.0, 70.0])
    for status, holds in (("diverged", True), ("complete", False)):
        runs = frame(**{"run": ["a", "b"], "anneal.start": [0.5, 1.0], "status": [status] * 2,
                        "reason": ["late", "late"]})  # fmt: skip
        found, shown = findings.kl_switch_on(runs, curves)
        assert found is holds and "reached 70 nats" in shown


@pytest.mark.parametrize(
    ("bleu", "holds"),
    [
        ([0.2, 0.1, 0.3, 0.2, 0.4, 0.3], True),
        ([0.2, 0.1, 0.1, 0.0, 0.4, 0.3], False),  # the second restart is lower
        ([0.2, 0.3, 0.3, 0.4, 0.4, 0.5], False),  # BLEU never drops
    ],
)
def test_cycles_are_separated_where_the_weight_falls(
    findings: ModuleType, bleu: list[float], holds: bool
) -> None:
    curves = frame(run=["z"] * 2 + ["a"] * 6, seen_bleu4=[0.0, 0.0, *bleu],
                   kl_weight=[0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0])  # fmt: skip
    runs = frame(**{"run": ["z", "a"], "anneal.cycle_count": [1, 3]})
    found, shown = findings.cycles(runs, curves)
    assert found is holds
    assert shown.endswith(" > ".join(f"{value:.3f}" for value in bleu[::2]))


def test_with_step_lr_a_run_must_learn(findings: ModuleType) -> None:
    for bleu, status, holds in ((0.95, "complete", True), (0.85, "complete", False),
                                (0.95, "diverged", False)):  # fmt: skip
        runs = frame(
            **{"optim.encoder_step_gamma": [0.5, 1.0], "status": [status, "complete"],
               "bleu4": [bleu, 0.25]}
        )  # fmt: skip
        found, shown = findings.step_lr(runs, frame())
        assert found is holds and shown.endswith("without 0.250")


def test_when_a_network_has_learned(findings: ModuleType) -> None:
    curves = frame(run=["a", "a", "a", "b", "b"], epoch=[1, 2, 3, 1, 2],
                   bleu4=[0.5, 0.95, 0.85, 0.5, 0.89])  # fmt: skip
    assert findings._epochs_to_learn(frame(run=["a"]), curves) == "2"
    assert findings._epochs_to_learn(frame(run=["a", "b"]), curves) == "2, 1 never"
    assert findings._epochs_to_learn(frame(run=["b"]), curves) == "-"


def test_the_criterion_of_teacher_forcing(findings: ModuleType) -> None:
    names = ["constant", "constant", "linear", "exponential"]
    for slow, holds in ((0.8, True), (0.95, False)):
        runs = frame(
            **{"teacher_forcing": names, "teacher_forcing.ratio": [0.0, 1.0, None, None],
               "seen_bleu4": [0.1, slow, 0.9, 0.3]}
        )  # fmt: skip
        assert findings.teacher_forcing(runs, frame())[0] is holds


def test_baselines_have_the_metrics_of_a_model() -> None:
    dataset = load_table("common")
    copied = baseline_conversions("copy the source", dataset)
    rules = baseline_conversions("rules", dataset)
    assert set(BASELINES) == {"rules", "copy the source"}
    assert copied["exact_match"] == 0.0, "none of the ten pairs has the same word twice"
    assert rules["exact_match"] == 0.9, "all but sent > sends"
    assert rules["dev_pairs_regular"] == 2400 and rules["dev_pairs_irregular"] == 300
    regular, irregular = (rules[f"test_exact_match_{kind}"] for kind in ("regular", "irregular"))
    assert regular and irregular and regular > 0.95 > irregular
    edits = copied["dev_edit_distance"]
    assert edits and edits > 1.0, "a form differs from another by a letter or more"
