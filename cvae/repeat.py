"""The command that does again what a run directory holds, as it can be pasted into a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import yaml

_PROGRAM: Final = "cvae.run"
_LARGEST: Final = 2**20


def command_of(run: Path, overrides: str, *, here: Path | None = None) -> str:
    """Return the command that repeats a run.

    It goes to the directory that the run was started in, for paths may be relative to it, and has
    the options by which the run found its configs: both are in Hydra's record of the run. A
    directory that is no longer there is left out.

    Args:
        run: its directory.
        overrides: as they are typed into a shell, the column ``overrides`` of ``results.load``.
        here: the directory in which the command will be given, if that is known.
    """
    record = _record(run / ".hydra" / "hydra.yaml")
    words = [_python(), "-m", _PROGRAM, *_options(record)]
    command = f"{shlex.join(words)} {overrides}".rstrip()
    cwd = record.get("cwd")
    if not isinstance(cwd, str) or not os.path.isdir(cwd):
        return command
    if here is not None and os.path.samefile(cwd, here):
        return command
    return f"cd {shlex.quote(cwd)} && {command}"


def _python() -> str:
    """How this Python was started, in the words that start it from anywhere."""
    name = os.path.basename(sys.orig_argv[0])
    return name if shutil.which(name) == sys.executable else sys.executable


def _options(record: dict[str, Any]) -> list[str]:
    """The options of Hydra's that say where configs are."""
    options: list[str] = []
    sources = record.get("config_sources")
    for source in sources if isinstance(sources, list) else []:
        path = source.get("path") if isinstance(source, dict) else None
        if not isinstance(path, str) or source.get("schema") != "file":
            continue
        if source.get("provider") == "command-line":
            options += ["--config-dir", path]
        elif source.get("provider") == "main" and os.path.isdir(path) and not _is_ours(Path(path)):
            options += ["--config-path", path]
    name = record.get("config_name")
    if isinstance(name, str) and name != "config":
        options += ["--config-name", name]
    return options


def _is_ours(configs: Path) -> bool:
    """Whether it is the configs' directory of this package, in a checkout or installed."""
    inside = configs.parts[-2:] == ("cvae", "_configs")
    return inside or (configs.name == "configs" and (configs.parent / "cvae" / "run.py").is_file())


def _record(path: Path) -> dict[str, Any]:
    """Hydra's ``runtime`` and ``config_name``, from a file of which the rest is not parsed."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return {}
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line[4:] for line in lines if line.startswith("    config_name: ")]
        if "  runtime:" in lines:
            start = lines.index("  runtime:") + 1
            end = next(
                (i for i, line in enumerate(lines[start:], start) if not line.startswith("    ")),
                len(lines),
            )
            kept += [line[4:] for line in lines[start:end]]
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, if it was built
        read = yaml.load("\n".join(kept), Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}
