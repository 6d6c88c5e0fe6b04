"""The data set that a config chooses (no torch).

Two files may have one relative path, and a file may change under its path: what makes two data sets
the same is their content, which ``Dataset.digest`` stands for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import hydra.utils

from cvae import config as config_rules
from cvae.data import DataError, Dataset, load_files, load_table


def load_dataset(node: Mapping[str, Any]) -> Dataset:
    """The data set of a ``data`` node.

    Raises:
        DataError: if it cannot be read.
    """
    if node["name"] == "files":
        return load_files(
            _where_typed(node["train_path"]),
            None if node["test_path"] is None else _where_typed(node["test_path"]),
            test_tenses=node["test_tenses"],
            dev_count=node["dev_count"],
        )
    return load_table(node["name"])


def check_trial(config: Mapping[str, Any]) -> dict[str, str]:
    """Check the config of a trial before a search begins, and read its data.

    What the data have to say (rows dropped, an encoding) comes as warnings. Files that cannot be
    read are left to the trials: they may be there on the machines that these run on.

    Returns:
        What identifies the input of a user's own files, by name; see ``hydra.sweeper.check``.

    Raises:
        ConfigError: as ``config.check``.
    """
    config_rules.check(config)
    node = config["data"]
    if node["name"] != "files":
        return {}
    digest = _digest_of(json.dumps(node, sort_keys=True), os.getcwd())
    return {} if digest is None else {f"the data in {node['train_path']}": digest}


@cache
def _digest_of(node: str, _: str) -> str | None:
    # Once for each working directory: a search has many checks, and one file says one thing.
    try:
        return load_dataset(json.loads(node)).digest
    except DataError:
        return None


def _where_typed(path: str) -> str:
    """``path`` from where Hydra was started, which ``hydra.job.chdir`` leaves."""
    if os.path.isabs(path):
        return path
    return os.path.relpath(hydra.utils.to_absolute_path(path))
