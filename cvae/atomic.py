"""Atomic writing of a file: it is written under another name, flushed, and renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a temporary file beside ``path``, then rename it to ``path``.

    A reader of ``path`` sees either the old file or the complete new one. If the process is killed,
    ``.NAME.XXXXXXXX.tmp`` may stay behind; otherwise the temporary file is removed.

    Raises:
        OSError: if the file cannot be written; an existing file is then unchanged.
    """
    # The name has a random part because two processes may write the same file.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        fill(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
