"""What a run leaves behind: its lock, its result, its tables, its model and its checkpoint.

Every file is written to a temporary name in the same directory, flushed to disk and renamed, so
that neither a reader nor a killed process leaves or sees half a file. Tensors are stored as
safetensors and settings as JSON. Reading them cannot run code or take far more memory than the
file has.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import numbers
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor

from cvae import saved_model
from cvae.model import ConditionalVAE
from cvae.run_files import (
    RunDirectoryError,
    existing,
    one_line,
    parse_object,
    read_bytes,
    reason_of,
    write_atomically,
)
from cvae.tensor_files import pack, read_tensors

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

__all__ = ["RunDirectory", "RunDirectoryError", "write_atomically"]

RESULT: Final = "result.json"
METRICS: Final = "metrics.csv"
LOSSES: Final = "losses.csv"
CURVES: Final = "curves"  # .png, .pdf, .svg
CHECKPOINT: Final = "checkpoint.safetensors"

FORMAT: Final = 1
"""Version of the checkpoint."""

_LARGEST_TEXT: Final = 256 * 2**20
_LOOKED_AT: Final = 0.2  # seconds; a reader of the results holds the lock for less

Cell = float | int | str | None
"""A cell of a table; None is an empty cell."""


@dataclass(frozen=True)
class RunDirectory:
    """One run's directory. Creating the object does not touch the disk."""

    path: Path

    def create(self) -> None:
        """Create the directory and its parents, unless they exist.

        Raises:
            RunDirectoryError: if it is a file, or cannot be created or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise RunDirectoryError(
                f"{self.path}: a file stands where the run directory or one above it should be; "
                "choose another directory"
            ) from None
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be made: {reason_of(error)}") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise RunDirectoryError(
                f"{self.path}: is not writable; change its permissions or choose another directory"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for one run. The system releases it if the process dies.

        The empty file ``.lock`` stays: deleting it would let two runs hold two different files
        of the same name. If the system or the file system has no locks, nothing is held.

        Raises:
            RunDirectoryError: if another run holds the directory, or it cannot be written to.
        """
        path = self.path / ".lock"
        try:
            file = open(path, "ab")  # noqa: SIM115 (held until the run ends)
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be written: {reason_of(error)}") from error
        with file:
            if _lock_file(file.fileno(), self.path):
                for left_by_a_kill in self.path.glob(".*.tmp"):
                    left_by_a_kill.unlink(missing_ok=True)
            yield

    # Results and tables

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json``: strict JSON, where a number that is not finite becomes null.

        Raises:
            TypeError: if ``result`` holds something that JSON has no word for.
        """
        text = json.dumps(_plain(result), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(self.path / RESULT, f"{text}\n".encode())

    def read_result(self) -> dict[str, Any]:
        """Return what ``write_result`` wrote.

        Raises:
            RunDirectoryError: if it is missing or damaged.
        """
        path = existing(self.path, RESULT, "the run has not ended or was killed; run it again")
        return parse_object(path, read_bytes(path, _LARGEST_TEXT))

    def write_metrics(self, rows: Sequence[Mapping[str, float | int | None]]) -> None:
        """Write ``metrics.csv``, one row per evaluation; without rows there is no file.

        The columns are in the order in which the rows first name them. Missing values are empty.
        """
        if rows:
            self.write_table(METRICS, rows)

    def read_metrics(self) -> list[dict[str, float | int | None]]:
        """Return the rows of ``metrics.csv``: every column in every row, None where empty.

        Numbers without a point or exponent come back as int, all others as the same float.

        Raises:
            RunDirectoryError: if it is missing or no table of numbers.
        """
        path = existing(self.path, METRICS, "the run was never evaluated; run it again")
        advice = "delete the directory and run again"
        try:
            text = read_bytes(path, _LARGEST_TEXT).decode("utf-8")
            lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise RunDirectoryError(f"{path}: is damaged ({one_line(error)}); {advice}") from error
        columns, rows = (lines[0], lines[1:]) if lines else ([], [])
        if not columns or len(set(columns)) < len(columns):
            raise RunDirectoryError(f"{path}: is damaged (no line of column names); {advice}")
        parsed: list[dict[str, float | int | None]] = []
        for number, row in enumerate(rows, start=2):
            try:
                parsed.append(
                    {name: _number(cell) for name, cell in zip(columns, row, strict=True)}
                )
            except ValueError as error:
                raise RunDirectoryError(
                    f"{path}:{number}: is damaged ({one_line(error)}); {advice}"
                ) from error
        return parsed

    def write_table(
        self,
        name: str,
        rows: Sequence[Mapping[str, Cell]],
        columns: Sequence[str] | None = None,
    ) -> None:
        """Write a CSV file; floats keep every digit, None is empty, True is 1.

        Args:
            name: the file's: ``conversions.csv``, ``samples.csv``.
            rows: the table, top row first.
            columns: names and order of the columns; by default as the rows first name them. A
                table without rows has only these.
        """
        if columns is None:
            columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(row.get(column)) for column in columns])
        write_atomically(self.path / name, text.getvalue().encode())

    def write_curves(self, pictures: Mapping[str, bytes]) -> None:
        """Write ``curves.png`` and its like, the pictures that ``run_figure.pictures`` made."""
        for kind, picture in pictures.items():
            write_atomically(self.path / f"{CURVES}.{kind}", picture)

    # Weights

    def write_model(self, state: Mapping[str, Tensor], model_config: Mapping[str, Any]) -> None:
        """Write the network's weights and settings: ``saved_model.write_model``."""
        saved_model.write_model(self.path, state, model_config)

    def load_model(self, device: torch.device | str = "cpu") -> ConditionalVAE:
        """Rebuild the network from its files: ``saved_model.load_model``."""
        return saved_model.load_model(self.path, device)

    # Checkpoints

    def write_checkpoint(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Write the state of an unfinished run, replacing the last one in a single step.

        Tensors and counters share one file, so that they are always of the same moment.

        Args:
            tensors: any shapes and types.
            counters: what JSON can hold; floats keep every digit, also when not finite; tuples
                come back as lists.

        Raises:
            RunDirectoryError: if it cannot be written.
        """
        metadata = {"format": FORMAT, "counters": dict(counters)}
        write_atomically(self.path / CHECKPOINT, pack(tensors, metadata))

    def read_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return (tensors, counters) as ``write_checkpoint`` got them, or None without one.

        Raises:
            RunDirectoryError: if the checkpoint is damaged or of another version.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        counters = (metadata or {}).get("counters")
        if not isinstance(counters, dict) or (metadata or {}).get("format") != FORMAT:
            raise RunDirectoryError(
                f"{path}: is no checkpoint of this version; delete it to start the run anew"
            )
        return tensors, counters

    def clear_checkpoint(self) -> None:
        """Remove the checkpoint if there is one."""
        self._remove(CHECKPOINT)

    def clear_result(self) -> None:
        """Remove ``result.json`` if there is one: the run goes on."""
        self._remove(RESULT)

    def _remove(self, name: str) -> None:
        path = self.path / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be removed: {reason_of(error)}") from error


# --- Files and locks ---------------------------------------------------------------------------


def _lock_file(descriptor: int, directory: Path) -> bool:
    """Whether the file is now locked by this process alone; False where there are no locks."""
    if fcntl is None:
        return False
    until = time.monotonic() + _LOOKED_AT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                raise RunDirectoryError(
                    f"{directory}: is in use by another run; wait for it or choose another "
                    "directory"
                ) from None
        except OSError:  # some network file systems
            return False
        time.sleep(0.01)


# --- JSON and CSV ------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """``value`` with mappings, sequences and numbers of any kind as JSON's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    raise TypeError(f"JSON has no word for {value!r}")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral):
        return str(int(value))
    return repr(float(value))


def _number(cell: str) -> float | int | None:
    if not cell:
        return None
    try:
        return int(cell)
    except ValueError:
        return float(cell)
