"""Files that are whole at any moment, and the file that a trial without a result gets."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # A path that is not UTF-8 is escaped, as everywhere in what is written.
        with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # A full disk is reported by a write, which does not know the name.
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_unfinished(
    directory: Path,
    *,
    status: str,
    reason: str,
    study: str,
    number: int,
    continued_in: Path | None = None,
) -> None:
    """Leave beside what a trial has written why there is no result, for who has only the directory.

    ``status`` is failed, or interrupted for a trial that is repeated under another number, in the
    directory ``continued_in`` once that one has begun.
    """
    content: dict[str, object] = {"status": status, "reason": reason}
    content["trial"] = {"study": study, "number": number}
    if continued_in is not None:
        content["continued_in"] = os.path.relpath(continued_in, directory)
    text = json.dumps(content, indent=1)
    # The study has it too, and what filled the disk may be what failed the trial.
    with contextlib.suppress(OSError):
        if directory.is_dir():
            write_whole(directory / "unfinished.json", text + "\n")


def visible(text: str) -> str:
    """A text on one line, whatever is in it; for paths, which may hold anything."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def located(sweep_dir: str, directory: str) -> str:
    """Where a trial's directory is: below the sweep's directory, wherever that is now.

    Absolute ones were stored by former versions, directly below the sweep's directory of the time.
    """
    name = os.path.basename(directory) if os.path.isabs(directory) else directory
    return os.path.join(sweep_dir, name)
