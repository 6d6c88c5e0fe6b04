"""Keeping the password of a study's database out of every file that Hydra writes."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ._errors import SweepError
from ._jobs import hydra_overrides
from ._storage import StudyStorage

STORAGE_VARIABLE: Final = "CVAE_STORAGE"
"""The environment variable that holds the database's URL for jobs."""


def hide_secrets(config: DictConfig, storage: StudyStorage) -> list[str]:
    """Move a password out of the config, and return overrides that do the same in a job's config.

    Hydra saves the config in every job's directory, and composes it anew from the overrides. The
    URL travels in the environment, which child processes inherit.

    Raises:
        SweepError: if the application's own config holds the password, too.
    """
    if not storage.secrets:
        return []
    os.environ[STORAGE_VARIABLE] = storage.url
    settings: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    written = settings["storage"]
    if not isinstance(written, str):  # an object with this URL
        written = written["url"]
    betraying = list(storage.traces)
    if re.search(r"\$\{(?!oc\.env:)", written):
        betraying += storage.secrets  # another key may hold the password alone

    def betrays(text: str) -> bool:
        return any(piece in text for piece in betraying)

    if not betrays(OmegaConf.to_yaml(config, resolve=False)):
        return []  # written as ${oc.env:...}, and saved as such
    reference = "${oc.env:" + STORAGE_VARIABLE + "}"
    given = hydra_overrides(config)
    sweeper, overrides = config.hydra.sweeper, config.hydra.overrides
    # Hydra 1.4 marks the nodes themselves read-only, 1.3 the root.
    with read_write(sweeper), read_write(overrides), open_dict(sweeper), open_dict(overrides):
        sweeper.storage = reference
        overrides.hydra = [
            f"hydra.sweeper.storage={reference}" if betrays(text) else text for text in given
        ]
    if betrays(OmegaConf.to_yaml(config, resolve=False)):
        raise SweepError(
            "the password of hydra.sweeper.storage stands in the application's config, which is "
            "saved with every trial; write ${oc.env:NAME} there and set the variable NAME"
        )
    return [f"hydra.sweeper.storage={reference}"]
