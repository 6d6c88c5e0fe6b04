"""The command line of ``cvae.run``: parsing it as Hydra does, and one line for each mistake."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from cvae.config import GROUPS, SECTIONS, TOP, ConfigError
from cvae.ranges import did_you_mean

# Hydra 1.4 deprecates the parameter and behaves so without it; 1.3 warns where it is missing.
VERSION_BASE: Final[dict[str, Any]] = (
    {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
)

# The database's URL including its password; see configs/storage/postgresql.yaml.
_STORAGE_VARIABLE: Final = "CVAE_STORAGE_URL"

# Launchers whose Hydra plugin must be installed: the extra that installs it.
_EXTRAS: Final = {
    "joblib": "joblib",
    "ray": "ray",
    "submitit_slurm": "slurm",
    "submitit_local": "slurm",
}

# Overrides that only affect a search.
_OF_A_SEARCH: Final = (
    "hydra.sweep", "hydra.launcher", "hydra/sweeper", "hydra/launcher", "storage",
)  # fmt: skip


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse Hydra's options and overrides, in any order; raises ``ConfigError``.

    Hydra itself does not accept an option after an override, and prints its whole usage for an
    unknown option.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError([f"{message}; --help and --hydra-help list the options"])

    parser.error = refuse  # type: ignore[method-assign]
    known, unknown = parser.parse_known_intermixed_args(list(arguments))
    for option in unknown:
        text = option.lstrip("-")
        hint = f"write {text}" if "=" in text else "--help and --hydra-help list the options"
        raise ConfigError([f"{option}: there is no such option; {hint}"])
    return known


def in_hydras_order(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the arguments with the options first, as Hydra needs them."""
    return [*(text for text in arguments if text not in overrides), *overrides]


def check_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that search nothing; raise ``ConfigError`` if one cannot be read."""
    parser = OverridesParser.create()
    single = []
    for override in overrides:
        try:
            read = parser.parse_override(override)
        except HydraException as error:
            raise ConfigError([_unreadable(override)]) from error
        if not read.is_sweep_override():
            single.append(override)
    return single


def _unreadable(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or not key:
        return (
            f"{override!r} is not an override; write GROUP=MEMBER or KEY=VALUE, without spaces "
            "around ="
        )
    if not override.isprintable():
        return f"{override!r} cannot be read: it contains unprintable characters"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"{key}: the value {value!r} cannot be read; text with special characters needs quotes "
        f"inside quotes: '{key}=\"{escaped}\"'"
    )


def only_for_a_search(composed: DictConfig, overrides: Sequence[str]) -> str | None:
    """What was given that does not affect a single run, or None."""
    choices = composed.hydra.runtime.choices
    if choices.sweep == "base":
        return f"experiment={choices.experiment}"
    if choices.sweep != "default":
        return f"sweep={choices.sweep}"
    return next((text for text in overrides if text.lstrip("+").startswith(_OF_A_SEARCH)), None)


def explained(error: Exception, config_directory: Path) -> str:
    """Hydra's message on one line, with what is allowed and a suggestion."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
    return _explained(error, config_directory) + notes


def _explained(error: Exception, config_directory: Path) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if found := re.match(r"Could not override '(.+?)'", text):
        return f"{found[1]}: {_no_such_key(found[1], config_directory)}"
    if found := re.match(r"Error merging override (\S+)$", text):
        cause = str(error.__cause__).strip().splitlines()
        return f"{found[1]}: {cause[0] if cause else 'the value does not fit'}"
    if found := re.match(r"Ambiguous value for argument '(.*?)'", text):
        return (
            f"{found[1]}: one run takes one value; -m runs each of them, as a study of their own "
            "(a single value with commas needs quotes)"
        )
    if found := re.match(r"Sweep parameters '(.*)' requires --multirun", text):
        return f"{found[1]}: one run takes one value; -m searches it, as a study of its own"
    variable = re.search(r"Environment variable '(\w+)' not found", text)
    if variable and variable[1] == _STORAGE_VARIABLE:
        return (
            f"storage=postgresql needs the environment variable {_STORAGE_VARIABLE}; for example "
            f"export {_STORAGE_VARIABLE}=postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE"
        )
    if found := re.match(
        r"In '.*?': Could not find '(\S+)/(\S*)' Available options in '\S+': (.*)", text
    ):
        return _no_such_member(found[1], found[2], found[3].split(" Config search path")[0].split())
    return text


def _no_such_member(group: str, member: str, names: Sequence[str]) -> str:
    if group == "hydra/launcher" and member in _EXTRAS:
        return (
            f"{group}={member}: its package is not installed; "
            f"pip install -e '.[{_EXTRAS[member]}]' -c constraints.txt"
        )
    hint = did_you_mean(member, names)
    return f"{group}={member}: there is no such member; {hint}allowed: {', '.join(names)}"


def _no_such_key(key: str, config_directory: Path) -> str:
    group, _, name = key.partition(".")
    with hydra.initialize_config_dir(config_dir=str(config_directory), **VERSION_BASE):
        if group in GROUPS:
            members = sorted(path.stem for path in (config_directory / group).glob("*.yaml"))
            having = [
                f"{group}={member}"
                for member in members
                if name in hydra.compose("config", [f"{group}={member}"])[group].keys()  # noqa: SIM118
            ]
            if having:
                return f"the chosen {group} has no such key; it is one of {' and '.join(having)}"
        known = list(_hydras_keys() if group == "hydra" else own_keys())
    hint = did_you_mean(key, known) or f"known: {', '.join(GROUPS)}, ... "
    shows = "hydra" if group == "hydra" else "job"
    return f"there is no such key; {hint}(python -m cvae.run --cfg {shows} shows all)"


def own_keys() -> Iterator[str]:
    """The groups, and every dotted key that any of their members has; without Hydra's keys."""
    yield from (*GROUPS, *SECTIONS, *TOP)
    yield from ("experiment", "base", "change", "debug", "sweep", "storage")
    for section, node in SECTIONS.items():
        yield from (f"{section}.{key}" for key in node)
    for group, members in GROUPS.items():
        yield from (f"{group}.{key}" for node in members.values() for key in node)


def _hydras_keys() -> Iterator[str]:
    composed = hydra.compose("config", return_hydra_config=True)
    node = OmegaConf.to_container(composed.hydra, resolve=False)
    assert isinstance(node, dict)
    yield from _dotted("hydra", node)


def _dotted(prefix: str, node: Mapping[Any, Any]) -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _dotted(f"{prefix}.{key}", value)
