"""The last lines of a sweep: counts, the winner, and commands to continue with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from optuna.trial import FrozenTrial, TrialState

from ._book import counted
from ._command import interpreter, shell_word, single_run
from ._confirm import Confirmed, is_repeat
from ._display import PROGRESS, duration
from ._errors import SweepError
from ._progress import configuration, numbers
from ._start import is_start

_STATES: Final = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
_NAMES: Final = ("best", "sweep", "python")


@dataclass(frozen=True)
class Winner:
    """The best trial, with what is needed to use it.

    Attributes:
        directory: where its files are.
        overrides: those of its configuration.
    """

    trial: FrozenTrial
    directory: str
    overrides: Sequence[str]


def counts(trials: Sequence[FrozenTrial], seconds: float, before: int) -> str:
    """How many trials ended how, and how long it took.

    Args:
        trials: of the study.
        seconds: since the start of this process.
        before: trials that were finished by then.
    """
    counting = counted(trials)
    parts = [
        f"{count} {word}"
        for state, word in _STATES.items()
        if (count := sum(trial.state == state for trial in counting))
    ]
    repeats = sum(is_repeat(trial) and trial.state == TrialState.COMPLETE for trial in trials)
    if repeats:
        parts.append(f"{repeats} repeats of the best")
    taken = duration(seconds)
    if before:
        taken = f"{taken} since {before} were done"
    return f"{sum(t.state.is_finished() for t in counting)} trials: {', '.join(parts)}; {taken}"


def winner_lines(
    winner: Winner,
    trials: Sequence[FrozenTrial],
    repeated: Sequence[Confirmed],
    commands: Mapping[str, str],
    sweep: str,
) -> list[str]:
    """The winner with its scores and directory, and commands to use it."""
    trial = winner.trial
    lines = [f"best {numbers(trial.values or [])} (#{trial.number}): {_shown(winner.directory)}"]
    lines += [f"  mean of #{one.trial.number}: {one}" for one in repeated]
    compared = improvement(trial, trials, repeated)
    if compared:
        lines.append(f"  {compared}")
    told = trial.user_attrs.get(PROGRESS)
    scores = [
        f"{name} {value:.4g}"
        for name, value in (told.items() if isinstance(told, dict) else ())
        if isinstance(value, float) and name != "share"
    ]
    if scores:
        lines.append(f"  {'  '.join(scores)}")
    if configuration(trial):
        lines.append(f"  {configuration(trial)}")
    lines.append(f"to run it again, in {shell_word(os.getcwd())}:")
    lines.append(f"  {single_run(winner.overrides)}")
    for label, command in commands.items():
        lines.append(f"to {label}:")
        lines.append(f"  {_filled(command, winner.directory, sweep)}")
    return lines


def improvement(
    best: FrozenTrial, trials: Sequence[FrozenTrial], repeated: Sequence[Confirmed] = ()
) -> str | None:
    """A line that compares the best trial with the configuration as composed."""
    starts = [trial for trial in trials if is_start(trial) and not is_repeat(trial)]
    if not starts:
        return None
    if is_start(best):
        return "this is the configuration as composed: no other trial is better"
    start = starts[-1]  # the others were interrupted
    if start.state != TrialState.COMPLETE or not start.values:
        return f"the configuration as composed (#{start.number}) has no value to compare with"
    means = {one.trial.number: one.mean for one in repeated}
    mine, its = (best.values or [0.0])[0], start.values[0]
    if start.number in means and best.number in means:
        mine, its = means[best.number], means[start.number]
    return (
        f"better by {numbers([abs(mine - its)])} than the configuration as composed, "
        f"{numbers([its])} (#{start.number})"
    )


def check_commands(commands: Mapping[str, Any]) -> None:
    """Raise ``SweepError`` if a command has a placeholder that does not exist."""
    for label, command in commands.items():
        unknown = [name for name in re.findall(r"{(\w*)}", str(command)) if name not in _NAMES]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in _NAMES)
            raise SweepError(
                f"hydra.sweeper.next_commands.{label} names {{{unknown[0]}}}; allowed: {known}"
            )


def _filled(command: str, best: str, sweep: str) -> str:
    words = {
        "best": shell_word(_relative(best)),
        "sweep": shell_word(_relative(sweep)),
        "python": shell_word(interpreter()),
    }
    return re.sub(r"{(\w+)}", lambda found: words[found[1]], command)


def _relative(directory: str) -> str:
    """The path relative to the working directory if it lies below it."""
    relative = os.path.relpath(directory)
    is_below = relative.split(os.sep)[0] != os.pardir and not relative.startswith("-")
    return relative if is_below else directory


def _shown(directory: str) -> str:
    return shell_word(_relative(directory))
