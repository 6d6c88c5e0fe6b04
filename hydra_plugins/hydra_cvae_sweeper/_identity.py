"""The identity of a study: its directions, its space, the application's config and its input.

Trials of different configurations cannot be compared, so a study is not continued with another
configuration, and the message names the first difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ._errors import SweepError
from ._space import Space

_ATTRIBUTE = "identity"
_ABSENT = "absent"
_INPUT = "input"  # what hydra.sweeper.check told: digests of input files, say


def identity_of(
    config: DictConfig,
    space: Space,
    directions: Sequence[str],
    custom_search_space: str | None,
    ignore: Sequence[str],
    inputs: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """The identity as four flat tables of texts, which can be stored and compared."""
    with read_write(config), open_dict(config):
        task = {key: config._get_node(key) for key in config if key != "hydra"}
    content = OmegaConf.to_container(OmegaConf.create(task), resolve=False)
    varied = {key: str(value) for key, value in space.distributions.items()}
    for condition, distributions in space.conditional.items():
        varied |= {f"{condition}: {key}": str(value) for key, value in distributions.items()}
    if custom_search_space:
        varied["custom_search_space"] = custom_search_space
    fixed = {
        key: value
        for key, value in _flat(content, "")
        if key not in space.distributions and not _is_ignored(key, ignore)
    }
    return {
        "direction": {"direction": " ".join(directions)},
        "search space": varied,
        "configuration": fixed,
        _INPUT: dict(inputs),
    }


def check_identity(study: optuna.study.Study, mine: dict[str, dict[str, str]]) -> None:
    """Store the identity in a new study, or compare it with that of an existing one."""
    stored = study.user_attrs.get(_ATTRIBUTE)
    if stored is None:
        study.set_user_attr(_ATTRIBUTE, mine)
        return
    for what, table in mine.items():
        known = stored.get(what, {})
        if what == _INPUT:
            # What was not known before, of an older study or of a file that was missing, is taken.
            table, known = {**known, **table}, {**table, **known}
        differences = _differences(known, table)
        if differences:
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            raise SweepError(
                f"study {study.study_name!r} was begun with another {what}: {differences[0]}"
                f"{more}; go back to it, or begin a new study with hydra.sweeper.study_name=NAME"
            )
    more_inputs = {**stored.get(_INPUT, {}), **mine.get(_INPUT, {})}
    if more_inputs != stored.get(_INPUT, {}):
        study.set_user_attr(_ATTRIBUTE, {**stored, _INPUT: more_inputs})


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    keys = [*old, *(key for key in new if key not in old)]
    return [
        f"{key} was {_short(old.get(key, _ABSENT))}, is {_short(new.get(key, _ABSENT))}"
        for key in keys
        if old.get(key) != new.get(key)
    ]


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _flat(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        pairs: list[tuple[str, str]] = []
        for key, inner in value.items():
            pairs += _flat(inner, f"{path}.{key}" if path else str(key))
        return pairs
    return [(path, json.dumps(value, default=str))]


def _is_ignored(key: str, ignore: Sequence[str]) -> bool:
    return any(key == entry or key.startswith(entry + ".") for entry in ignore)
