"""The command that runs one trial again, as it can be pasted into a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

# What only a sweep looks at.
_OF_A_SWEEP = ("hydra.sweep", "hydra/sweep", "hydra.launcher", "hydra/launcher", "hydra.mode")


def single_run(overrides: Sequence[str]) -> str:
    """The program as it was started, without `-m`, with these overrides in place of its own."""
    known, _ = get_args_parser().parse_known_intermixed_args(sys.argv[1:])
    options = []
    for option in ("config_path", "config_name", "config_dir"):
        value = getattr(known, option)
        if value is not None:
            options += [f"--{option.replace('_', '-')}", value]
    kept = [
        text
        for text in known.overrides
        if text.lstrip("+~").startswith(("hydra.", "hydra/"))
        and not text.lstrip("+~").startswith(_OF_A_SWEEP)
    ]
    return " ".join(shell_word(word) for word in [*_program(), *options, *overrides, *kept])


def shell_word(text: str) -> str:
    """A word for a shell; what cannot be printed is written byte by byte."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = (
        chr(byte) if byte < 128 and chr(byte).isalnum() else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(escaped)}'"


def interpreter() -> str:
    """What to type for the Python that runs this."""
    name = os.path.basename(sys.orig_argv[0])
    return name if shutil.which(name) == sys.executable else sys.executable


def _program() -> list[str]:
    """How the program was started, up to its own arguments."""
    started = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]
    if len(started) < 2:
        return [sys.argv[0]]
    if shutil.which(os.path.basename(started[1])) == started[1]:
        return [os.path.basename(started[1])]  # the script of an installed program
    return [interpreter(), *started[1:]]
