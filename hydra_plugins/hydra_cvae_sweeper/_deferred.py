"""Imports that wait until something of the module is used.

Importing Optuna imports its samplers, pictures and tables, and with them SciPy, pandas and
Matplotlib: most of its time and of its memory, of which a trial needs nothing.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

OF_OPTUNA: Final = frozenset(
    {
        "optuna.importance",
        "optuna.multi_objective",
        "optuna.samplers",
        "optuna.visualization",
        "pandas",
    }
)


class _Finder:
    """Finds stand-ins for modules, which import the modules when something of them is used."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = set(names)
        self._standins: dict[str, ModuleType] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A stand-in's spec; None for any other module, and for one that is not installed."""
        if name not in self._names or PathFinder.find_spec(name, path) is None:
            return None
        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Make the stand-in."""
        name = module.__name__
        module.__getattr__ = functools.partial(self._look_up, name)  # type: ignore[method-assign]
        self._standins[name] = module

    def _look_up(self, name: str, attribute: str) -> Any:
        self.forget(name)
        return getattr(importlib.import_module(name), attribute)

    def forget(self, *names: str) -> None:
        """Have the next import of these modules, or of all, find the modules themselves."""
        self._names.difference_update(names)
        for name in names or list(self._standins):
            standin = self._standins.pop(name, None)
            if standin is not None and sys.modules.get(name) is standin:
                del sys.modules[name]


@contextlib.contextmanager
def deferred(names: Collection[str]) -> Iterator[None]:
    """Within: an import of these modules gives a stand-in, unless they are imported already.

    Whoever imports one of them later gets the module itself; who has the stand-in gets what it
    looks up in it from the module.
    """
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        finder.forget()
