"""The display of a running search: a live view on a terminal, plain lines elsewhere.

What is shown of running trials comes from the study, so that trials of other workers and machines
are shown, too: the last value that a job reported, and the user attribute `progress` of its trial,
a dict of names with numbers or texts. Its entry `share`, the share of the job that is done, is not
shown; the time left is estimated from it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import statistics
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeGuard

from optuna.trial import FrozenTrial, TrialState
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ._book import count_finished
from ._files import visible
from ._progress import configuration, numbers

CUT: Final = {"cut": True}
"""`extra` of a log record that is cut to one line of the terminal."""

PROGRESS: Final = "progress"
_PIPED_WIDTH: Final = 100
_MOST_ROWS: Final = 8
_BEST_LINES: Final = 2
_LOOK: Final = 1.0  # seconds between two reads of the study; more if a read takes long
_FIRST_WAIT: Final = 30.0  # seconds between two plain statuses
_WAIT_SHARE: Final = 0.02  # or this share of the time passed, if that is longer


@dataclass(frozen=True)
class Running:
    """A running trial as recorded in the study."""

    number: int
    began: datetime | None
    progress: Mapping[str, Any]
    last: tuple[int, float] | None  # step and value

    def seconds(self) -> float:
        """Since its start; the clocks of two machines may differ."""
        if self.began is None:
            return 0.0
        return max(0.0, (datetime.now() - self.began).total_seconds())

    def line(self) -> str:
        shown = {name: value for name, value in self.progress.items() if name != "share"}
        told = [f"{name} {_short(value)}" for name, value in shown.items()]
        if self.last is not None:
            step, value = self.last
            told += [] if shown else [f"step {step}"]
            told.append(f"objective {numbers([value])}")
        return f"  #{self.number}  {duration(self.seconds()):>12}  {'  '.join(told) or 'begun'}"


@dataclass(frozen=True)
class Standing:
    """A study at one moment."""

    done: int
    total: int
    running: Sequence[Running]
    best: FrozenTrial | None
    typical: float | None  # seconds of a trial that is done

    @classmethod
    def of(cls, total: int, trials: Sequence[FrozenTrial], best: FrozenTrial | None) -> Standing:
        """The state that the trials of a study are in; `best` may be None."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        times = [t.user_attrs["seconds"] for t in trials if t.state in ended and _is_timed(t)]
        return cls(
            done=count_finished(trials),
            total=total,
            running=[_running(t) for t in trials if t.state == TrialState.RUNNING],
            best=best,
            typical=statistics.fmean(times) if times else None,
        )

    def seconds_left(self) -> float | None:
        """An estimate; None if nothing is known yet."""
        shares = [(run.seconds(), float(run.progress.get("share") or 0)) for run in self.running]
        expected = [seconds / share for seconds, share in shares if share > 0]
        if self.typical is None and not expected:
            return None
        typical = statistics.fmean(expected) if self.typical is None else self.typical
        # For a trial that takes longer than usual, only its share tells the time left. The share is
        # as old as the last report, so otherwise the usual time is the better estimate.
        rest = [
            seconds * (1 / share - 1)
            if share > 0 and (self.typical is None or seconds > typical)
            else max(0.0, typical - seconds)
            for seconds, share in shares
        ]
        waiting = max(0, self.total - self.done - len(self.running))
        return max([(sum(rest) + waiting * typical) / max(1, len(rest)), *rest])

    def lines(self, passed: float) -> list[str]:
        """The state as text, the most important line first."""
        left = self.seconds_left()
        rest = "time left not known yet" if left is None else f"about {duration(left)} left"
        first = f"{self.done} of {self.total} trials done, {len(self.running)} running"
        lines = [f"{first}; {duration(passed)} passed, {rest}"]
        lines += [run.line() for run in self.running[:_MOST_ROWS]]
        if len(self.running) > _MOST_ROWS:
            lines.append(f"  and {len(self.running) - _MOST_ROWS} more")
        if self.best is not None:
            lines.append(f"  {best_line(self.best)}")
        return lines


def best_line(trial: FrozenTrial) -> str:
    """The best trial so far, with its configuration."""
    value = numbers(trial.values or [])
    return f"best {value} (#{trial.number}): {configuration(trial)}".rstrip(": ")


def duration(seconds: float) -> str:
    """A time in words: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def cut(text: str, width: int) -> str:
    """A text on one line of at most `width` cells, with dots if it was cut."""
    text = visible(text)
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 3)) + "..."


class Display:
    """Shows the state of a search and the sweep's log messages."""

    def __init__(self, *, own_terminal: bool) -> None:
        """`own_terminal`: whether jobs print elsewhere, so that a part can be redrawn in place."""
        self._began = time.monotonic()
        self._looked = Pace(_LOOK)
        self._told = Pace(_FIRST_WAIT)
        self._stage = "starting"
        self._standing: Standing | None = None
        self._live: Live | None = None
        if own_terminal and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            console = Console(highlight=False, markup=False, emoji=False)
            self._live = Live(
                console=console, get_renderable=self._view, refresh_per_second=2, transient=True
            )

    @property
    def is_live(self) -> bool:
        """Whether the state is redrawn continuously."""
        return self._live is not None

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def attached(self, logger: logging.Logger) -> Iterator[None]:
        """Context in which messages are shown without Hydra's prefix, above a live view."""
        root = logging.getLogger()
        consoles = [handler for handler in root.handlers if _is_console(handler)]
        handler = _Terminal(self, root, is_silent=not consoles)
        former, logger.propagate = logger.propagate, False
        logger.addHandler(handler)
        streams = [handler.stream for handler in consoles]
        try:
            if self._live is not None and consoles:
                self._live.start(refresh=True)
                for console in consoles:
                    console.setStream(sys.stdout)  # which passes the live view
            yield
        finally:
            self.settle()
            for console, stream in zip(consoles, streams, strict=True):
                console.setStream(stream)
            logger.removeHandler(handler)
            logger.propagate = former

    def settle(self) -> None:
        """End the live view, so that later lines stay on the terminal."""
        live, self._live = self._live, None
        if live is not None and live.is_started:
            live.stop()

    def stage(self, what: str) -> None:
        """Set what the live view names as the work before the first trial."""
        self._stage = what

    def see(self, look: Callable[[], Standing], *, now: bool = False) -> None:
        """Show the state of the study, if an update is due."""
        if not (now or self._looked.is_due()):
            return
        with self._looked.measured():
            self._standing = look()
        if self._live is None and self._standing.running and self._told.is_due():
            for line in self._standing.lines(self.passed):
                self.print(cut(line, self.width))
            self._told.wait(max(_FIRST_WAIT, _WAIT_SHARE * self.passed))

    @contextlib.contextmanager
    def following(self, look: Callable[[], Standing]) -> Iterator[None]:
        """Context in which a thread shows the state while a launcher blocks the main one."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(_LOOK):
                with contextlib.suppress(Exception):  # the main thread reports errors
                    self.see(look)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=5.0)

    @property
    def width(self) -> int:
        """Cells of a line."""
        if self._live is not None:
            return self._live.console.width
        is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
        return shutil.get_terminal_size().columns if is_known else _PIPED_WIDTH

    def print(self, text: str) -> None:
        """Print a line without cutting it, since it may be a command to copy."""
        if self._live is not None:
            self._live.console.print(Text(text), soft_wrap=True)
        else:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def _view(self) -> Text:
        width = self.width
        if self._standing is None:
            return Text(cut(f"{self._stage}; {duration(self.passed)} passed", width), style="dim")
        first, *others = self._standing.lines(self.passed)
        if self._stage:
            done = f"{self._standing.done} of {self._standing.total} trials done"
            first = f"{done}; {self._stage}, {duration(self.passed)} passed"
        view = Text(cut(first, width), style="bold", end="")
        if self._standing.best is not None:
            others[-1:] = textwrap.wrap(
                others[-1],
                width,
                subsequent_indent="    ",
                max_lines=_BEST_LINES,
                placeholder=" ...",
            )
        for line in others:
            view.append(f"\n{cut(line, width)}", style="not bold")
        return view


class Pace:
    """Decides when to repeat an action that must take only a small share of the time."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._due = 0.0

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def wait(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Context of the action, which is due again after twenty times its duration."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.wait(max(self._least, 20 * (time.monotonic() - began)))


class _Terminal(logging.Handler):
    """Prints log records in place of Hydra's console handlers."""

    def __init__(self, display: Display, root: logging.Logger, is_silent: bool) -> None:
        super().__init__()
        self._display = display
        self._root = root
        self._is_silent = is_silent

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.levelno >= logging.WARNING:
                text = f"{record.levelname.lower()}: {text}"
            if getattr(record, "cut", False):
                text = cut(text, self._display.width)
            if not self._is_silent:
                self._display.print(text)
            for handler in self._root.handlers:  # such as a file of the user's
                if not _is_console(handler) and record.levelno >= handler.level:
                    handler.handle(record)
        except Exception:
            self.handleError(record)


def _is_console(handler: logging.Handler) -> TypeGuard[logging.StreamHandler[Any]]:
    return isinstance(handler, logging.StreamHandler) and not isinstance(
        handler, logging.FileHandler
    )


def _running(trial: FrozenTrial) -> Running:
    values = trial.intermediate_values
    progress = trial.user_attrs.get(PROGRESS)
    return Running(
        number=trial.number,
        began=trial.datetime_start,
        progress=progress if isinstance(progress, dict) else {},
        last=max(values.items()) if values else None,
    )


def _is_timed(trial: FrozenTrial) -> bool:
    return isinstance(trial.user_attrs.get("seconds"), int | float)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
