"""What a sweep prints and writes while it runs: a line for each trial, and the results so far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from ._book import count_finished
from ._confirm import confirmed, is_repeat
from ._files import write_whole
from ._halving import PAUSED, is_paused
from ._start import is_start

_WORDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def trial_line(
    trial: FrozenTrial, trials: Sequence[FrozenTrial], study: optuna.study.Study, total: int
) -> str:
    """One line about a trial that has ended, the most important first."""
    done = f"{count_finished(trials):>{len(str(total))}}/{total}"
    state = _WORDS.get(trial.state, trial.state.name)
    if is_paused(trial):
        state = f"paused at {trial.user_attrs[PAUSED]:g}"
    if is_repeat(trial):
        state = f"repeat {state}"
    parts = [done, f"#{trial.number}", state]
    if trial.state != TrialState.FAIL:
        parts.append(numbers(trial.values or []))
    if _is_best(trial, trials, study):
        parts.append("(best so far)")
    parts.append(f"{trial.user_attrs.get('seconds', 0.0):.1f}s")
    if trial.state == TrialState.FAIL:
        parts.append(str(trial.user_attrs.get("reason", "")))
    parts.append(configuration(trial))
    return " ".join(part for part in parts if part)


def best_of(trials: Sequence[FrozenTrial], study: optuna.study.Study) -> FrozenTrial | None:
    """The best complete trial of a study with one objective; by its mean if it was repeated."""
    sign = -1 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1
    repeated = confirmed(trials, sign)
    if repeated:
        return repeated[0].trial
    complete = [t for t in trials if t.state == TrialState.COMPLETE and not is_repeat(t)]
    if not complete:
        return None
    return min(complete, key=lambda trial: (sign * (trial.values or [0.0])[0], trial.number))


class ResultsFile:
    """`optimization_results.yaml` in the stock plugin's format, kept up to date."""

    def __init__(self, path: Path, study: optuna.study.Study) -> None:
        self._path = path
        self._study = study
        self._wait_until = 0.0

    def update(self, trials: Sequence[FrozenTrial], final: bool = False) -> None:
        """Write the best so far; this takes at most a twentieth of the time."""
        began = time.monotonic()
        if began < self._wait_until and not final:
            return
        write_whole(self._path, OmegaConf.to_yaml(OmegaConf.create(self._content(trials))))
        self._wait_until = time.monotonic() + 20 * (time.monotonic() - began)

    def _content(self, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
        if len(self._study.directions) > 1:
            front = self._study.best_trials
            solutions = [
                {
                    "params": trial.params,
                    "values": list(trial.values or []),
                    "number": trial.number,
                    "directory": trial.user_attrs.get("directory"),
                }
                for trial in front
            ]
            return {"name": "optuna", "solutions": solutions}
        best = best_of(trials, self._study)
        if best is None:
            return {"name": "optuna", "best_params": {}, "best_value": None}
        sign = -1 if self._study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1
        repeated = [
            {"trial": one.trial.number, "mean": one.mean, "values": list(one.values)}
            for one in confirmed(trials, sign)
        ]
        return {
            "name": "optuna",
            "best_params": best.params,
            "best_value": (best.values or [None])[0],
            "best_trial": best.number,
            "best_directory": best.user_attrs.get("directory"),
            **({"confirmed": repeated} if repeated else {}),
        }


def _is_best(trial: FrozenTrial, trials: Sequence[FrozenTrial], study: optuna.study.Study) -> bool:
    if len(study.directions) > 1:
        return False
    best = best_of(trials, study)
    return best is not None and best.number == trial.number


def numbers(values: Iterable[float]) -> str:
    """Values of an objective, as short as they can be told apart."""
    return " ".join(f"{value:.4g}" for value in values)


def configuration(trial: FrozenTrial) -> str:
    """What was varied in a trial, as short as it stays clear."""
    pairs = [f"{key}={_value(value)}" for key, value in _short_keys(trial.params).items()]
    return " ".join([*pairs, "(as composed)"] if is_start(trial) else pairs)


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short_keys(params: dict[str, Any]) -> dict[str, Any]:
    """The last part of each key, where it is unique."""
    last = [key.rpartition(".")[2] for key in params]
    return {
        short if last.count(short) == 1 else key: value
        for short, (key, value) in zip(last, params.items(), strict=True)
    }
