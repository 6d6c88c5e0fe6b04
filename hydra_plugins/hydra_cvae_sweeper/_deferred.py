"""Imports that wait until something of the module is used.

Importing Optuna imports its samplers, pictures and tables, and with them SciPy, pandas and
Matplotlib: four fifths of its time and of its memory, of which a trial needs nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Final

OF_OPTUNA: Final = frozenset(
    {
        "optuna.importance",
        "optuna.multi_objective",
        "optuna.samplers",
        "optuna.visualization",
        "pandas",
    }
)


class _Deferring:
    """A finder of modules that are executed when an attribute of them is first looked up."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec with a lazy loader; None for any other module."""
        spec = PathFinder.find_spec(name, path, target) if name in self.names else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextlib.contextmanager
def deferred(names: Collection[str]) -> Iterator[None]:
    """Within: modules of these names, imported for the first time, wait for their first use."""
    finder = _Deferring(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
