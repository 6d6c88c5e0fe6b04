"""What a sweep varies and what it fixes, and the points of what can be counted."""

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
    # What Hydra's ranges of real numbers hold, in order.
    exact: dict[str, list[float]] = field(default_factory=dict)

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of one trial: what was sampled, then what is fixed."""
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
        """Parameters of which equal ones are written equally."""
        return {
            key: rounded(value) if key in self.exact else value for key, value in params.items()
        }

    def replace_conditional(self, given: Mapping[str, BaseDistribution]) -> None:
        """Let what was given for a key count wherever a condition has the key, and only there."""
        for key, distribution in given.items():
            having = [keys for keys in self.conditional.values() if key in keys]
            for keys in having:
                keys[key] = distribution
            if having:
                self.distributions.pop(key, None)

    def following(self, params: Mapping[str, Any]) -> Iterator[tuple[str, BaseDistribution]]:
        """The keys that are varied because of what was sampled or fixed elsewhere."""
        chosen = {f"{key}={value}" for key, value in {**params, **self.fixed}.items()}
        for condition, distributions in self.conditional.items():
            if condition in chosen:
                yield from (pair for pair in distributions.items() if pair[0] not in self.fixed)

    def unions(self) -> dict[str, BaseDistribution]:
        """All choices of a key that has others under other conditions, by key.

        Optuna wants one set of choices a key in a study. A grid knows its values beforehand, so
        that it can tell Optuna of the union; a sampler would draw from it what does not belong.
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
        """The keys that some trials lack."""
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
        """Points that show whether trials can be composed at all, and how much they leave out.

        Every combination of the members of groups, as long as there are no more than `most`;
        otherwise each member once. Of other keys both ends, or the first and last choice.
        """
        values = {
            key: list(kind.choices)
            if key in groups and isinstance(kind, CategoricalDistribution)
            else _ends(kind)
            for key, kind in self.distributions.items()
        }
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
            further = {key: _ends(kind)[0] for key, kind in self.following(point)}
            points.append({**point, **further})
        return points


def make_space(parsed: Parsed, more: Mapping[str, BaseDistribution]) -> Space:
    """What was read as a space; `more` are distributions from the config.

    A fixed key is not searched: this holds for grids too, where the stock plugin runs every other
    point again for each value of the fixed key.
    """
    distributions = {**more, **parsed.distributions}
    fixed = {key.lstrip("+") for key in parsed.fixed}
    searched = {key: kind for key, kind in distributions.items() if key.lstrip("+") not in fixed}
    return Space(searched, parsed.fixed, parsed.deletions, exact=parsed.exact)


def override_text(key: str, value: Any) -> str:
    """A sampled value as an override that Hydra reads back as this very value."""
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
    """A text in quotes that is no interpolation, whatever is in it."""
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
    # Both ends exactly: a power may miss them by a rounding, and lie outside.
    inner = [low * (high / low) ** s if is_log else low + (high - low) * s for s in shares[1:-1]]
    return [low, *inner, high]


class Grid:
    """All points of a discrete space, in an order whose beginning is spread over all of it.

    Not Optuna's GridSampler: that one marks points as visited that were given to a retried
    trial, refuses choices that cannot be sorted, and draws points in random order.
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Any]],
        following: Callable[[Mapping[str, Any]], Mapping[str, Sequence[Any]]] | None = None,
        following_keys: Sequence[str] = (),
    ) -> None:
        """`following` gives the further choices that a point of `choices` has, by its values."""
        self._choices = dict(choices)
        self._following = following
        self._keys = [*self._choices, *following_keys]

    def count(self, at_most: int) -> int:
        """The number of points, or `at_most` where there are more."""
        if self._following is None:
            return min(self._size(), at_most)
        return sum(1 for _ in itertools.islice(self, at_most))

    def _size(self) -> int:
        return math.prod(len(values) for values in self._choices.values())

    def next(self, taken: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The first point that is not among those taken; None when there is none left."""
        seen = {self._name(point) for point in taken}
        return next((point for point in self if self._name(point) not in seen), None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Steps of a golden section: no number of trials leaves a large part untouched."""
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
