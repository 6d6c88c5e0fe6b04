"""Every config composes, passes the check and is refused with key, value and range when wrong."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf
from shared import python

from cvae.config import GROUPS, ConfigError, check
from cvae.run import config_directory
from hydra_plugins.hydra_cvae_sweeper._search import read_overrides
from hydra_plugins.hydra_cvae_sweeper._space import Grid, Space, make_space


def compose(*overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        config = OmegaConf.to_container(hydra.compose("config", list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def members(group: str) -> list[str]:
    return sorted(path.stem for path in (config_directory() / group).glob("*.yaml"))


MEMBERS = [(group, member) for group in GROUPS for member in members(group)]


def test_every_group_has_its_directory_and_every_kind_a_member() -> None:
    for group, kinds in GROUPS.items():
        names = {
            str(OmegaConf.load(config_directory() / group / f"{member}.yaml").get("name"))
            for member in members(group)
        }
        assert names - {"None"} == set(kinds)


@pytest.mark.parametrize(("group", "member"), MEMBERS)
def test_every_member_passes_the_check(group: str, member: str) -> None:
    extra = ["data.train_path=train.txt"] if member == "files" else []
    check(compose(f"{group}={member}", *extra))


@pytest.mark.parametrize(("group", "member"), MEMBERS)
def test_every_yaml_opens_with_the_command_that_uses_it(group: str, member: str) -> None:
    text = (config_directory() / group / f"{member}.yaml").read_text()
    assert text.startswith(f"# python -m cvae.run {group}={member}")


@pytest.mark.parametrize("group", ["experiment", "base", "change", "debug", "storage"])
def test_every_named_study_passes_the_check(group: str) -> None:
    for member in members(group):
        check(compose(f"{group}={member}"))


def test_the_report_experiment_is_the_report() -> None:
    config = compose("experiment=report")
    assert config["model"] == {
        "name": "report",
        "latent_size": 32,
        "condition_size": 8,
        "hidden_size": 256,
        "feedback": "output",
    }
    assert config["training"]["batch_size"] == 1
    assert config["training"]["pairs"] == "same"
    assert config["training"]["coverage_draws"] == 0
    assert (config["optim"]["encoder_lr"], config["optim"]["decoder_lr"]) == (1.0, 0.05)
    assert config["optim"]["algorithm"] == "sgd"
    assert config["optim"]["encoder_step_epochs"] > 0
    assert config["teacher_forcing"]["coin"] == "sequence"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.latent_size=-1", "model.latent_size is -1; allowed: a whole number in [1, 4096]"),
        ("model.latent_size=2.5", "model.latent_size is 2.5; allowed: a whole number"),
        ("seed=true", "seed is True; allowed: a whole number"),
        (
            "anneal.kl_weight_max=-0.1",
            "anneal.kl_weight_max is -0.1; allowed: a finite number >= 0",
        ),
        ("anneal.ramp=cubic", "anneal.ramp is 'cubic'; allowed: one of linear, sigmoid, cosine"),
        ("optim.encoder_lr=0", "optim.encoder_lr is 0; allowed: a finite number > 0"),
        ("optim.encoder_lr=nan", "optim.encoder_lr is nan; allowed"),
        ("training.pairs=both", "training.pairs is 'both'; allowed: one of same, cross"),
        (
            "+training.epoch=3",
            "training.epoch: there is no such key; did you mean training.epochs?",
        ),
        ("+colour=red", "colour: there is no such key; allowed: data, model"),
        ("anneal.name=spiral", "anneal.name is 'spiral'; allowed: one of cyclical, monotonic"),
        ("evaluation.test=1", "evaluation.test is 1; allowed: true or false"),
        (
            "objective.generation=rows",
            "objective.generation is 'rows'; allowed: one of variety, share",
        ),
        ("data=files", "data.train_path has no value yet; give it as data.train_path=..."),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(compose(override))
    assert words in str(caught.value)
    assert len(caught.value.faults) == 1


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check(compose("model.latent_size=0", "seed=-1", "training.epochs=0"))
    assert sorted(fault.split()[0] for fault in caught.value.faults) == [
        "model.latent_size",
        "seed",
        "training.epochs",
    ]


def test_the_faults_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(ConfigError(["seed is -1", "data is missing"])))
    assert error.faults == ["seed is -1", "data is missing"]
    assert str(error) == "seed is -1\ndata is missing"


def test_inconsistent_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="less than model.hidden_size"):
        check(compose("model=report", "model.condition_size=256"))
    with pytest.raises(ConfigError, match="are both 0"):
        check(compose("objective.bleu_weight=0", "objective.gaussian_weight=0"))
    with pytest.raises(ConfigError, match="a ratio decays"):
        check(compose("teacher_forcing=linear", "teacher_forcing.ratio_start=0.1"))


def test_a_missing_section_is_named() -> None:
    config = compose()
    for key in list(config):
        broken = copy.deepcopy(config)
        del broken[key]
        with pytest.raises(ConfigError, match=f"{key} is missing"):
            check(broken)


def sweeper_config(*overrides: str, resolve: bool = False) -> dict[str, Any]:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        config = hydra.compose("config", list(overrides), return_hydra_config=True)
        found = OmegaConf.to_container(config.hydra.sweeper, resolve=resolve)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


CLAIMS = [name for name in members("experiment") if name.startswith("claim_")]


def trials_of(study: str, group: str = "experiment") -> list[dict[str, str]]:
    """The overrides of each trial of a grid study, by key."""
    settings = sweeper_config(f"{group}={study}")
    assert str(settings["sampler"]["_target_"]).endswith("GridSampler")

    def parsed(node: Mapping[str, Any]) -> Space:
        texts = [f"{key}={value}" for key, value in node.items()]
        return make_space(read_overrides(texts, None), {})

    space = parsed(settings["params"])
    space.conditional = {key: parsed(node).distributions for key, node in
                         (settings["conditional"] or {}).items()}  # fmt: skip
    grid = Grid(
        {key: kind.choices for key, kind in space.distributions.items()},
        lambda point: {key: kind.choices for key, kind in space.following(point)},
        space.conditional_keys(),
    )
    assert settings["n_trials"] == grid.count(10_000), "the study covers its grid"
    assert settings["study_name"] == study
    return [dict(text.split("=", 1) for text in space.overrides(point)) for point in grid]


@pytest.mark.parametrize("study", CLAIMS)
def test_every_trial_of_a_claims_study_passes_the_check(study: str) -> None:
    bases: dict[str, set[str]] = {}
    for trial in trials_of(study):
        found = compose(f"experiment={study}", *(f"{key}={value}" for key, value in trial.items()))
        check(found)
        assert found["evaluation"]["keep"] == "last"
        assert found["model"]["name"] == "report"
        assert (found["model"]["feedback"] == "symbol") == (trial["base"] == "batched_symbol")
        assert (found["training"]["batch_size"] == 1) == (trial["base"] == "report")
        bases.setdefault(trial["base"], set()).add(trial["seed"])
    assert "batched" in bases and set(map(frozenset, bases.values())) == {frozenset("012")}


def test_the_ablation_makes_every_change_once_a_seed() -> None:
    trials = trials_of("ablation")
    assert sorted(trial["change"] for trial in trials) == sorted(members("change") * 2)
    unchanged = compose("experiment=ablation")
    for trial in trials:
        found = compose("experiment=ablation", f"change={trial['change']}")
        check(found)
        assert (found == unchanged) == (trial["change"] == "none")


def test_the_report_has_six_claims() -> None:
    assert len(CLAIMS) == 6


def test_the_claims_about_rates_compare_the_reports_rates() -> None:
    rates = {
        (found["optim"]["encoder_lr"], found["optim"]["decoder_lr"], found["optim"]["algorithm"])
        for trial in trials_of("claim_equal_rates")
        if trial["base"] == "report"
        for found in [compose("experiment=claim_equal_rates",
                              *(f"{key}={value}" for key, value in trial.items()))]
    }  # fmt: skip
    assert rates == {(0.05, 0.05, "sgd"), (1.0, 0.05, "sgd")}


@pytest.mark.parametrize(
    ("overrides", "epochs", "every"),
    [
        ([], 76, 4),
        (["sweep=report"], 60, 5),
        (["sweep=pareto"], 16, 4),
        (["sweep=seeds"], 76, 4),
        (["training.epochs=40"], 40, 4),
        (["debug=smoke"], 2, 1),
        (["sweep=anneal", "debug=smoke"], 2, 1),
        (["sweep=seeds", "debug=smoke"], 2, 1),
        (["debug=smoke", "training.epochs=3"], 3, 1),
    ],
)
def test_how_long_the_trials_of_a_study_are(overrides: list[str], epochs: int, every: int) -> None:
    """A study's trials are full or short, debug=smoke makes them shorter; the command line wins."""
    settings = sweeper_config(*overrides, resolve=True)
    params = [f"{key}={value}" for key, value in settings["params"].items()]
    space = make_space(read_overrides([*params, *overrides], None), {})
    trial = compose(*space.overrides(space.checks([], 1)[0]))
    check(trial)
    assert trial["training"]["epochs"] == epochs
    assert trial["evaluation"]["every_epochs"] == every
    default, report = 192, 256
    hidden = report if "sweep=report" in overrides else default
    assert trial["model"]["hidden_size"] == (32 if "debug=smoke" in overrides else hidden)


@pytest.mark.parametrize("study", members("sweep"))
def test_every_study_can_live_in_either_database(study: str) -> None:
    names = ["hydra.sweeper.study_name=x"] if study in ("base", "full", "short") else []
    file = sweeper_config(f"sweep={study}", *names)
    server = sweeper_config("storage=postgresql", f"sweep={study}", *names)
    assert file.pop("storage") == "sqlite:///${hydra.sweep.dir}/study.db"
    assert server.pop("storage") == "${oc.env:CVAE_STORAGE_URL}"
    assert file == server, "nothing else depends on where the study is kept"


def test_the_databases_password_is_neither_printed_nor_saved(tmp_path: Path) -> None:
    secret = "s3cr3t-Passw0rd"
    url = f"postgresql+psycopg2://nobody:{secret}@127.0.0.1:9/none"
    command = ("-m", "cvae.run", "-m", "storage=postgresql", "hydra.sweeper.storage_patience=0.1")
    finished = python(*command, cwd=tmp_path, CVAE_STORAGE_URL=url)
    assert finished.returncode == 2, "nothing listens there"
    assert secret not in finished.stdout + finished.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "${oc.env:CVAE_STORAGE_URL}" in next(
        path.read_text() for path in files if path.name == "multirun.yaml"
    )
    assert not any(secret in path.read_text(errors="replace") for path in files)


def test_a_config_error_does_not_wait_for_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from cvae import run; code = run.main(['seed=-1']); "
        "print(code, 'torch' in sys.modules)"
    )
    finished = python("-c", script, cwd=tmp_path)
    assert finished.stdout.split() == ["2", "False"]


SWAPPED = ("model", "anneal", "teacher_forcing")  # whose members differ in their keys
RUNS = [name for name in members("experiment") if not name.startswith(("claim", "ablation"))]


@pytest.mark.parametrize("experiment", RUNS)
def test_an_experiment_takes_every_member_of_every_group(experiment: str) -> None:
    """It sets only keys that all members have: others would be refused with the member."""
    for group in SWAPPED:
        for member in members(group):
            config = compose(f"experiment={experiment}", f"{group}={member}")
            training = config["training"]
            if (group, member) == ("model", "default"):
                # The phases of two levels are in an order of their own.
                training["coverage_start"] = max(
                    training["coverage_start"], training["partition_start"]
                )
            check(config)
