"""Values on the command line as a study of their own, instead of the study in the config.

`hydra.sweeper.default_study=GROUP=MEMBER` names the study that an application searches by default.
Values on the command line are then all that is varied: a grid, or a search if there is an interval
among them. With an override of GROUP, on the command line or in a config that chooses another
member, they belong to that study instead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ._errors import SweepError

_LONGEST: Final = 80
_DIGEST: Final = 8
_PLAIN: Final = re.compile(r"[\w.@]+=[\w.,()]+", re.ASCII)


def has_own_study(
    overrides: Sequence[str], choices: Mapping[str, Any], default_study: str | None
) -> bool:
    """Whether the overrides of the application are a study of their own.

    Args:
        overrides: of the command line, without Hydra's own.
        choices: the chosen member of each group.
        default_study: GROUP=MEMBER, or None if all values belong to the study in the config.

    Raises:
        SweepError: if several members of GROUP are given.
    """
    if default_study is None:
        return False
    group, equals, member = default_study.partition("=")
    if not (group and equals and member):
        raise SweepError(f"hydra.sweeper.default_study is {default_study!r}; allowed: GROUP=MEMBER")
    read = _read(overrides)
    for override in read:
        if override.key_or_group == group:
            if override.is_sweep_override():
                raise SweepError(f"{override.input_line}: one study at a time")
            return False
    return choices.get(group) == member and any(each.is_sweep_override() for each in read)


def is_grid(overrides: Sequence[str]) -> bool:
    """Whether only finite sets are varied (values, ranges, members), and no interval."""
    return not any(isinstance(each._value, IntervalSweep) for each in _read(overrides))


def name_of(overrides: Sequence[str], ignore: Iterable[str]) -> str:
    """A name for the study of these overrides, in any order, that can name a directory.

    It has only characters without a special meaning to a shell or Hydra, and ends with a digest if
    different overrides could have the same name.

    Args:
        overrides: of the command line, without Hydra's own.
        ignore: keys that do not matter, with all keys below them.
    """
    texts = sorted(
        _without_spaces(str(override.input_line))
        for override in _read(overrides)
        if override.is_sweep_override() or not _is_ignored(override.key_or_group, ignore)
    )
    name = "+".join(map(_readable, texts))
    if len(name) <= _LONGEST and all(map(_PLAIN.fullmatch, texts)):
        return name
    digest = hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{name[: _LONGEST - _DIGEST - 1].rstrip('-+.')}-{digest[:_DIGEST]}"


def change_hydra(config: DictConfig, key: str, value: str) -> None:
    """Set a key of Hydra's as a command-line override does: for this process and for all jobs.

    The config of a job is composed anew, from these overrides and its own.
    """
    parent, _, name = key.rpartition(".")
    node, overrides = OmegaConf.select(config, parent), config.hydra.overrides
    # Hydra 1.4 marks the nodes themselves read-only, 1.3 the root.
    with read_write(node), read_write(overrides), open_dict(node), open_dict(overrides):
        node[name] = value
        overrides.hydra.append(f"{key}={value}")


def _read(overrides: Iterable[str]) -> list[Override]:
    """The overrides that can be parsed; the others are reported when the space is read."""
    parser = OverridesParser.create()
    read = []
    for text in overrides:
        try:
            read.append(parser.parse_override(text))
        except Exception:  # the parser lets any through: of decimals, of recursion
            continue
    return read


def _is_ignored(key: str, ignore: Iterable[str]) -> bool:
    return any(key == entry or key.startswith(f"{entry}.") for entry in ignore)


def _without_spaces(text: str) -> str:
    return text if re.search("[\"'\\\\]", text) else "".join(text.split())


def _readable(text: str) -> str:
    key, _, value = text.partition("=")
    value = re.sub(r"^choice\((.*)\)$", r"\1", value)
    return "-".join(re.findall(r"[\w.@]+", f"{key}={value}", re.ASCII))
