"""Opening a sweep's study: a new one, or the one that an earlier command began."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import hydra.utils
import optuna
from omegaconf import DictConfig, OmegaConf

from ._errors import SweepError
from ._identity import check_identity, identity_of
from ._plan import Plan
from ._storage import StudyStorage

log = logging.getLogger(__package__)


def open_study(
    name: str, storage: StudyStorage, config: DictConfig, settings: Mapping[str, Any], plan: Plan
) -> optuna.study.Study:
    """Return the study with its sampler and pruner.

    Args:
        name: of the study.
        storage: where it is.
        config: the sweep's.
        settings: hydra.sweeper.
        plan: what the sweep does.

    Raises:
        SweepError: if the study was begun with other directions, another space or another config.
    """
    identity = identity_of(
        config,
        plan.space,
        plan.directions,
        config.hydra.sweeper.custom_search_space,
        list(settings["identity_ignore"] or []),
        plan.inputs,
    )
    # Two workers that start at once would otherwise both create the tables.
    with storage.lock("open"):
        study = _load_or_create(name, storage.open(), plan.directions)
        check_identity(study, identity)
        if not study.trials and storage.is_below(plan.directory):
            _warn_of_other_studies(study)
        worker = _number_worker(study, settings["worker"])
    if plan.grid is not None:
        study.sampler = optuna.samplers.RandomSampler()  # only for keys that are not in the grid
    else:
        trials = len(study.get_trials(deepcopy=False))
        study.sampler = _sampler(config, settings["seed"], trials + 7919 * worker)
    study.pruner = _instantiate(plan.pruner, "optuna.pruners.*")
    return study


def _load_or_create(
    name: str, storage: optuna.storages.BaseStorage, directions: Sequence[str]
) -> optuna.study.Study:
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return optuna.create_study(study_name=name, storage=storage, directions=list(directions))
    begun = [direction.name.lower() for direction in study.directions]
    if begun != list(directions) and begun != ["not_set"]:
        raise SweepError(
            f"study {name!r} was begun with another direction: was {' '.join(begun)}, is "
            f"{' '.join(directions)}; begin a new study with hydra.sweeper.study_name=NAME"
        )
    return study


def _warn_of_other_studies(study: optuna.study.Study) -> None:
    """A sweep's directory that was renamed holds its study under the former name."""
    summaries = optuna.study.get_all_study_summaries(storage=study._storage)
    others = [one.study_name for one in summaries if one.study_name != study.study_name]
    if others:
        log.warning(
            "study %s is begun in a file that holds study %s; "
            "hydra.sweeper.study_name=%s continues that one",
            study.study_name,
            others[0],
            others[0],
        )


def _number_worker(study: optuna.study.Study, given: int | None) -> int:
    if given is not None:
        return int(given)
    number = int(study.user_attrs.get("workers", 0))
    study.set_user_attr("workers", number + 1)
    return number


def _sampler(config: DictConfig, seed: int | None, offset: int) -> optuna.samplers.BaseSampler:
    """Return the configured sampler.

    ``offset`` differs between workers and between starts, so that no two draw the same numbers.
    """
    settings = OmegaConf.to_container(config.hydra.sweeper.sampler, resolve=True)
    assert isinstance(settings, dict)
    if "seed" in settings and settings["seed"] is None:
        settings["seed"] = seed
    if settings.get("seed") is not None:
        settings["seed"] = (int(settings["seed"]) + offset) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = _instantiate(
            settings,
            "optuna.samplers.*",
            "hydra_plugins.hydra_optuna_sweeper.*",
            "hydra_plugins.hydra_cvae_sweeper.*",
        )
    assert isinstance(sampler, optuna.samplers.BaseSampler)
    return sampler


def _instantiate(config: Mapping[Any, Any], *allowed: str) -> Any:
    """Hydra's instantiate; from 1.4 on it must be told what may be instantiated."""
    parameters = inspect.signature(hydra.utils.instantiate).parameters
    if "_execution_whitelist_" in parameters:
        return hydra.utils.instantiate(dict(config), _execution_whitelist_=allowed)
    return hydra.utils.instantiate(dict(config))
