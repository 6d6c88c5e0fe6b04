"""The files of a run: whole or absent when written, one clear line when they cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cvae import atomic


class RunDirectoryError(ValueError):
    """A run directory that cannot be used; the message is one line naming the file."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``: at any moment either the old or the new file is there, whole.

    Raises:
        RunDirectoryError: if it cannot be written; the old file, if any, is untouched then.
    """
    try:
        # RunDirectory.lock() removes what a killed process leaves of this.
        atomic.write(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written: {reason_of(error)}") from error


def existing(directory: Path, name: str, advice: str) -> Path:
    """Return the path of a file that must exist.

    Args:
        directory: of the run.
        name: the file's.
        advice: what its absence means.

    Raises:
        RunDirectoryError: if it does not exist.
    """
    path = directory / name
    try:
        if not directory.exists():
            raise RunDirectoryError(f"{directory}: no such run directory; check the path")
        if not directory.is_dir():
            raise RunDirectoryError(f"{directory}: is a file; name the directory that holds it")
        if not path.exists():
            raise RunDirectoryError(f"{path}: no such file; {advice}")
    except OSError as error:  # no permission, a name too long
        raise RunDirectoryError(f"{path}: cannot be read: {reason_of(error)}") from error
    return path


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        RunDirectoryError: if it is not one.
    """
    try:
        # Reading a named pipe would wait for ever, and a device would never end.
        if not path.is_file():
            raise RunDirectoryError(f"{path}: is no regular file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be read: {reason_of(error)}") from error
    if len(content) > limit:
        raise RunDirectoryError(f"{path}: is larger than {limit:,} bytes; it is none of a run's")
    return content


def reason_of(error: OSError) -> str:
    """Return the system's words for an error."""
    return error.strerror or type(error).__name__


def one_line(error: Exception, limit: int = 200) -> str:
    """Return an error's message as one line that is safe to print."""
    # The text may quote a hostile file: nothing that moves a terminal's cursor may pass.
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """Return the JSON object in ``content``, which was read from ``path``.

    Raises:
        RunDirectoryError: if it is none.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        parsed = json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"{path}: is damaged ({one_line(error)}); restore it or run again"
        ) from error
    if not isinstance(parsed, dict):
        raise RunDirectoryError(f"{path}: is damaged (no JSON object); restore it or run again")
    return parsed
