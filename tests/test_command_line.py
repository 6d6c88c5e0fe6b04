"""A mistake on the command line is one line that says what is allowed or what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from shared import python

from cvae.command_line import explained, in_hydras_order, parsed
from cvae.config import ConfigError
from cvae.run import _check_before_start, config_directory


def refusal(*arguments: str) -> str:
    """The program's error message, without starting it."""
    with pytest.raises((ConfigError, HydraException, OmegaConfBaseException)) as caught:
        _check_before_start(arguments)
    if isinstance(caught.value, ConfigError):
        return "\n".join(caught.value.faults)
    return explained(caught.value, config_directory())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("anneal cyclical", "'anneal' is not an override; write GROUP=MEMBER or KEY=VALUE"),
        ("anneal = cyclical", "'anneal' is not an override; write GROUP=MEMBER or KEY=VALUE"),
        ("--anneal=cyclical", "--anneal=cyclical: there is no such option; write anneal=cyclical"),
        ("-M sweep=anneal", "-M: there is no such option; --help and --hydra-help list the"),
        ("--cfg", "argument --cfg/-c: expected one argument; --help and --hydra-help list"),
        ("--cfg jobs", "argument --cfg/-c: invalid choice: 'jobs' (choose from"),
        ("anneal=", "anneal=: there is no such member; allowed: constant, cyclical, delayed"),
        ("anneal=cyclic", "anneal=cyclic: there is no such member; did you mean cyclical? allowed"),
        ("storage=postgres", "storage=postgres: there is no such member; did you mean postgresql"),
        ("aneal=cyclical", "aneal: there is no such key; did you mean anneal? (python -m cvae.run"),
        ("training.epoch=3", "training.epoch: there is no such key; did you mean training.epochs?"),
        ("hydra.run.dirr=x", "hydra.run.dirr: there is no such key; did you mean hydra.run.dir?"),
        ("data.train_path=x", "data.train_path: the chosen data has no such key; it is one of dat"),
        ("anneal.start=0.3", "anneal.start: the chosen anneal has no such key; it is one of annea"),
        ("model.latent_size=-1", "model.latent_size is -1; allowed: a whole number in [1, 4096]"),
        ("seed=1,2", "seed=1,2: one run takes one value; -m runs each of them, as a study of"),
        ("seed=choice(1,2)", "seed=choice(1,2): one run takes one value; -m searches it, as a"),
        ("seed=interval(1,2)", "seed=interval(1,2): one run takes one value; -m searches it"),
        ("seed=[1", "seed: the value '[1' cannot be read; text with special characters"),
        ("-m seed=1,2 model.latent_size=-1", "model.latent_size is -1; allowed: a whole number in"),
        ("hydra.sweeper.n_trials=x", "hydra.sweeper.n_trials=x: Value 'x' of type 'str' could not"),
    ],
)
def test_each_mistake_has_its_line(arguments: str, says: str) -> None:
    text = refusal(*arguments.split())
    assert text.startswith(says)
    assert "\n" not in text and "hydra.cc" not in text


@pytest.mark.parametrize("value", ["my(2).txt", "über.txt", "a$(b).txt", 'a"b(.txt', "a\\b(.txt"])
def test_the_quoting_that_is_proposed_is_read_as_the_value(value: str) -> None:
    text = refusal("data=files", f"data.train_path={value}")
    assert text.startswith(f"data.train_path: the value {value!r} cannot be read")
    proposed = text[text.index(": '") + 3 : -1]
    assert proposed.startswith('data.train_path="')
    with pytest.raises((ConfigError, HydraException, OmegaConfBaseException)) as caught:
        _check_before_start(["data=files", proposed, "seed=-1"])
    assert isinstance(caught.value, ConfigError)
    assert [fault for fault in caught.value.faults if "seed" in fault] == caught.value.faults


@pytest.mark.parametrize("override", ["seed=\r", "se\x85ed=(", "\x1b="])
def test_unprintable_characters_are_escaped(override: str) -> None:
    text = refusal(override)
    assert text == f"{override!r} cannot be read: it contains unprintable characters"


def test_options_may_be_anywhere() -> None:
    given = ["seed=1,2", "-m", "debug=smoke", "--config-dir", "there", "threads=1"]
    known = parsed(given)
    assert known.multirun and known.config_dir == "there"
    assert in_hydras_order(given, known.overrides) == [
        "-m", "--config-dir", "there", "seed=1,2", "debug=smoke", "threads=1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sweep=anneal"], "sweep=anneal"),
        (["experiment=ablation", "change=none"], "experiment=ablation"),
        (["hydra.sweeper.n_trials=4"], "hydra.sweeper.n_trials=4"),
        (["storage=sqlite"], "storage=sqlite"),
        (["experiment=best", "seed=1"], None),
        (["experiment=report", "hydra.run.dir=there"], None),
        (["-m", "sweep=anneal"], None),
        # These are valid: the searched values supply the rest.
        (["-m", "data=files", "data.train_path=a.txt,b.txt"], None),
        (["-m", "anneal=delayed,cyclical", "anneal.start=0.2"], None),
        (["sweep=anneal", "--cfg", "job"], None),
    ],
)
def test_a_single_run_names_an_option_that_only_affects_a_search(
    arguments: list[str], named: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    _check_before_start(arguments)
    noted = f"note: this is one run; with -m, {named} starts a search\n" if named else ""
    assert capsys.readouterr() == ("", noted)


def test_a_launcher_without_its_package_names_the_extra() -> None:
    error = HydraException(
        "In 'hydra/config': Could not find 'hydra/launcher/submitit_slurm'\n\n"
        "Available options in 'hydra/launcher':\n\tbasic\n\tcvae\nConfig search path:\n\t..."
    )
    assert explained(error, config_directory()) == (
        "hydra/launcher=submitit_slurm: its package is not installed; "
        "pip install -e '.[slurm]' -c constraints.txt"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["aneal=cyclical"], "aneal: there is no such key; did you mean anneal?"),
        (["model.latent_size=-1"], "model.latent_size is -1; allowed: a whole number in [1, 4096]"),
        (["-M"], "-M: there is no such option"),
        (["device=cuda"], "device is 'cuda', but torch finds no CUDA device here"),
        (
            ["data=files", "data.train_path=none.txt"],
            "none.txt: cannot be read: No such file or directory",
        ),
        (["-m", "sweep=aneal"], "sweep=aneal: there is no such member; did you mean anneal?"),
        (["sweep=seeds", "-m", "hydra.sweeper.n_trials=0"], "n_trials is 0; allowed: at least 1"),
        (
            ["-m", "storage=postgresql", "sweep=seeds"],
            "storage=postgresql needs the environment variable CVAE_STORAGE_URL; for example exp",
        ),
    ],
)
def test_the_program_ends_with_one_line_and_leaves_nothing(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    finished = python("-m", "cvae.run", *arguments, cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith("error: ")
    assert words in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
