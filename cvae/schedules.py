"""KL weight, teacher forcing ratio and learning rates as pure functions of training progress.

Progress is the share of training done, a float in [0, 1]: step ``t`` of ``T`` is ``t / T``. No
schedule keeps state or counts steps. So a schedule means the same at every batch size, and a
resumed run only needs its progress.

Two registries, one for each config group, map the name of a member to its function:
``KL_WEIGHTS`` (``anneal``) and ``TEACHER_FORCING`` (``teacher_forcing``). The functions do not
check their parameters ("knobs"); ``kl_weight_schedule`` and ``teacher_forcing_schedule`` check them
once and bind them. Default values are in the config members only. A new schedule needs one function
and one line in its registry; a new knob also needs a line in ``KNOBS``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from cvae.ranges import NOT_NEGATIVE, POSITIVE, POSITIVE_SHARE, SHARE, Range, one_of, whole_number

Schedule = Callable[[float], float]
"""Maps progress in [0, 1] to a KL weight (>= 0) or a teacher forcing ratio (in [0, 1])."""


class ScheduleError(ValueError):
    """Raised for an unknown schedule, a knob out of range, or a progress outside [0, 1]."""


def _checked(progress: float) -> float:
    """Return ``progress``; raise outside [0, 1] or for NaN, because clamping would hide a bug."""
    if not 0.0 <= progress <= 1.0:
        raise ScheduleError(f"progress is {progress!r}; allowed: a number in [0, 1]")
    return progress


def _logistic(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow for any float."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


# Ramps: [0, 1] -> [0, 1], never falling, exactly 0 at 0 and exactly 1 at 1.


def ramp_linear(x: float) -> float:
    """Return ``x``."""
    return x


_SIGMOID_REACH: Final = 6.0  # the reference code's logistic runs over [-6, 6]
_SIGMOID_LOW: Final = _logistic(-_SIGMOID_REACH)
_SIGMOID_HIGH: Final = _logistic(_SIGMOID_REACH)


def ramp_sigmoid(x: float) -> float:
    """Return the logistic over [-6, 6], normalised to start at 0 and end at 1.

    Difference from the reference code: there the ramp starts at 0.0025 and ends at 0.9975. Here
    the start is subtracted and the span divided out, so that all ramps have the same two ends.

    Source: Fu et al. 2019 (f sigmoid).
    """
    value = _logistic(_SIGMOID_REACH * (2.0 * x - 1.0))
    return (value - _SIGMOID_LOW) / (_SIGMOID_HIGH - _SIGMOID_LOW)


def ramp_cosine(x: float) -> float:
    """Return (1 - cos(pi x)) / 2. Source: Fu et al. 2019 (f cosine)."""
    return 0.5 - 0.5 * math.cos(math.pi * x)


RAMPS: Final[Mapping[str, Callable[[float], float]]] = {
    "linear": ramp_linear,
    "sigmoid": ramp_sigmoid,
    "cosine": ramp_cosine,
}


# KL weights

_BORDER: Final = 1e-9  # a position in cycles this close to a border is on it; see kl_cyclical


def kl_cyclical(
    progress: float,
    *,
    ramp: str,
    cycle_count: int,
    ramp_fraction: float,
    kl_weight_max: float,
) -> float:
    """KL weight that rises from zero to its maximum once in each cycle.

    With tau in [0, 1) the position inside the cycle, M = ``cycle_count`` and
    R = ``ramp_fraction``::

        tau    = M progress - floor(M progress)
        weight = kl_weight_max * (ramp(tau / R) if tau < R else 1)

    Differences from the reference formula, tau = mod(t - 1, ceil(T / M)) / (T / M):

    - It depends on progress, not on the step t. If T is not a multiple of M, the reference makes
      cycles of ceil(T / M) steps but divides by T / M, which leaves the last cycle short (T = 10,
      M = 4: cycles of 3, 3, 3 and 1 steps, so the run ends with weight zero). Here all cycles are
      equally long, for every T.
    - At progress 1 the weight is the end of the last cycle (the maximum), not the start of a
      new one. So the last evaluation sees a model trained at the maximum weight.
    - The ramp is stretched to end at tau = R, so that it reaches the maximum for every R; R = 0
      is a constant weight, R = 1 reaches the maximum only at the end of training.
    - Rounding could move t / T * M off a border between cycles, which would change the first
      weight of a cycle from zero to the maximum. Positions within 1e-9 cycles count as the border.

    Args:
        progress: share of training done, in [0, 1].
        ramp: a key of ``RAMPS``.
        cycle_count: number of cycles, in [1, 1000].
        ramp_fraction: share of a cycle in which the weight rises, in [0, 1].
        kl_weight_max: weight after the rise, >= 0.

    Source: Fu et al. 2019 (arXiv 1903.10145), the definition of beta_t.
    """
    position = _checked(progress) * cycle_count
    nearest = round(position)
    if abs(position - nearest) < _BORDER:
        position = float(nearest)
    cycle = min(math.floor(position), cycle_count - 1)
    tau = position - cycle
    if tau >= ramp_fraction:
        return kl_weight_max
    return kl_weight_max * RAMPS[ramp](tau / ramp_fraction)


def kl_monotonic(
    progress: float,
    *,
    ramp: str,
    ramp_fraction: float,
    kl_weight_max: float,
) -> float:
    """KL weight that rises once and then stays constant: ``kl_cyclical`` with one cycle.

    Source: Bowman et al. 2016 (arXiv 1511.06349), KL cost annealing.
    """
    return kl_cyclical(
        progress,
        ramp=ramp,
        cycle_count=1,
        ramp_fraction=ramp_fraction,
        kl_weight_max=kl_weight_max,
    )


def kl_constant(progress: float, *, kl_weight_max: float) -> float:
    """Constant KL weight; at 1 the loss is the negative evidence lower bound.

    Source: Higgins et al. 2017 (beta-VAE), where it is called beta.
    """
    _checked(progress)
    return kl_weight_max


def kl_delayed(progress: float, *, start: float, kl_weight_max: float) -> float:
    """KL weight that is zero before progress ``start`` and ``kl_weight_max`` from there on.

    The switch is abrupt on purpose. The report claims that without a weight the KL grows so fast
    that training explodes when the weight is switched on; this schedule tests the claim. ``start``
    0 is a constant weight; with ``start`` 1 only progress 1 itself has the weight.
    """
    return kl_weight_max if _checked(progress) >= start else 0.0


def kl_free_bits(
    progress: float,
    *,
    ramp: str,
    ramp_fraction: float,
    kl_weight_max: float,
) -> float:
    """KL weight of the free bits loss; rises once, like ``kl_monotonic``.

    Free bits change the KL term and not only its weight. The member's other key, ``free_nats``,
    belongs to the loss. With one group per latent unit u, the KL term is
    sum_u max(free_nats, mean of KL_u over the minibatch). So ``free_nats`` is in nats per latent
    unit, and a model with latent size d can use d * free_nats nats without a penalty.

    Source: Kingma et al. 2016 (arXiv 1606.04934), appendix C.8.
    """
    return kl_monotonic(
        progress, ramp=ramp, ramp_fraction=ramp_fraction, kl_weight_max=kl_weight_max
    )


def kl_target_kl(progress: float, *, kl_weight_max: float) -> float:
    """Weight of the target rate loss, weight * abs(KL - target_nats); constant.

    The member's other key, ``target_nats`` (nats per word), belongs to the loss. Difference from
    the source: there the target rises from zero during training. Here it is constant, because its
    purpose is to keep the KL from falling.

    Source: Burgess et al. 2018 (arXiv 1804.03599), its gamma and C.
    """
    _checked(progress)
    return kl_weight_max


# Teacher forcing ratios: the probability of feeding the target's character


def forcing_constant(progress: float, *, ratio: float) -> float:
    """Constant teacher forcing ratio: 1 always feeds the target's character."""
    _checked(progress)
    return ratio


def forcing_linear(
    progress: float,
    *,
    ratio_start: float,
    ratio_end: float,
    end: float,
) -> float:
    """Teacher forcing ratio that falls linearly from progress 0 to ``end`` and then stays constant.

    This is the source's max(eps_min, k - c i) with other parameters: k is ``ratio_start``, the
    floor eps_min is ``ratio_end``, and the slope c reaches the floor at progress ``end``.

    Source: Bengio et al. 2015 (arXiv 1506.03099), section 2.4.
    """
    if _checked(progress) >= end:
        return ratio_end
    return max(ratio_end, ratio_start + (ratio_end - ratio_start) * (progress / end))


def forcing_exponential(progress: float, *, half: float, ratio_min: float) -> float:
    """Teacher forcing ratio that starts at 1 and halves over every ``half`` of progress.

    This is the source's k^i with another parameter. With a ``half`` above 1, training ends before
    the first halving.

    Source: Bengio et al. 2015 (arXiv 1506.03099), section 2.4; the floor is an addition.
    """
    return max(ratio_min, math.pow(0.5, _checked(progress) / half))


def forcing_inverse_sigmoid(
    progress: float, *, half: float, steepness: float, ratio_min: float
) -> float:
    """Teacher forcing ratio that stays near 1, falls around ``half``, then stays near 0.

    The source's k / (k + exp(i / k)) is the logistic 1 / (1 + exp(i / k - log k)): over T steps it
    is 1 / (1 + exp(steepness * (progress - half))) with steepness = T / k and half = k log(k) / T.
    So ``half`` is the progress at which the ratio is one half, and the slope there is
    -steepness / 4 per unit of progress.

    As in the source it is not normalised, because that would move ``half``. At progress 0 the
    ratio is k / (k + 1) = 1 / (1 + exp(-steepness * half)), which is more than one half; for half
    0.5 and steepness 10 it is 0.9933.

    Source: Bengio et al. 2015 (arXiv 1506.03099), section 2.4; the floor is an addition.
    """
    return max(ratio_min, _logistic(steepness * (half - _checked(progress))))


# Learning rates: factors of the peak


def learning_rate_factor(schedule: str, progress: float) -> float:
    """Share of the peak learning rate at a progress in [0, 1].

    ``one_cycle`` rises linearly from 1/25 over the first tenth and falls linearly to 0.
    Source: Smith and Topin 2018.
    """
    if schedule == "constant":
        return 1.0
    rise = 0.1
    if progress < rise:
        return 0.04 + 0.96 * progress / rise
    return (1.0 - progress) / (1.0 - rise)


def step_lr_factor(epoch: int, *, step_epochs: int, gamma: float) -> float:
    """StepLR: ``gamma`` once more every ``step_epochs`` epochs (0 for never), at most infinity."""
    drops = epoch // step_epochs if step_epochs else 0
    try:
        return float(gamma**drops)
    except OverflowError:
        return math.inf


# Phases


def share_between(progress: float, *, first: float, last: float) -> float:
    """Share done of the part of training from progress ``first`` to ``last``; in [0, 1]."""
    return min(1.0, max(0.0, progress - first) / max(last - first, 1e-9))


KL_WEIGHTS: Final[Mapping[str, Callable[..., float]]] = {
    "cyclical": kl_cyclical,
    "monotonic": kl_monotonic,
    "constant": kl_constant,
    "delayed": kl_delayed,
    "free_bits": kl_free_bits,
    "target_kl": kl_target_kl,
}

TEACHER_FORCING: Final[Mapping[str, Callable[..., float]]] = {
    "constant": forcing_constant,
    "linear": forcing_linear,
    "exponential": forcing_exponential,
    "inverse_sigmoid": forcing_inverse_sigmoid,
}

COINS: Final = ("token", "sequence")
"""Whether teacher forcing draws a coin for each token or once for each sequence."""

KNOBS_USED_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "free_bits": ("free_nats",),
    "target_kl": ("target_nats",),
}
"""Keys of an ``anneal`` member that are checked here but used in the loss, not in the weight."""


# Ranges of the knobs

KNOBS: Final[Mapping[str, Range]] = {
    "ramp": one_of(tuple(RAMPS)),
    "cycle_count": whole_number(1, 1000),
    "ramp_fraction": SHARE,
    "kl_weight": NOT_NEGATIVE,
    "kl_weight_max": NOT_NEGATIVE,
    "start": SHARE,
    "free_nats": NOT_NEGATIVE,
    "target_nats": NOT_NEGATIVE,
    "ratio": SHARE,
    "ratio_start": SHARE,
    "ratio_end": SHARE,
    "ratio_min": SHARE,
    "end": POSITIVE_SHARE,
    "half": POSITIVE,
    "steepness": POSITIVE,
    "coin": one_of(COINS),
}


def knobs_of(registry: Mapping[str, Callable[..., float]], name: str) -> list[str]:
    """All keys of the config member ``name`` except its name, in order."""
    own = [key for key in inspect.signature(registry[name]).parameters if key != "progress"]
    coin = ("coin",) if registry is TEACHER_FORCING else ()
    return [*own, *KNOBS_USED_ELSEWHERE.get(name, ()), *coin]


def kl_weight_schedule(name: str, **knobs: object) -> Schedule:
    """Return the KL weight schedule ``name`` with its knobs checked and bound.

    Args:
        name: a key of ``KL_WEIGHTS``.
        knobs: keys of the config member: all that the function takes. The keys in
            ``KNOBS_USED_ELSEWHERE`` are allowed too; they are checked but not used here.

    Raises:
        ScheduleError: naming all faults, each with the key, the value and what is allowed.

    Example:
        >>> weight = kl_weight_schedule(
        ...     "cyclical", ramp="linear", cycle_count=2, ramp_fraction=0.5, kl_weight_max=1.0
        ... )
        >>> [weight(progress) for progress in (0.0, 0.125, 0.25, 0.5, 1.0)]
        [0.0, 0.5, 1.0, 0.0, 1.0]
    """
    elsewhere = KNOBS_USED_ELSEWHERE.get(name, ())
    return _bound("KL weight", KL_WEIGHTS, name, knobs, elsewhere)


def teacher_forcing_schedule(name: str, **knobs: object) -> Schedule:
    """Return the teacher forcing schedule ``name`` with its knobs checked and bound.

    Args:
        name: a key of ``TEACHER_FORCING``.
        knobs: keys of the config member: all that the function takes. ``coin`` is allowed too; it
            is checked but not used here, because it does not change the ratio.

    Raises:
        ScheduleError: naming all faults, each with the key, the value and what is allowed.

    Example:
        >>> ratio = teacher_forcing_schedule("linear", ratio_start=1.0, ratio_end=0.5, end=0.5)
        >>> [ratio(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
        [1.0, 0.75, 0.5, 0.5]
    """
    return _bound("teacher forcing", TEACHER_FORCING, name, knobs, ("coin",))


def _bound(
    kind: str,
    registry: Mapping[str, Callable[..., float]],
    name: str,
    knobs: Mapping[str, object],
    elsewhere: tuple[str, ...],
) -> Schedule:
    """Check ``knobs`` and bind those that the function itself takes."""
    if name not in registry:
        raise ScheduleError(
            f"{kind} schedule: name is {name!r}; allowed: one of {', '.join(registry)}"
        )
    function = registry[name]
    own = [key for key in inspect.signature(function).parameters if key != "progress"]
    faults = [f"{key} is missing; allowed: {KNOBS[key].words}" for key in own if key not in knobs]
    for key, value in knobs.items():
        if key not in own and key not in elsewhere:
            faults.append(
                f"{key} is {value!r}, but there is no such key; "
                f"allowed: {', '.join([*own, *elsewhere])}"
            )
        elif not KNOBS[key].holds(value):
            faults.append(f"{key} is {value!r}; allowed: {KNOBS[key].words}")
    if not faults and function is forcing_linear:
        faults = _rising(knobs)
    if faults:
        raise ScheduleError(f"{kind} schedule {name!r}: " + "; ".join(faults))
    return partial(function, **{key: value for key, value in knobs.items() if key in own})


def _rising(knobs: Mapping[str, object]) -> list[str]:
    """Return the fault of a linear ratio that would rise, although each knob is in its range."""
    start, end = knobs["ratio_start"], knobs["ratio_end"]
    if isinstance(start, int | float) and isinstance(end, int | float) and end > start:
        return [f"ratio_end is {end!r}; allowed: at most ratio_start ({start!r}), a ratio decays"]
    return []
