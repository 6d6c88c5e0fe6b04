"""Which runs a comparison makes, which option it picks, and its table."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import hydra
import pytest
from omegaconf import OmegaConf

from cvae.config import check
from tests.shared import REPOSITORY


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("comparisons")


def leave_run(directory: Path, objective: float, *, status: str = "complete") -> None:
    directory.mkdir(parents=True)
    metrics = {
        "bleu4": 1.0, "gaussian_score": objective, "gaussian_distinct": 500, "kl": 8.0,
        "mutual_information": 7.0, "active_units": 3,
    }  # fmt: skip
    content = {"status": status, "objective": {"value": objective}, "metrics": metrics}
    (directory / "result.json").write_text(json.dumps(content))


def test_every_run_of_every_comparison_has_a_valid_config_of_its_own(
    comparisons: ModuleType,
) -> None:
    with hydra.initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        for comparison in comparisons.COMPARISONS.values():
            seen = []
            for variant in comparison.variants.values():
                for option in variant.options:
                    overrides = [*comparison.base, *variant.overrides, f"{variant.key}={option}"]
                    config = OmegaConf.to_container(
                        hydra.compose("config", overrides), resolve=True
                    )
                    check(config)
                    assert config not in seen
                    seen.append(config)


def test_variants_are_searched_with_equal_budgets(comparisons: ModuleType) -> None:
    for comparison in comparisons.COMPARISONS.values():
        assert len({len(variant.options) for variant in comparison.variants.values()}) == 1


def test_all_options_run_once_and_the_best_again_with_other_seeds(
    comparisons: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def run(command: list[str], **_: object) -> None:
        given = dict(part.partition("=")[::2] for part in command[3:])
        started.append(given["hydra.run.dir"].strip("'"))
        # The largest weight is best, except with constant, where it diverges.
        weight = float(given["anneal.kl_weight_max"])
        diverges = weight == 0.4 and given["anneal"] == "constant"
        status = "diverged" if diverges else "complete"
        leave_run(Path(started[-1]), weight, status=status)

    monkeypatch.setattr(comparisons.subprocess, "run", run)
    comparisons.train("schedules_single_tuned", tmp_path, jobs=1)
    below = [str(Path(path).relative_to(tmp_path / "schedules_single_tuned")) for path in started]
    assert len(below) == len(set(below)) == 7 * 3 + 7 * 2
    assert {"constant/0.2_seed_1", "monotonic/0.4_seed_2", "cyclical_8_cycles/0.4_seed_1"} < {
        *below
    }
    assert "constant/0.4_seed_1" not in below and "monotonic/0.2_seed_1" not in below
    comparisons.train("schedules_single_tuned", tmp_path, jobs=1)
    assert len(started) == len(below), "finished runs are not repeated"


def test_the_table_has_the_three_seeds_of_the_best_option(
    comparisons: ModuleType, tmp_path: Path
) -> None:
    runs = tmp_path / "schedules_report_tuned" / "free_bits"
    leave_run(runs / "0.1_seed_0", 0.9)
    leave_run(runs / "0.2_seed_0", 0.5)
    leave_run(runs / "0.2_seed_1", 0.99)
    leave_run(runs / "0.1_seed_1", 0.7)
    leave_run(runs / "0.1_seed_2", 0.8, status="failed")
    document = tmp_path / "annealing.md"
    markers = "<!-- schedules_report_tuned -->\n{}\n<!-- /schedules_report_tuned -->\n"
    document.write_text(markers.format("old"))
    assert comparisons.main(["--table", "--runs", str(tmp_path), "--document", str(document)]) == 0
    lines = document.read_text().splitlines()
    assert lines[1].startswith("| variant | KL weight at its highest | n | BLEU-4, ten pairs |")
    assert lines[3] == "| free bits | 0.1 | 2 | 1 | 0.800 (0.700 to 0.900) | 500 | 8 | 7 | 3 |"
    assert lines[5] == "All options with seed 0 (n = 1 each):"
    assert [line[:26] for line in lines[9:11]] == [
        "| free bits | 0.1 | 0.900 ", "| free bits | 0.2 | 0.500 "
    ]  # fmt: skip
    assert len(lines) == 12


def test_an_unknown_comparison_is_one_line(
    comparisons: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        comparisons.main(["schedules"])
    assert ended.value.code == 2
    assert "schedules: no such comparison; allowed: schedules_single_tuned" in (
        capsys.readouterr().err
    )
