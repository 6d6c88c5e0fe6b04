"""Every command, option, file, key and link in the documents works."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import OmegaConf
from shared import REPOSITORY

from cvae.command_line import own_keys
from cvae.config import GROUPS, SECTIONS, check
from cvae.run import config_directory

DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "data/*.md") for path in REPOSITORY.glob(pattern)
)
WRITTEN = [
    *DOCUMENTS,
    *sorted(config_directory().rglob("*.yaml")),
    *sorted((REPOSITORY / "cvae").rglob("*.py")),
]

MODULES = {path.stem for path in REPOSITORY.glob("cvae/*.py")} | {"results"}
FILES_OF_A_RUN = {"config.yaml", "losses.csv", "metrics.csv", "model.json", "run.log"}

# Plugins that are installed by extras.
PLUGIN_OF_LAUNCHER = {
    "joblib": "hydra_joblib_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}


def shell_lines(path: Path) -> Iterator[str]:
    """The code in a document, in the comments of a config, or in a docstring."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    if path.suffix == ".md":
        yield from re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
        for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            yield from block.splitlines()
        yield from re.findall(r"`(python -m [^`\n]+)`", text)
    elif path.suffix == ".yaml":
        # Prose may follow in brackets or after a comma.
        yield from re.findall(r"^#.*?(python -m [^,(\n]+)", text, re.MULTILINE)
    else:
        yield from re.findall(r'^(?:"""``)?((?:.* \| )?python -m [^`\n]+)', text, re.MULTILINE)


def commands(path: Path) -> Iterator[list[str]]:
    """The words of each command; the commands in a loop or a pipe are separate."""
    for line in shell_lines(path):
        lexer = shlex.shlex(line.replace("$seed", "0"), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:
            continue  # a diagram or a formula with a single quotation mark
        command: list[str] = []
        for word in [*words, ";"]:
            if not set(word) <= set("();<>|&"):
                command.append(word)
                continue
            while command and (command[0] == "do" or re.match(r"[A-Z_]+=", command[0])):
                del command[0]
            if command:
                yield command
            command = []


def typed(*program: str) -> list[Any]:
    """The distinct arguments with which ``program`` is started, as parameters of a test."""
    count = len(program)
    found = {
        tuple(words[count:]): None
        for path in WRITTEN
        for words in commands(path)
        # The tutorial's own members are made on the way: tests/test_tutorial.py.
        if tuple(words[:count]) == program and "--config-dir" not in words
    }
    return [pytest.param(words, id=" ".join(words) or "alone") for words in found]


def first_of_search(override: Override) -> str:
    """The override with the first of its searched values."""
    if not override.is_sweep_override():
        return str(override.input_line)
    if isinstance(value := override.value(), IntervalSweep):
        return f"{override.get_key_element()}={value.start}"
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


def test_commands_are_found_in_every_kind_of_document() -> None:
    found = {str(path.relative_to(REPOSITORY)): list(commands(path)) for path in WRITTEN}
    run, convert = ["python", "-m", "cvae.run"], ["python", "-m", "cvae.convert"]
    assert [*run, "anneal=cyclical"] in found["README.md"]
    assert [*run, "-m", "sweep=pareto"] in found["docs/scores.md"]
    assert [*run, "anneal=free_bits"] in found["configs/anneal/free_bits.yaml"]
    assert [*convert, "outputs/my_run", "--to", "third"] in found["cvae/convert.py"]  # in a pipe
    (_, loop) = [words for words in found["docs/scores.md"] if "threads=1" in words]
    assert loop[:3] == run and loop[-1] == "hydra.run.dir=multirun/scores_best_large/seed_0"
    (ray,) = [words for words in found["docs/scale-out.md"] if "hydra/launcher=ray" in words]
    assert ray[-1] == "hydra.sweeper.n_jobs=2"  # after a continuation line
    assert ["pytest", "-m", "slow"] in found["CONTRIBUTING.md"]


@pytest.mark.parametrize("words", typed("python", "-m", "cvae.run"))
def test_every_run_composes_and_passes_the_check(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for launcher, plugin in PLUGIN_OF_LAUNCHER.items():
        if f"hydra/launcher={launcher}" in words:
            pytest.importorskip(f"hydra_plugins.{plugin}")
    monkeypatch.setenv("CVAE_STORAGE_URL", "postgresql+psycopg2://user:password@host/database")
    overrides = OverridesParser.create().parse_overrides([word for word in words if "=" in word])
    flags = {word for word in words if "=" not in word}
    assert flags <= {"-m", "--cfg", "job", "[GROUP=MEMBER]", "[KEY=VALUE]", "..."}
    if any(override.is_sweep_override() for override in overrides):
        assert "-m" in words
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        composed = hydra.compose(
            "config", [first_of_search(each) for each in overrides], return_hydra_config=True
        )
    OmegaConf.to_container(composed.hydra.sweeper, resolve="-m" in words)
    ours = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    settings = OmegaConf.to_container(ours, resolve=True)
    assert isinstance(settings, dict)
    check({str(key): value for key, value in settings.items()})


@pytest.mark.parametrize(
    ("module", "words"),
    [
        pytest.param(module, *each.values, id=f"{module} {each.id}")
        for module in ("convert", "calibrate", "generate", "interpolate", "explore", "compare")
        for each in typed("python", "-m", f"cvae.{module}")
    ],
)
def test_every_other_command_is_understood(module: str, words: tuple[str, ...]) -> None:
    parser = importlib.import_module(f"cvae.{module}")._parser()
    try:
        parser.parse_intermixed_args(words) if module == "convert" else parser.parse_args(words)
    except SystemExit:
        # The usage in a docstring's title, or the name alone in a sentence.
        assert words == ()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_script_and_test_named_in_a_command_exists(document: Path) -> None:
    for words in commands(document):
        started = words[1:] if words[0] in ("python", "pytest") else words[:1]
        scripts = [word for word in started if word.endswith((".py", ".sh"))]
        for script in scripts:
            assert (REPOSITORY / script).is_file(), words
        if words[0] == "python" and scripts:
            source = (REPOSITORY / scripts[0]).read_text() + (
                REPOSITORY / "benchmarks" / "measuring.py"
            ).read_text()
            for option in (word for word in words if word.startswith("--")):
                assert f'"{option}"' in source, words


def test_every_selection_of_the_reliability_table_selects_tests() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text()
    selections = re.findall(r"^\| .* \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(selections) > 10
    names = [
        name
        for module in ("test_faults.py", "test_load.py")
        for name in re.findall(
            r"^def (test_\w+)", (REPOSITORY / "tests/reliability" / module).read_text(), re.M
        )
    ]
    for selection in selections:
        assert any(selection in name for name in names), selection


def is_in_code(dotted: str) -> bool:
    """Whether ``module.name`` or ``module.name.attribute`` exists in the package."""
    module, *names = dotted.split(".")
    if module not in MODULES:
        return False
    found: Any = importlib.import_module(f"cvae.{module}")
    for name in names:
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_key_and_function_named_exists(document: Path) -> None:
    owners = "|".join({*SECTIONS, *GROUPS, *MODULES})
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(rf"`(?:cvae\.)?((?:{owners})(?:\.\w+)+)(?:[=(][^`\n]*)?`", text))
    keys = set(own_keys())
    files = {f"{module}.py" for module in MODULES} | FILES_OF_A_RUN
    assert not {name for name in named - files if name not in keys and not is_in_code(name)}


@cache
def anchors(document: Path) -> frozenset[str]:
    """GitHub's anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    for link in links:
        if link.startswith("https://"):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
