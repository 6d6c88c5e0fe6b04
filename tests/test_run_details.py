"""What single runs have to show: which conversions, and the whole configuration."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from io import StringIO
from pathlib import Path

from cvae import results, run_details
from cvae.alphabet import TENSES

sys.path.insert(0, str(Path(__file__).parent / "browser"))
from fabricated_runs import fabricate_run

HEADER = ["split", "source", "source_tense", "target_tense", "target", "prediction", "correct"]


def table(verbs: int, *, wrong: bool = True) -> list[dict[str, str]]:
    """All twelve conversions of each verb in turn, as a run lists them; every third irregular."""
    lines = []
    for i in range(verbs):
        stem = f"{chr(97 + i // 26)}{chr(97 + i % 26)}b"
        forms = [stem, f"{stem}s", f"{stem}ing", f"{stem}ed"]
        for a in range(4):
            for b in range(4):
                if a != b:
                    said = "x" if wrong else forms[b]
                    lines.append(
                        dict(zip(HEADER, ["dev", forms[a], TENSES[a], TENSES[b]], strict=False))
                        | {"target": forms[b], "prediction": said}
                        | {"correct": str(int(not wrong)), "regular": str(int(i % 3 > 0))}
                    )
    return lines


def test_wrong_dev_conversions_are_spread_over_verbs_tenses_and_regularity() -> None:
    rows = run_details.conversions(table(40))["rows"]
    assert len(rows) == run_details.DEV_ROWS
    stems = [source[:3] for _, source, *_ in rows]
    assert len(set(stems)) == len(stems)  # a verb each
    assert max(stems) > "ba" > "ab" > min(stems)  # from all of the alphabet
    pairs = Counter((regular, source, target) for _, _, source, target, *_, regular in rows)
    assert max(pairs.values()) == 1
    assert abs(sum(row[-1] for row in rows) - len(rows) / 2) <= 1
    assert rows == run_details.conversions(table(40))["rows"]


def test_few_wrong_conversions_are_all_shown() -> None:
    found = run_details.conversions(table(1)[:5] + table(30, wrong=False))
    assert (found["dev"], found["wrong"], len(found["rows"])) == (365, 5, 5)


def test_accuracy_is_counted_by_tenses_regularity_and_length() -> None:
    lines = table(3, wrong=False)
    lines[0] |= {"prediction": "x", "correct": "0"}  # of verb 0, irregular: present to third person
    found = run_details.conversions(lines)
    cells = {tuple(cell[:3]): cell[3:] for cell in found["accuracy"]}
    assert len(cells) == 12 * 2
    assert cells[0, 1, 0] == [0, 1]
    assert cells[0, 1, 1] == [2, 2]
    assert sum(n for _, n in cells.values()) == 36
    assert found["lengths"] == [[3, 8, 9], [4, 9, 9], [5, 9, 9], [6, 9, 9]]


def test_configurations_share_what_is_common(tmp_path: Path) -> None:
    runs = [
        fabricate_run(tmp_path / str(i), {"model.latent_size": size})
        for i, size in enumerate((8, 8, 16))
    ]
    changed = json.loads((runs[1] / "result.json").read_text())
    changed["git_commit"], changed["config"]["extra"] = "abc", {"list": [1, None]}
    (runs[1] / "result.json").write_text(json.dumps(changed))
    failed = fabricate_run(tmp_path / "3", {"seed": 7}, status="failed")
    found = run_details.configurations(dict(enumerate(map(str, [*runs, failed]))))
    assert found["common"]["model.latent_size"] == "8"
    assert found["common"]["versions.torch"] == "2.13.0"
    assert found["common"]["data.bucket_sizes"] == "[8, 12, 24]"
    assert found["runs"]["0"] == {"git_commit": None, "extra.list": None, **UNRESOLVED}
    assert found["runs"]["1"] == UNRESOLVED
    assert found["runs"]["2"]["model.latent_size"] == "16"
    # Of a run without a result there is what Hydra wrote before it began.
    assert found["unresolved"] == [3]
    assert found["runs"]["3"]["seed"] == "7"
    assert found["runs"]["3"]["versions.torch"] is None


UNRESOLVED = {"paths.weights": None}  # only in what Hydra wrote


def test_a_damaged_configuration_stops_nothing(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a")
    (run / "result.json").write_text("[1")
    (run / ".hydra" / "config.yaml").write_text("a: [")
    assert run_details.configurations({0: str(run)}) == {
        "common": {},
        "runs": {},
        "unresolved": [0],
    }


def test_conversions_of_a_real_table_keep_their_columns(tmp_path: Path) -> None:
    run = fabricate_run(tmp_path / "a", {"optim.encoder_lr": 1e-6}, dev_rows=40)
    text = StringIO(results.read_text(run / "conversions.csv"), newline="")
    found = run_details.conversions(csv.DictReader(text))
    assert found["dev"] == 40 == sum(n for *_, n in found["accuracy"])
