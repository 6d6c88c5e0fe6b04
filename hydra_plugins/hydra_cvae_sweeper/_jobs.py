"""The configs of jobs, composed as Hydra composes them when it runs a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from ._errors import SweepError
from ._start import Absent

_DEFAULT_SUBDIR: Final = "${hydra.job.num}"  # of hydra.sweep.subdir
_ABSENT: Final = object()


class JobConfigs:
    """Composes the configs of a sweep's jobs.

    Args:
        context: Hydra's.
        config: the sweep's.
        extra: overrides that every job gets.
    """

    def __init__(self, context: HydraContext, config: DictConfig, extra: Sequence[str]) -> None:
        self.loader = context.config_loader
        self.extra = extra
        self._config = config

    def compose(self, overrides: Sequence[str], number: int = 0) -> DictConfig:
        """Return the config of job ``number``."""
        composed = self.loader.load_sweep_config(self._config, [*overrides, *self.extra])
        with open_dict(composed):
            composed.hydra.job.id = str(number)
            composed.hydra.job.num = number
        return composed

    def directory_name(self, composed: DictConfig) -> str:
        """Return the value of hydra.sweep.subdir in a job's config."""
        former = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(composed)  # for ${hydra:...}
        try:
            name = str(composed.hydra.sweep.subdir)
        finally:
            HydraConfig.instance().cfg = former
        normal = os.path.normpath(name)
        if os.path.isabs(normal) or normal.split(os.sep)[0] in (os.pardir, os.curdir):
            raise SweepError(
                f"hydra.sweep.subdir is {name!r}; allowed: a directory below the sweep's"
            )
        return normal

    def value(self, composed: DictConfig, key: str) -> Any:
        """Return the value of a searched key in a job's config, or the member of a group.

        Raises:
            Absent: if the config does not have the key.
        """
        name = key.lstrip("+")
        if self.is_group(key):
            return composed.hydra.runtime.choices.get(name)
        value = OmegaConf.select(composed, name, default=_ABSENT)
        if value is _ABSENT:
            raise Absent
        return value

    def is_group(self, key: str) -> bool:
        """Return whether a key such as ``+group@package`` names a config group."""
        return bool(self.loader.get_group_options(key.lstrip("+").partition("@")[0]))

    def are_named(self) -> bool:
        """Return whether hydra.sweep.subdir is set; otherwise the study's numbers name trials."""
        written = OmegaConf.to_container(self._config.hydra.sweep, resolve=False)
        assert isinstance(written, dict)
        return written["subdir"] != _DEFAULT_SUBDIR or any(
            text.lstrip("+").startswith("hydra.sweep.subdir=")
            for text in hydra_overrides(self._config)
        )


def application_config(composed: DictConfig) -> dict[str, Any]:
    """Return a job's config without Hydra's part, resolved."""
    ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    container = OmegaConf.to_container(ours, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def hydra_overrides(config: DictConfig) -> list[str]:
    """Return the overrides of Hydra's own keys as they were given, unresolved."""
    given = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    assert isinstance(given, dict)
    return [str(text) for text in given["hydra"]]
