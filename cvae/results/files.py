"""Reading files that may be damaged or no regular files, and writing files atomically."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml

from cvae import atomic

Paths = str | os.PathLike[str]
_LARGEST_TEXT: Final = 256 * 2**20
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BYTE: Final = re.compile(rb"\\x([0-9a-f]{2})")


class ResultsError(ValueError):
    """The results cannot be read or compared; the message is one clear line."""


def read_text(path: Path) -> str:
    """Return the content of a regular file of at most ``_LARGEST_TEXT`` bytes.

    Raises:
        OSError: if there is none, or it is not a regular file: reading a named pipe would block,
            and a device may never end.
        UnicodeDecodeError: if it is no UTF-8.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    if about.st_size > _LARGEST_TEXT:
        raise OSError(errno.EFBIG, f"larger than {_LARGEST_TEXT:,} bytes", str(path))
    return path.read_text(encoding="utf-8")


def read_yaml(path: Path) -> object:
    """Return the content of a file that Hydra wrote; None if it cannot be read."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, if it was built
    try:
        text = read_text(path)
        # Hydra writes no aliases, and a few lines of them can expand beyond any memory.
        if "*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, loader)):
            return None
        return yaml.load(text, Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def write_atomically(path: Paths, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it to ``path``.

    Whoever reads ``path`` sees the old file or the whole new one, never a part.

    Raises:
        ResultsError: if the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise ResultsError(f"{target}: cannot be written: it is a directory")
    if not target.parent.is_dir():
        raise ResultsError(f"{target}: cannot be written: {target.parent} is no directory")
    try:
        atomic.write(target, write)
    except OSError as error:
        raise ResultsError(f"{target}: cannot be written: {error.strerror or error}") from error


def directory_of(run: str) -> Path:
    """Return the directory that a value of the column ``run`` names."""
    path, name = Path(run), os.fsencode(run)
    if not _BYTE.search(name) or path.exists():
        return path
    return Path(os.fsdecode(_BYTE.sub(lambda found: bytes([int(found[1], 16)]), name)))


def printable(text: str) -> str:
    """Return ``text`` as any table format can hold it.

    Escaped are control characters but for tab and line feed, bytes that were no UTF-8, and lone
    surrogates, which JSON can name.
    """
    return _UNPRINTABLE.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code < 0xDD00:  # what Python makes of the byte of a path that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
