"""What a sweep varies and what it fixes, and grids of finite spaces."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from ._search import Parsed, reads_as_one_value, rounded


@dataclass
class Space:
    """The varied keys with their distributions, and the overrides that every trial gets."""

    distributions: dict[str, BaseDistribution]
    fixed: dict[str, str]
    deletions: list[str] = field(default_factory=list)
    conditional: dict[str, dict[str, BaseDistribution]] = field(default_factory=dict)
    # The values of Hydra's ranges of real numbers, in order.
    exact: dict[str, list[float]] = field(default_factory=dict)

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of one trial: sampled values, then fixed ones."""
        sampled = [override_text(key, self._exactly(key, value)) for key, value in params.items()]
        fixed = [f"{key}={value}" for key, value in self.fixed.items()]
        return sampled + fixed + self.deletions

    def _exactly(self, key: str, value: Any) -> Any:
        values = self.exact.get(key)
        if values is None:
            return value
        place = bisect.bisect_left(values, value)
        near = values[max(0, place - 1) : place + 1]
        return min(near, key=lambda one: abs(one - value))

    def same(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters in a form in which equal points are equal."""
        return {
            key: rounded(value) if key in self.exact else value for key, value in params.items()
        }

    def replace_conditional(self, given: Mapping[str, BaseDistribution]) -> None:
        """Replace the space of each given key under every condition that has the key."""
        for key, distribution in given.items():
            having = [keys for keys in self.conditional.values() if key in keys]
            for keys in having:
                keys[key] = distribution
            if having:
                self.distributions.pop(key, None)

    def following(self, params: Mapping[str, Any]) -> Iterator[tuple[str, BaseDistribution]]:
        """The conditional keys whose condition holds for these parameters."""
        chosen = {f"{key}={value}" for key, value in {**params, **self.fixed}.items()}
        for condition, distributions in self.conditional.items():
            if condition in chosen:
                yield from (pair for pair in distributions.items() if pair[0] not in self.fixed)

    def unions(self) -> dict[str, BaseDistribution]:
        """All choices of each conditional key, over all conditions.

        Optuna requires one set of choices for a key in a study. A grid knows its values beforehand
        and can state the union. A sampler would draw values from it that do not belong.
        """
        choices: dict[str, list[Any]] = {}
        for distributions in self.conditional.values():
            for key, distribution in distributions.items():
                if isinstance(distribution, CategoricalDistribution):
                    choices.setdefault(key, []).extend(distribution.choices)
        unique = {
            key: list({repr(v): v for v in values}.values()) for key, values in choices.items()
        }
        return {key: CategoricalDistribution(values) for key, values in unique.items()}

    def conditional_keys(self) -> list[str]:
        """The keys that not every trial has."""
        return list(dict.fromkeys(key for keys in self.conditional.values() for key in keys))

    def grid(self, values_of: Callable[[str, BaseDistribution], Sequence[Any]]) -> Grid:
        """The grid of the values that ``values_of`` gives for each key and its distribution."""

        def values(kinds: Iterable[tuple[str, BaseDistribution]]) -> dict[str, Sequence[Any]]:
            return {key: values_of(key, kind) for key, kind in kinds}

        choices = values(self.distributions.items())
        if not self.conditional:
            return Grid(choices)
        return Grid(choices, lambda point: values(self.following(point)), self.conditional_keys())

    def checks(self, groups: Sequence[str], most: int) -> list[dict[str, Any]]:
        """Points with which to check that trials can be composed.

        They contain every combination of the members of `groups` if there are at most `most`, and
        otherwise each member once; of other keys each choice if there are at most `most`, and
        otherwise both ends.
        """

        def tried(key: str, kind: BaseDistribution) -> list[Any]:
            if isinstance(kind, CategoricalDistribution):
                choices = list(kind.choices)
                if key in groups or len(choices) <= most:
                    return choices
            return _ends(kind)

        values = {key: tried(key, kind) for key, kind in self.distributions.items()}
        varied = [values[key] for key in values if key in groups]
        size = math.prod(len(members) for members in varied)
        count = max([1, *map(len, values.values())])
        if size <= most:
            named = [key for key in values if key in groups]
            rows = [dict(zip(named, row, strict=True)) for row in itertools.product(*varied)]
            count = max(count, len(rows))
        else:
            rows = [{}]
        points = []
        for index in range(count):
            point = {key: some[index % len(some)] for key, some in values.items()}
            point |= rows[index % len(rows)]
            further = {key: tried(key, kind) for key, kind in self.following(point)}
            point |= {key: some[index % len(some)] for key, some in further.items()}
            points.append(point)
        return points


def make_space(parsed: Parsed, more: Mapping[str, BaseDistribution]) -> Space:
    """A space from parsed overrides and further distributions from the config.

    A fixed key is not searched, in grids neither: the stock plugin would run every other point
    again for each value of the fixed key.
    """
    distributions = {**more, **parsed.distributions}
    fixed = {key.lstrip("+") for key in parsed.fixed}
    searched = {key: kind for key, kind in distributions.items() if key.lstrip("+") not in fixed}
    return Space(searched, parsed.fixed, parsed.deletions, exact=parsed.exact)


def override_text(key: str, value: Any) -> str:
    """A sampled value as an override that Hydra parses to the same value."""
    if value is None:
        return f"{key}=null"
    text = f"{key}={value}"
    if not isinstance(value, str) or reads_as_one_value(text):
        return text
    return f"{key}={quoted(value)}"


def quoted(text: str) -> str:
    """A text in the quotes of Hydra's grammar."""
    # Only backslashes before a quote are special there.
    escaped, backslashes = "", 0
    for letter in text + "'":
        if letter == "\\":
            backslashes += 1
            continue
        is_quote = letter == "'"
        escaped += "\\" * (2 * backslashes if is_quote else backslashes)
        backslashes = 0
        escaped += "\\'" if is_quote else letter
    return "'" + escaped[:-2] + "'"


def literal(text: str) -> str:
    """A text in quotes in which nothing is interpolated."""
    return quoted(re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", text))


def _ends(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        ends = [distribution.choices[0], distribution.choices[-1]]
    else:
        ends = [getattr(distribution, end) for end in ("low", "high")]
    return ends if repr(ends[0]) != repr(ends[1]) else ends[:1]


def spaced(distribution: BaseDistribution, points: int) -> list[float]:
    """Values of an interval at equal distances, or equal ratios where it is logarithmic."""
    low, high = (float(getattr(distribution, name)) for name in ("low", "high"))
    is_log = getattr(distribution, "log", "Log" in type(distribution).__name__)
    shares = [index / (points - 1) for index in range(points)]
    # Both ends exactly: a rounded power may lie outside the interval.
    inner = [low * (high / low) ** s if is_log else low + (high - low) * s for s in shares[1:-1]]
    return [low, *inner, high]


class Grid:
    """All points of a finite space, in an order whose first points are spread over the space.

    Optuna's GridSampler is not used: it counts points of retried trials as visited, refuses choices
    that cannot be sorted, and draws points in random order.
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Any]],
        following: Callable[[Mapping[str, Any]], Mapping[str, Sequence[Any]]] | None = None,
        following_keys: Sequence[str] = (),
    ) -> None:
        """`following` returns the choices of the conditional keys of a point."""
        self._choices = dict(choices)
        self._following = following
        self._keys = [*self._choices, *following_keys]

    def count(self, at_most: int) -> int:
        """The number of points, at most `at_most`."""
        if self._following is None:
            return min(self._size(), at_most)
        return sum(1 for _ in itertools.islice(self, at_most))

    def _size(self) -> int:
        return math.prod(len(values) for values in self._choices.values())

    def next(self, taken: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The first point that is not in `taken`; None if there is none."""
        seen = {self._name(point) for point in taken}
        return next((point for point in self if self._name(point) not in seen), None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Points in steps of a golden section: any number of them covers the space evenly."""
        size = self._size()
        step = max(1, round(size * 0.618034))
        while math.gcd(step, size) != 1:
            step += 1
        for count in range(size):
            point = self._point(count * step % size)
            more = {} if self._following is None else self._following(point)
            for values in itertools.product(*more.values()):
                yield {**point, **dict(zip(more, values, strict=True))}

    def _point(self, index: int) -> dict[str, Any]:
        point = {}
        for key, values in reversed(self._choices.items()):
            index, position = divmod(index, len(values))
            point[key] = values[position]
        return {key: point[key] for key in self._choices}

    def _name(self, point: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(repr(point.get(key)) for key in self._keys)
