"""A process that forks one process for each job and supervises them.

Why not the standard library's pools: a pool breaks when a worker is killed, and its jobs start in
fresh interpreters. The nursery is forked while the sweep has no threads and no database
connections. It inherits the task and the config without pickling, imports the application's
modules once, and then forks a job in milliseconds. A job that is killed is one job less; when
the sweep dies, the nursery ends the jobs.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NamedTuple

_PR_SET_PDEATHSIG = 1
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# CUDA that a process has started cannot be used in those it forks. Asked whether there is a device,
# torch starts it, unless this tells it to ask the driver's management library.
_CUDA_CHECK = ("PYTORCH_NVML_BASED_CUDA_CHECK", "1")


class NurseryDied(RuntimeError):
    """The process that starts the jobs has died, and all jobs with it."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a value, pruned, or failed for a reason of one line."""

    kind: str  # "value", "pruned" or "failed"
    value: Any = None
    reason: str = ""
    signal: int = 0


class Ended(NamedTuple):
    """A job that has ended."""

    key: int
    outcome: Outcome


# What a job runs: its arguments in, its value out; exceptions pass through.
RunJob = Callable[..., Any]


def one_line(error: BaseException) -> str:
    """An exception as one line of bounded length."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:500]


def is_pruned(error: BaseException) -> bool:
    """Whether an exception is Optuna's TrialPruned, without importing Optuna."""
    return any(kind.__name__ == "TrialPruned" for kind in type(error).__mro__)


def outcome_of_error(error: BaseException) -> Outcome:
    """The outcome of a job whose task raised an exception."""
    if is_pruned(error):
        return Outcome("pruned", reason=" ".join(str(error).split())[:500])
    return Outcome("failed", reason=one_line(error))


class Nursery:
    """The sweep's side: starts jobs and receives their outcomes."""

    def __init__(self, run: RunJob, preload: Sequence[str] = (), threads: int = 0) -> None:
        ours, theirs = Pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with warnings.catch_warnings():
            # Python warns of forks beside threads; here only idle ones of a numeric library.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _serve(theirs, run, preload, threads)
        theirs.close()
        self._connection = ours
        self._owner = os.getpid()
        self._is_idle = True
        self.warnings: list[str] = []
        self.ready = False  # whether the imports are done

    def start(self, key: int, *arguments: Any) -> None:
        """Start a job; `key` names it in what `wait` returns."""
        self._is_idle = False
        self._send(("run", key, arguments))

    def signal(self, signum: int) -> None:
        """Send a signal to all running jobs and to what they have started."""
        self._send(("signal", signum))

    def wait(self, timeout: float) -> list[Ended]:
        """The jobs that ended; returns as soon as there is one, or after `timeout` seconds."""
        ended: list[Ended] = []
        while self._poll(0.0 if ended else timeout):
            event = self._receive()
            if event[0] == "ended":
                ended.append(Ended(event[1], _read_outcome(event[2], event[3])))
            elif event[0] == "ready":
                self.ready = True
                break
            else:
                self.warnings.append(event[1])
        return ended

    def close(self) -> None:
        """End the nursery and every job that still runs; harmless when repeated."""
        if self._connection.closed or os.getpid() != self._owner:
            return
        self._connection.close()
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            if self._is_idle:
                os.kill(self.pid, signal.SIGKILL)  # it may be busy with long imports
            os.waitpid(self.pid, 0)

    def _send(self, order: tuple[Any, ...]) -> None:
        try:
            self._connection.send(order)
        except OSError as error:
            raise NurseryDied("the process that starts the trials was killed") from error

    def _poll(self, timeout: float) -> bool:
        try:
            return self._connection.poll(timeout)
        except OSError:
            return True  # the next receive tells

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise NurseryDied("the process that starts the trials was killed") from error


def _read_outcome(status: int, payload: bytes | None) -> Outcome:
    """The outcome that a job sent, or the one that its exit status indicates."""
    if payload is not None:
        outcome = pickle.loads(payload)  # written by our own child
        assert isinstance(outcome, Outcome)
        return outcome
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Outcome("failed", reason=f"the process ended with code {code} without a result")
    name = signal.Signals(-code).name
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return Outcome("failed", reason=f"the process was killed by {name}{hint}", signal=-code)


@dataclass
class _Child:
    key: int
    pid: int
    pipe: Connection | None
    payload: bytes | None = None


def _serve(connection: Connection, run: RunJob, preload: Sequence[str], threads: int) -> None:
    """The main function of the nursery. It never returns to the code that was forked."""
    try:
        # Ctrl-C on a terminal reaches every process of the group; the sweep handles it.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        if threads:
            os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
        os.environ.setdefault(*_CUDA_CHECK)
        # What is imported stays: the collector need not walk through it, neither meanwhile nor in a
        # job, where it takes longer than reading the data and copies the memory that is shared.
        gc.disable()
        for text in _preload(preload):
            connection.send(("warning", text))
        gc.freeze()
        gc.enable()
        connection.send(("ready",))
        _Server(connection, run).loop()
    except BrokenPipeError:
        pass  # the sweep has ended, and has reported why
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _preload(modules: Sequence[str]) -> Iterator[str]:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            yield f"preload of {module} failed: {one_line(error)}"


class _Server:
    def __init__(self, connection: Connection, run: RunJob) -> None:
        self.connection = connection
        self.run = run
        self.children: dict[int, _Child] = {}

    def loop(self) -> None:
        """Serve until the sweep closes its end of the connection, or dies."""
        while True:
            pipes = [child.pipe for child in self.children.values() if child.pipe is not None]
            # The timeout finds jobs whose pipe was kept open by a process that they started.
            ready = wait([self.connection, *pipes], 0.1 if self.children else None)
            if self.connection in ready and not self._obey():
                self._signal(signal.SIGKILL)
                return
            for child in list(self.children.values()):
                self._look_after(child, child.pipe in ready)

    def _obey(self) -> bool:
        try:
            order = self.connection.recv()
        except (EOFError, OSError):
            return False
        if order[0] == "run":
            self._fork(order[1], order[2])
        else:
            self._signal(order[1])
        return True

    def _fork(self, key: int, arguments: tuple[Any, ...]) -> None:
        reader, writer = Pipe(duplex=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            reader.close()
            self.connection.close()
            _live(self.run, arguments, writer)
        writer.close()
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does the same; one of the two is first
        self.children[key] = _Child(key, pid, reader)

    def _signal(self, signum: int) -> None:
        for child in self.children.values():
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signum)

    def _look_after(self, child: _Child, readable: bool) -> None:
        closed = readable and not self._read(child)
        status = _reap(child.pid, patience=0.1 if closed else 0.0)
        if status is None:
            return
        while child.pipe is not None and child.pipe.poll(0):
            if not self._read(child):
                break
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)  # what the job has left behind
        del self.children[child.key]
        if child.pipe is not None:
            child.pipe.close()
        self.connection.send(("ended", child.key, status, child.payload))

    def _read(self, child: _Child) -> bool:
        assert child.pipe is not None
        try:
            child.payload = child.pipe.recv_bytes()
            return True
        except (EOFError, OSError):
            child.pipe.close()
            child.pipe = None
            return False


def _reap(pid: int, patience: float) -> int | None:
    """The exit status of a child, if it ends within `patience`."""
    deadline = time.monotonic() + patience
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.001)


def _live(run: RunJob, arguments: tuple[Any, ...], writer: Connection) -> None:
    """The main function of a job's process. It never returns to the code that was forked."""
    try:
        _become_a_job()
        outcome = _attempt(run, arguments)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        writer.send_bytes(_pickled(outcome))
    finally:
        # No interpreter shutdown: it would run exit handlers that belong to the sweep.
        os._exit(0)


def _become_a_job() -> None:
    os.setpgid(0, 0)
    _die_with(os.getppid())
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # when memory runs out, a job is killed before the sweep
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies; on other systems the nursery does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _attempt(run: RunJob, arguments: tuple[Any, ...]) -> Outcome:
    try:
        return Outcome("value", value=run(*arguments))
    except BaseException as error:
        if not is_pruned(error):
            traceback.print_exc()
        return outcome_of_error(error)


def _pickled(outcome: Outcome) -> bytes:
    try:
        return pickle.dumps(outcome)
    except Exception as error:
        return pickle.dumps(Outcome("failed", reason=f"result not picklable: {one_line(error)}"))


def redirect_output(path: str) -> None:
    """Send standard output and error of this process to a file, crashes included."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    faulthandler.enable(2)
