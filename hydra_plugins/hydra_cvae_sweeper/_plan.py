"""What a sweep is going to do, read from its config and checked before anything is written.

A mistake ends the sweep here, as one message, and not as a row of failed trials.
"""

from __future__ import annotations

import functools
import importlib
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import BaseDistribution

from ._check import Check
from ._confirm import Confirmation, check_confirm
from ._errors import SweepError
from ._halving import Halving, read_halving
from ._jobs import JobConfigs, application_config, hydra_overrides
from ._nursery import one_line
from ._search import all_values, read_overrides
from ._space import Grid, Space, make_space, spaced
from ._start import Start, starting_point

NO_PRUNER: Final = {"_target_": "optuna.pruners.NopPruner"}
_MOST_CHECKS: Final = 16  # combinations of groups' members that are composed before the first trial

# Keys that a sweep does not look at, and what to write instead.
_WITHOUT_EFFECT: Final = {
    "hydra.run.": "hydra.sweep.dir and hydra.sweep.subdir say where trials lie",
    "hydra.job.num": "trials are numbered by their study",
    "hydra.job.id": "trials are numbered by their study",
}

Note = tuple[int, str]
"""A level of logging and a message."""


@dataclass(frozen=True)
class Request:
    """What a sweep was asked for.

    Attributes:
        config: the sweep's config, with Hydra's part.
        settings: hydra.sweeper.
        arguments: the overrides of the command line.
        params: the overrides of hydra.sweeper.params.
        distributions: those of hydra.sweeper.search_space.
        directions: as they were written.
        is_grid: whether the values on the command line make a grid.
        is_persistent: whether the study has a database.
    """

    config: DictConfig
    settings: Mapping[str, Any]
    arguments: Sequence[str]
    params: Sequence[str]
    distributions: Mapping[str, BaseDistribution]
    directions: Sequence[str]
    is_grid: bool
    is_persistent: bool


@dataclass(frozen=True)
class Plan:
    """What a sweep does.

    Attributes:
        directory: of the sweep, absolute.
        directions: ``minimize`` or ``maximize`` for each objective.
        space: what is varied and what is fixed.
        grid: its points, if the sweep is a grid.
        pruner: the config of the study's pruner.
        has_own_names: whether hydra.sweep.subdir names the trials' directories.
        confirmation: how the best trials are repeated, if they are.
        halving: how trials are stopped and continued, if they are.
        start: the configuration as composed, if it is the first trial.
        notes: what to log before the first trial.
        inputs: what the application's check returned.
    """

    directory: str
    directions: Sequence[str]
    space: Space
    grid: Grid | None = None
    pruner: Mapping[str, Any] = field(default_factory=lambda: NO_PRUNER)
    has_own_names: bool = False
    confirmation: Confirmation | None = None
    halving: Halving | None = None
    start: Start | None = None
    notes: Sequence[Note] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        """-1 where larger values of the first objective are better."""
        return _sign(self.directions)


def make_plan(request: Request, configs: JobConfigs) -> Plan:
    """Read and check everything that needs neither a file nor the database.

    Raises:
        SweepError: at the first mistake.
        HydraException, OmegaConfBaseException: if a trial's config cannot be composed.
    """
    settings = request.settings
    directions = _directions(request.directions)
    space = _space(request, configs)
    grid = _grid(request, space)
    pruner = _pruner(request.config.hydra.sweeper.pruner, is_grid=grid is not None)
    has_own_names = configs.are_named()
    notes: list[Note] = []
    check = Check(_function_of(settings["check"]), notes)
    _check_composition(space, configs, check, has_own_names)
    # Trials are compared with each other, to stop some and to repeat others.
    is_ranked = grid is None and len(directions) == 1
    sign = _sign(directions)
    confirmation = _confirmation(request, space, configs, sign) if is_ranked else None
    least = 1 if confirmation is None else confirmation.best
    halving = read_halving(settings["halving"], least, sign)
    start = None
    if settings["start_as_composed"] and grid is None and not settings["custom_search_space"]:
        try:
            start = _start(space, configs, check)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            why = one_line(error)
            notes.append((logging.WARNING, f"not begun with the config as composed: {why}"))
    plan = Plan(
        directory=os.path.abspath(str(request.config.hydra.sweep.dir)),
        directions=directions,
        space=space,
        grid=grid,
        pruner=pruner,
        has_own_names=has_own_names,
        confirmation=confirmation,
        halving=halving if is_ranked and request.is_persistent else None,
        start=start,
        notes=notes,
        inputs=check.inputs,
    )
    notes += [(logging.WARNING, text) for text in _ignored(request, plan, is_ranked)]
    return plan


def _directions(given: Sequence[str]) -> list[str]:
    directions = [str(direction) for direction in given]
    for direction in directions:
        if direction not in ("minimize", "maximize"):
            raise SweepError(
                f"hydra.sweeper.direction is {direction}; allowed: minimize, maximize, or a "
                "list of them"
            )
    return directions


def _sign(directions: Sequence[str]) -> int:
    return -1 if directions[0] == "maximize" else 1


def _space(request: Request, configs: JobConfigs) -> Space:
    loader, arguments = configs.loader, request.arguments
    texts = [*request.params, *arguments]
    space = make_space(read_overrides(texts, loader), request.distributions)
    for condition, keys in (request.settings["conditional"] or {}).items():
        parsed = read_overrides([f"{key}={value}" for key, value in keys.items()], loader)
        space.conditional[condition] = make_space(parsed, {}).distributions
        space.exact |= parsed.exact
    if space.conditional:
        space.replace_conditional(read_overrides(arguments, loader).distributions)
    return space


def _grid(request: Request, space: Space) -> Grid | None:
    target = str(request.config.hydra.sweeper.sampler.get("_target_"))
    if not request.is_grid and target.rpartition(".")[2] != "GridSampler":
        return None
    values_of = functools.partial(_grid_values, request.settings["grid_points"])
    for keys in space.conditional.values():
        for key, kind in keys.items():
            values_of(key, kind)  # refuse an interval now, not at the first point that has it
    return space.grid(values_of)


def _grid_values(points: int | None, key: str, distribution: BaseDistribution) -> Sequence[Any]:
    values = all_values(distribution)
    if values:
        return values
    if points is not None:
        return spaced(distribution, int(points))
    low, high = (getattr(distribution, end) for end in ("low", "high"))
    ends = f"{low:g},{high:g}"
    cure = f"int(interval({ends})), " if float(low) % 1 == float(high) % 1 == 0 else ""
    raise SweepError(
        f"{key}: a grid has no values for an interval of real numbers; write {cure}"
        f"range({ends},STEP) or choice(...), or set hydra.sweeper.grid_points"
    )


def _pruner(config: DictConfig, *, is_grid: bool) -> dict[str, Any]:
    if is_grid:  # a grid is run to see all of it
        return NO_PRUNER
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    if not str(container.get("_target_")).startswith("optuna.pruners."):
        raise SweepError("hydra.sweeper.pruner._target_ must name a class of optuna.pruners")
    return {str(key): value for key, value in container.items()}


def _check_composition(
    space: Space, configs: JobConfigs, check: Check, has_own_names: bool
) -> None:
    """Compose the configs of some points of the space, and give each to the application's check."""
    groups = [
        key
        for key, kind in space.distributions.items()
        if len(all_values(kind)) > 1 and configs.is_group(key)
    ]
    points = space.checks(groups, _MOST_CHECKS)
    for point in points:
        overrides = space.overrides(point)
        sampled = " ".join(overrides[: len(point)])
        where = f"in a trial with {sampled}" if sampled else "in every trial"
        try:
            composed = configs.compose(overrides)
            if has_own_names:
                configs.directory_name(composed)
            check(application_config(composed))
        except SweepError:
            raise
        except (HydraException, OmegaConfBaseException) as error:
            error.add_note(where)
            raise
        except ValueError as error:
            faults = "; ".join(str(error).splitlines())
            raise SweepError(f"{faults} ({where})") from error
    if groups:
        size = math.prod(len(all_values(space.distributions[key])) for key in groups)
        checked = f"{min(len(points), size)} of {size} combinations of the members of"
        check.notes.append(
            (logging.INFO, f"checked before the start: {checked} {', '.join(groups)}")
        )


def _confirmation(
    request: Request, space: Space, configs: JobConfigs, sign: int
) -> Confirmation | None:
    settings = request.settings["confirm"]
    if not settings:
        return None
    key = str(settings["key"])
    varied = {*space.distributions, *space.conditional_keys()}
    if key in varied or not check_confirm(settings, OmegaConf.select(request.config, key)):
        return None

    def reseeded(overrides: Sequence[str], more: int) -> list[str]:
        seed = OmegaConf.select(configs.compose(overrides), key)
        others = [text for text in overrides if text.partition("=")[0].lstrip("+") != key]
        return [*others, f"{key}={seed + more}"]

    return Confirmation(settings["best"], settings["seeds"], reseeded, sign)


def _start(space: Space, configs: JobConfigs, check: Check) -> Start | None:
    """Return the configuration as composed, as the first trial."""
    composed = configs.compose(space.overrides({}))
    start = starting_point(space, functools.partial(configs.value, composed))
    if start is not None:
        check(application_config(composed))
    return start


def _ignored(request: Request, plan: Plan, is_ranked: bool) -> list[str]:
    """Return a line for each setting that has no effect on this sweep."""
    settings = request.settings
    given = [text.lstrip("+") for text in hydra_overrides(request.config)]
    lines = [
        f"{text.partition('=')[0]} has no effect on a sweep: {instead}"
        for text in given
        for key, instead in _WITHOUT_EFFECT.items()
        if text.startswith(key)
    ]
    of_ranks = (
        *("hydra/sweeper/pruner=", "hydra.sweeper.pruner."),
        *("hydra.sweeper.halving", "hydra.sweeper.confirm"),
    )
    without = {
        "a grid": (*of_ranks, "hydra.sweeper.seed=") if plan.grid is not None else (),
        "several directions": of_ranks if len(plan.directions) > 1 else (),
    }
    lines += [
        f"{text.partition('=')[0]} has no effect on a sweep with {what}"
        for text in given
        for what, keys in without.items()
        if text.startswith(keys)
    ]
    prunes = bool(settings["halving"] and settings["halving"]["rungs"])
    prunes |= not str(plan.pruner["_target_"]).endswith(".NopPruner")
    if prunes and not request.is_persistent:
        lines.append("no trial is pruned: that needs hydra.sweeper.storage")
    confirm = settings["confirm"]
    if is_ranked and confirm and confirm["best"] and plan.confirmation is None:
        lines.append(f"the best are not repeated: the search varies {confirm['key']}")
    return lines


def _function_of(path: str | None) -> Callable[[dict[str, Any]], Any] | None:
    """Return the function that hydra.sweeper.check names."""
    if path is None:
        return None
    module, _, name = str(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SweepError(f"hydra.sweeper.check={path}: {one_line(error)}") from error
    if not callable(found):
        raise SweepError(f"hydra.sweeper.check={path}: it is no function")
    function: Callable[[dict[str, Any]], Any] = found
    return function
