"""Hydra's search syntax as Optuna's distributions, with one meaning for every sampler.

The meaning is that of Hydra's documentation. A range leaves its stop out, whichever way it goes; an
interval holds both ends. The order of values is the sampler's business, so that `shuffle` changes
nothing and a study that goes on finds the space it was begun with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
    Transformer,
    ValueType,
)
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution

from ._errors import SweepError
from ._nursery import one_line

_WHOLE = 2**53  # an Optuna storage keeps numbers as floats
_MOST_VALUES = 100_000  # of a range of real numbers


@dataclass
class Parsed:
    """Parsed overrides: varied keys, fixed keys with their text, and deletions."""

    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)
    deletions: list[str] = field(default_factory=list)
    # Of ranges of real numbers, where Optuna's steps differ from Hydra's values by rounding.
    exact: dict[str, list[float]] = field(default_factory=dict)

    def forget(self, key: str, others: dict[str, Any]) -> None:
        """Remove what earlier overrides said of a key, since the last one counts."""
        for table in (self.distributions, self.fixed, self.exact):
            for other in list(table):
                if other.lstrip("+") == key.lstrip("+") and (table is others or other != key):
                    del table[other]
        self.exact.pop(key, None)


def read_overrides(texts: Iterable[str], loader: ConfigLoader | None) -> Parsed:
    """Parse overrides; raise ``SweepError`` if one cannot be parsed or searched."""
    parser = OverridesParser.create(config_loader=loader)
    parsed = Parsed()
    for text in texts:
        try:
            _read(parser.parse_overrides([text])[0], text, parsed)
        except SweepError:
            raise
        except Exception as error:  # the parser lets any through: of decimals, of recursion
            raise SweepError(f"{text!r} cannot be read: {one_line(error)}") from error
    return parsed


def reads_as_one_value(text: str) -> bool:
    """Whether a text is an override with a single value."""
    try:
        return not OverridesParser.create().parse_override(text).is_sweep_override()
    except HydraException:
        return False


def _read(override: Override, text: str, parsed: Parsed) -> None:
    if override.is_delete():
        parsed.deletions.append(text)
        return
    key = override.get_key_element()
    if _holds_sweep(_inside(override._value)):
        raise SweepError(f"{text}: a sweep inside a value; write choice(...) of whole values")
    if not override.is_sweep_override():
        parsed.forget(key, parsed.distributions)
        written = override.get_value_element_as_str()
        # What a function of the grammar made of a text is not always written so that it can be read
        # again; the text itself can.
        can_be_read = reads_as_one_value(f"{key}={written}")
        parsed.fixed[key] = written if can_be_read else text.partition("=")[2]
        return
    parsed.forget(key, parsed.fixed)
    try:
        value = override._value
        if isinstance(value, IntervalSweep):
            parsed.distributions[key] = _interval(value)
        elif isinstance(value, RangeSweep):
            parsed.distributions[key], exact = _range(value)
            if exact:
                parsed.exact[key] = exact
        else:
            parsed.distributions[key] = _choice(override)
    except _Impossible as error:
        raise SweepError(f"{text}: {error}") from None


def _holds_sweep(values: Iterable[Any]) -> bool:
    """Whether a choice, a range, an interval or a glob is among values, or in a list or dict."""
    return any(isinstance(value, Sweep | Glob) or _holds_sweep(_inside(value)) for value in values)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, ChoiceSweep):
        return value.list
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


class _Impossible(Exception):
    """An impossible space; the text says why."""


def _interval(value: IntervalSweep) -> BaseDistribution:
    low, high = value.start, value.end
    assert low is not None and high is not None
    _check_ends(low, high)
    if low > high:
        raise _Impossible(f"the interval is empty; write interval({high},{low})")
    is_log = _is_log(value.tags)
    if is_log and low <= 0:
        raise _Impossible("tag(log, ...) needs an interval above 0")
    if isinstance(low, int) and isinstance(high, int):
        return whole(low, high, is_log=is_log)
    return real(low, high, is_log=is_log)


def _range(value: RangeSweep) -> tuple[BaseDistribution, list[float]]:
    assert value.start is not None and value.stop is not None
    _check_ends(value.start, value.stop, value.step)
    if value.step == 0:
        raise _Impossible("the step of a range is not 0")
    count = math.ceil((value.stop - value.start) / value.step)
    if count <= 0:
        raise _Impossible("the range is empty; it goes from its start to its stop, without it")
    if getattr(value, "transformers", ()):  # from Hydra 1.4 on, such as str(range(3))
        if count > _MOST_VALUES:
            raise _Impossible(f"a range of {count} values of another kind; write choice(...)")
        made: Any = value
        values: list[Any] = [Transformer.encode(one) for one in made]
        return CategoricalDistribution(values), []
    is_log = _is_log(value.tags)
    numbers = value.range()
    if isinstance(numbers, range):
        low, high = sorted((numbers[0], numbers[-1]))
        if is_log and (low <= 0 or abs(numbers.step) != 1):
            raise _Impossible("tag(log, ...) needs a range above 0 in steps of 1")
        return whole(low, high, is_log=is_log, step=abs(numbers.step)), []
    if is_log:
        raise _Impossible("tag(log, ...) does not go with steps; write tag(log, interval(...))")
    if count > _MOST_VALUES:
        raise _Impossible(f"a range of {count} real numbers; write interval(...)")
    exact = sorted(numbers)
    return real(rounded(exact[0]), rounded(exact[-1]), step=abs(value.step)), exact


def _choice(override: Override) -> BaseDistribution:
    value = override._value
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        members = [str(member) for member in override.sweep_iterator()]
        if not members:
            there = ", ".join(_members(override))
            raise _Impossible(
                f"no member matches; there are {there}" if there else "the key is no group"
            )
        return CategoricalDistribution(members)
    elements: Sequence[Any]
    if isinstance(value, ChoiceSweep):
        if _is_log(value.tags):
            raise _Impossible("tag(log, ...) is for intervals and ranges")
        elements = value.list
    else:
        elements = list(override.sweep_iterator())
    choices: list[Any] = [Transformer.encode(element) for element in elements]
    if any(isinstance(choice, float) and math.isnan(choice) for choice in choices):
        raise _Impossible("nan equals nothing, itself included, and cannot be searched")
    choices = list({repr(choice): choice for choice in choices}.values())
    if any(choice in choices[:index] for index, choice in enumerate(choices)):
        # Optuna would take true for 1; as texts of overrides they differ.
        choices = [Transformer.str(element) for element in elements]
        choices = list(dict.fromkeys(choices))
    return CategoricalDistribution(choices)


def _members(override: Override) -> list[str]:
    assert override.config_loader is not None
    return list(override.config_loader.get_group_options(override.key_or_group))


def _is_log(tags: Iterable[str]) -> bool:
    return "log" in tags


def _check_ends(*numbers: float) -> None:
    for number in numbers:
        if isinstance(number, int):
            if abs(number) > _WHOLE:
                raise _Impossible("whole numbers are searched up to 2**53")
        elif not math.isfinite(number):
            raise _Impossible("both ends are finite numbers")


def whole(low: int, high: int, *, is_log: bool = False, step: int = 1) -> BaseDistribution:
    """Integers including both ends, in the class that this version of Optuna has."""
    kinds: Any = optuna.distributions
    if hasattr(kinds, "IntDistribution"):
        made = kinds.IntDistribution(low, high, log=is_log, step=step)
    elif is_log:
        made = kinds.IntLogUniformDistribution(low, high)
    else:
        made = kinds.IntUniformDistribution(low, high, step)
    assert isinstance(made, BaseDistribution)
    return made


def real(
    low: float, high: float, *, is_log: bool = False, step: float | None = None
) -> BaseDistribution:
    """Real numbers including both ends, in the class that this version of Optuna has."""
    kinds: Any = optuna.distributions
    if hasattr(kinds, "FloatDistribution"):
        made = kinds.FloatDistribution(low, high, log=is_log, step=step)
    elif is_log:
        made = kinds.LogUniformDistribution(low, high)
    elif step is not None:
        made = kinds.DiscreteUniformDistribution(low, high, step)
    else:
        made = kinds.UniformDistribution(low, high)
    assert isinstance(made, BaseDistribution)
    return made


def rounded(number: float) -> float:
    """The value without the rounding errors of added steps."""
    return float(f"{number:.12g}")


def all_values(distribution: BaseDistribution) -> Sequence[Any]:
    """All values of a finite distribution; none of an interval of real numbers."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    low, high = getattr(distribution, "low"), getattr(distribution, "high")  # noqa: B009
    if "Int" in type(distribution).__name__:
        return range(low, high + 1, getattr(distribution, "step", 1) or 1)
    step = getattr(distribution, "step", None) or getattr(distribution, "q", None)
    if step is None:
        return []
    count = math.floor((high - low) / step + 1e-9) + 1
    return [min(high, rounded(low + index * step)) for index in range(count)]
