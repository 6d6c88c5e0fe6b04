"""A file that is whole at any moment: written under another name, flushed, renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a temporary file beside ``path``, then rename it to ``path``.

    Whoever reads ``path`` sees the old file or the whole new one, never a part. A kill leaves
    ``.NAME.XXXXXXXX.tmp``, any other end only ``path``.

    Raises:
        OSError: if it cannot be written; the old file, if any, is untouched then.
    """
    # A random part, since two processes may write the same file.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        fill(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
