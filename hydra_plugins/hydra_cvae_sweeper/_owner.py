"""The worker that runs a trial, and whether it is still alive.

A process id alone is not enough: ids are reused, and another machine or container has its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, NamedTuple


class Owner(NamedTuple):
    """A sweep process: where it runs, which one it is there, and its name in the study."""

    host: str
    place: str
    pid: int
    started: str
    worker: str
    # Which file the study is: a copy of it has another one, and is not what its owners work on.
    database: str = ""


def this_process() -> Owner:
    """The owner of the trials that this process starts."""
    pid = os.getpid()
    started = start_of(pid) or ""
    return Owner(socket.gethostname(), _place(), pid, started, uuid.uuid4().hex[:12])


def is_dead(attribute: dict[str, Any], me: Owner) -> bool | None:
    """Whether the owner stored with a trial is dead; None when it cannot be seen from here."""
    owner = Owner(**attribute)
    if owner.worker == me.worker:
        return False
    if owner.database and me.database and owner.database != me.database:
        return True
    if (owner.host, owner.place) != (me.host, me.place):
        return None
    return start_of(owner.pid) != owner.started


def start_of(pid: int) -> str | None:
    """The start time of a process as the system writes it; None if the process is not alive."""
    if sys.platform == "linux":
        return _start_by_proc(pid)
    return _start_by_ps(pid)


def _start_by_proc(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name stands in parentheses and may hold anything, spaces too.
    fields = text.rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else ticks  # a zombie does not run


def _start_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _place() -> str:
    """An id that differs between machines, boots and containers with the same host name."""
    parts = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            is_link = os.path.islink(path)
            parts.append(os.readlink(path) if is_link else Path(path).read_text().strip())
        except OSError:
            parts.append("")
    return " ".join(parts)
