"""What every config key may be, and the check of a whole config with all errors at once.

Nothing here imports torch: a mistake in a config must show before that second is spent. Hydra
has already refused keys that no config file declares; this looks at everything that remains,
values first, but also keys forced in with ``+``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from cvae.alphabet import TENSES
from cvae.ranges import (
    FLAG,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    TEXT,
    Range,
    did_you_mean,
    number,
    one_of,
    or_null,
    whole_number,
)
from cvae.schedules import KL_WEIGHTS, KNOBS, TEACHER_FORCING, knobs_of

Node = Mapping[str, Range]

_SHOWN: Final = 100
_MOST_GRID_NUMBERS: Final = 2**27  # with Adam's two beside each and its gradient, 2 GiB
_SIZE: Final = whole_number(1, 4096)
_FRACTION_BELOW_1: Final = number("a number in [0, 1)", lambda value: 0.0 <= value < 1.0)


def _is_tense_pairs(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(tense) is int and 0 <= tense < len(TENSES) for tense in pair)
        for pair in value
    )


_OPTIMIZER: Final[Node] = {
    "algorithm": one_of(("adam", "sgd")),
    "encoder_lr": POSITIVE,
    "decoder_lr": POSITIVE,
    "prior_lr": POSITIVE,
    "momentum": _FRACTION_BELOW_1,
    "schedule": one_of(("constant", "one_cycle")),
    "encoder_step_epochs": whole_number(0, 100_000),
    "encoder_step_gamma": POSITIVE,
    "gradient_clip": NOT_NEGATIVE,
}

_CONVERSIONS: Final[Node] = {"conversions": one_of(("unseen", "seen"))}
_BOTH_PARTS: Final[Node] = {**_CONVERSIONS, "generation": one_of(("variety", "share"))}

GROUPS: Final[Mapping[str, Mapping[str, Node]]] = {
    "data": {
        "common": {},
        "large": {},
        "files": {
            "train_path": TEXT,
            "test_path": or_null(TEXT),
            "test_tenses": Range(
                "a list of [source, target] tenses, each a whole number in [0, 3]", _is_tense_pairs
            ),
            "dev_count": whole_number(0, 100_000),
        },
    },
    "model": {
        "report": {
            "latent_size": _SIZE,
            "condition_size": _SIZE,
            "hidden_size": _SIZE,
            "feedback": one_of(("output", "symbol")),
        },
        "default": {
            "latent_size": _SIZE,
            "word_latent_size": whole_number(0, 4096),
            "hidden_size": _SIZE,
            "encoder_hidden_size": _SIZE,
            "embedding_size": _SIZE,
            "condition_size": _SIZE,
            "prior_hidden_size": _SIZE,
            "prior_layer_count": whole_number(1, 16),
            "grid_size": whole_number(2, 1024),
            "grid_levels": whole_number(0, 10),
            "grid_features": whole_number(1, 256),
        },
    },
    "anneal": {
        name: {key: KNOBS[key] for key in knobs_of(KL_WEIGHTS, name)} for name in KL_WEIGHTS
    },
    "teacher_forcing": {
        name: {key: KNOBS[key] for key in knobs_of(TEACHER_FORCING, name)}
        for name in TEACHER_FORCING
    },
    "optim": {"one_cycle": _OPTIMIZER, "adam": _OPTIMIZER, "sgd": _OPTIMIZER, "report": _OPTIMIZER},
    "objective": {
        "weighted": {
            "bleu_weight": NOT_NEGATIVE,
            "gaussian_weight": NOT_NEGATIVE,
            **_BOTH_PARTS,
        },
        "bleu": _CONVERSIONS,
        "gaussian": _BOTH_PARTS,
        "pareto": _BOTH_PARTS,
    },
}
"""Config groups: their members by the key ``name``, and each member's keys."""

SECTIONS: Final[Mapping[str, Node]] = {
    "training": {
        "epochs": whole_number(1, 1_000_000),
        "batch_size": whole_number(1, 1_000_000),
        "reduction": one_of(("sum", "mean")),
        "pairs": one_of(("same", "cross")),
        "hallucination_share": SHARE,
        "hallucination_start_share": SHARE,
        "hallucination_kept_letters": whole_number(0, 24),
        "character_dropout": _FRACTION_BELOW_1,
        "word_kl_weight": NOT_NEGATIVE,
        "prior_start": SHARE,
        "partition_start": SHARE,
        "coverage_start": SHARE,
        "coverage_draws": whole_number(0, 1_000_000),
        "coverage_weight": NOT_NEGATIVE,
        "code_steps": whole_number(0, 1000),
        "code_draws": whole_number(1, 1_000_000),
    },
    "evaluation": {
        "every_epochs": whole_number(1, 1_000_000),
        "draws": whole_number(1, 1_000_000),
        "importance_samples": whole_number(1, 100_000),
        "keep": one_of(("best", "last")),
        "test": FLAG,
        "latent_places": whole_number(0, 256),
    },
}

TOP: Final[Node] = {
    "seed": whole_number(0, 2**31 - 1),
    "device": one_of(("cpu", "cuda")),
    "threads": or_null(whole_number(1, 1024)),
}


class ConfigError(ValueError):
    """A config that cannot be run; the message has one line per fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[list[str]]]:
        # A trial's error travels from another process; the default would pass the message.
        return type(self), (self.faults,)


def check(config: Mapping[str, Any]) -> None:
    """Check a resolved config.

    Args:
        config: nested plain dicts, as ``OmegaConf.to_container`` gives them.

    Raises:
        ConfigError: all faults at once, each with key, value and what is allowed.
    """
    faults = _unknown("", config, [*GROUPS, *SECTIONS, *TOP])
    for key, allowed in TOP.items():
        faults += _value(key, config, key, allowed)
    for section, node in SECTIONS.items():
        faults += _node(section, config.get(section), node)
    for group, members in GROUPS.items():
        faults += _member(group, config.get(group), members)
    faults += _together(config) if not faults else []
    if faults:
        raise ConfigError(faults)


def shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "too long a number"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _member(group: str, found: object, members: Mapping[str, Node]) -> list[str]:
    if not isinstance(found, Mapping):
        what = "is missing" if found is None else f"is {shown(found)}, no member"
        return [f"{group} {what}; choose one: {', '.join(members)}"]
    name = found.get("name")
    if not isinstance(name, str) or name not in members:
        return [f"{group}.name is {shown(name)}; allowed: one of {', '.join(members)}"]
    return _node(group, found, {"name": one_of(members), **members[name]})


def _node(path: str, found: object, allowed: Node) -> list[str]:
    if not isinstance(found, Mapping):
        what = "is missing" if found is None else f"is {shown(found)}, no section"
        return [f"{path} {what}; it holds {', '.join(allowed)}"]
    faults = _unknown(f"{path}.", found, list(allowed))
    for key, range_ in allowed.items():
        faults += _value(f"{path}.{key}", found, key, range_)
    return faults


def _value(path: str, found: Mapping[str, Any], key: str, allowed: Range) -> list[str]:
    if key not in found:
        return [f"{path} is missing; allowed: {allowed.words}"]
    if found[key] == "???":
        return [f"{path} has no value yet; give it as {path}=..., allowed: {allowed.words}"]
    if not allowed.holds(found[key]):
        return [f"{path} is {shown(found[key])}; allowed: {allowed.words}"]
    return []


def _unknown(prefix: str, found: Mapping[str, Any], allowed: list[str]) -> list[str]:
    faults = []
    for key in found:
        if key not in allowed:
            hint = did_you_mean(str(key)[:_SHOWN], allowed, prefix=prefix)
            name = str(key) if str(key).isprintable() and len(str(key)) <= _SHOWN else shown(key)
            faults.append(
                f"{prefix}{name}: there is no such key; {hint}allowed: {', '.join(allowed)}"
            )
    return faults


def _together(config: Mapping[str, Any]) -> list[str]:
    """Faults of values that are each in range but do not fit each other."""
    faults = []
    model, objective, forcing = config["model"], config["objective"], config["teacher_forcing"]
    if model["name"] == "report" and model["condition_size"] >= model["hidden_size"]:
        faults.append(
            f"model.condition_size is {model['condition_size']}; allowed: less than "
            f"model.hidden_size ({model['hidden_size']}), whose initial state it is part of"
        )
    if (
        objective["name"] == "weighted"
        and objective["bleu_weight"] + objective["gaussian_weight"] <= 0
    ):
        faults.append(
            "objective.bleu_weight and objective.gaussian_weight are both 0; "
            "allowed: at least one above 0"
        )
    if forcing["name"] == "linear" and forcing["ratio_end"] > forcing["ratio_start"]:
        faults.append(
            f"teacher_forcing.ratio_end is {forcing['ratio_end']}; allowed: at most "
            f"teacher_forcing.ratio_start ({forcing['ratio_start']}), a ratio decays"
        )
    planes = 1 if model["latent_size"] <= 2 else model["latent_size"]
    points = planes * model.get("grid_features", 0) * model.get("grid_size", 0) ** 2
    if model.get("word_latent_size") and model["grid_levels"] and points > _MOST_GRID_NUMBERS:
        faults.append(
            f"model.grid_size, model.grid_features and model.latent_size make {points:,} numbers; "
            f"allowed: at most {_MOST_GRID_NUMBERS:,} on the finest grid"
        )
    return faults + _phases(model, config["training"])


def _phases(model: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """A two-level model learns words, latent, generator and both together, in this order."""
    if not model.get("word_latent_size"):
        return []
    keys = ("prior_start", "partition_start", "coverage_start")
    return [
        f"training.{later} is {training[later]}; allowed: in a two-level model at least "
        f"training.{earlier} ({training[earlier]})"
        for earlier, later in pairwise(keys)
        if training[later] < training[earlier]
    ]
