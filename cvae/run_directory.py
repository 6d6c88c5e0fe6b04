"""What a run leaves behind: files that are whole or absent, and reading them back safely.

Every file is written to a temporary name beside it, flushed to disk and renamed, so a reader or
a killed process never sees half of one. Tensors are stored as safetensors and settings as JSON:
nothing that is read here can run code, or make the reader take far more memory than the file.
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
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cvae import atomic
from cvae.model import ConditionalVAE, ModelError, build_model, misfit

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

RESULT: Final = "result.json"
METRICS: Final = "metrics.csv"
LOSSES: Final = "losses.csv"
CURVES: Final = "curves"  # .png, .pdf, .svg
WEIGHTS: Final = "weights.safetensors"
MODEL: Final = "model.json"
CHECKPOINT: Final = "checkpoint.safetensors"

FORMAT: Final = 1
"""Version of ``model.json``, of the weights' metadata and of the checkpoint's."""

LARGEST_SIZE: Final = 65_536
"""Largest value of any one size in a model's settings; ours stay below 2,000."""

MOST_LAYERS: Final = 256
"""Largest value of a setting named ``...layer_count``: each layer costs time even when empty."""

_METADATA_KEY: Final = "cvae"
_LARGEST_TEXT: Final = 256 * 2**20
_LOOKED_AT: Final = 0.2  # seconds: who reads the results holds a lock for less
_LARGEST_MODEL_JSON: Final = 2**20

Cell = float | int | str | None
"""A cell of a table; None is an empty cell."""


class RunDirectoryError(ValueError):
    """A run directory that cannot be used; the message is one line naming the file."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that at any moment the old or the new file is there, whole.

    Raises:
        RunDirectoryError: if it cannot be written; the old file, if any, is untouched then.
    """
    try:
        # What a kill leaves of this, lock() removes.
        atomic.write(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written: {_reason(error)}") from error


@dataclass(frozen=True)
class RunDirectory:
    """One run's directory; making the object touches nothing on disk."""

    path: Path

    def create(self) -> None:
        """Make the directory and its parents; one that exists already is fine.

        Raises:
            RunDirectoryError: if it is a file, or cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise RunDirectoryError(
                f"{self.path}: a file stands where the run directory or one above it should be; "
                "choose another directory"
            ) from None
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be made: {_reason(error)}") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise RunDirectoryError(
                f"{self.path}: is not writable; change its permissions or choose another directory"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for one run; the system lets go of it if the process dies.

        The empty file ``.lock`` stays: deleting it would let two runs hold two different files
        of the same name. Where the system or the file system knows no locks, nothing is held.

        Raises:
            RunDirectoryError: if another run holds the directory, or it cannot be written to.
        """
        path = self.path / ".lock"
        try:
            file = open(path, "ab")  # noqa: SIM115 (held until the run ends)
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be written: {_reason(error)}") from error
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
        path = self._existing(RESULT, "the run has not ended or was killed; run it again")
        return _parse_object(path, _read(path, _LARGEST_TEXT))

    def write_metrics(self, rows: Sequence[Mapping[str, float | int | None]]) -> None:
        """Write ``metrics.csv``, one row per evaluation; without rows there is no file.

        Columns come in the order in which the rows first name them; what a row lacks is empty.
        """
        if rows:
            self.write_table(METRICS, rows)

    def read_metrics(self) -> list[dict[str, float | int | None]]:
        """Return the rows of ``metrics.csv``: every column in every row, None where empty.

        Numbers without a point or exponent come back as int, all others as the same float.

        Raises:
            RunDirectoryError: if it is missing or no table of numbers.
        """
        path = self._existing(METRICS, "the run was never evaluated; run it again")
        advice = "delete the directory and run again"
        try:
            text = _read(path, _LARGEST_TEXT).decode("utf-8")
            lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise RunDirectoryError(f"{path}: is damaged ({_one_line(error)}); {advice}") from error
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
                    f"{path}:{number}: is damaged ({_one_line(error)}); {advice}"
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
        """Write ``weights.safetensors`` and ``model.json``.

        The weights' own metadata holds ``model_config`` too, so that this one file can never be
        read with another network's settings; ``model.json`` is the copy for people and other
        tools. An older, different ``model.json`` goes before the new weights come: a process
        killed at any point leaves a pair that belongs together, or weights alone, and both load.

        Args:
            state: the network's ``state_dict()``.
            model_config: ``name`` and sizes, the keywords of ``model.build_model``.

        Raises:
            RunDirectoryError: if they cannot be written.
        """
        model = dict(model_config)
        document = json.dumps({"format": FORMAT, "model": model}, indent=2, allow_nan=False)
        content = f"{document}\n".encode()
        path = self.path / MODEL
        try:
            if path.exists() and path.read_bytes() != content:
                path.unlink()
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be replaced: {_reason(error)}") from error
        metadata = {"format": FORMAT, "model": model}
        write_atomically(self.path / WEIGHTS, _pack(state, metadata))
        write_atomically(path, content)

    def load_model(self, device: torch.device | str = "cpu") -> ConditionalVAE:
        """Rebuild the network that ``write_model`` was given, in evaluation mode.

        Settings cannot make it take much more memory than the tensors in the file do. Torch's
        global random state is left as it was.

        Raises:
            RunDirectoryError: if a file is missing, damaged, or does not fit the other.
        """
        path = self._existing(WEIGHTS, "the run has not ended, or this is no run directory")
        state, metadata = _read_tensors(path)
        config = self._model_config(metadata)
        stored = sum(tensor.numel() for tensor in state.values())
        try:
            with (
                torch.random.fork_rng(devices=[]),
                warnings.catch_warnings(action="ignore"),
                _Budget(2 * stored),
            ):
                model = build_model(**config)
        except (ModelError, TypeError, RuntimeError, ValueError) as error:
            raise RunDirectoryError(
                f"{self.path / MODEL}: describes no network of this version ({_one_line(error)}); "
                "train again, or use the version that made it"
            ) from error
        fault = misfit(state, model.state_dict())
        if fault:
            raise RunDirectoryError(
                f"{path}: {fault}, going by the model's settings; the files are of different runs, "
                "damaged, or of a run that diverged; train again"
            )
        model.load_state_dict(state)
        return model.to(device).eval()

    def _model_config(self, metadata: dict[str, Any] | None) -> dict[str, Any]:
        """The settings, from the weights' metadata and ``model.json``, which must agree."""
        path = self.path / MODEL
        if metadata is None and not path.exists():
            raise RunDirectoryError(
                f"{path}: is missing, and {WEIGHTS} does not say what network it holds; "
                "restore the file or train again"
            )
        found: list[dict[str, Any]] = []
        if metadata is not None:
            found.append(_checked_config(self.path / WEIGHTS, metadata))
        if path.exists():
            document = _parse_object(path, _read(path, _LARGEST_MODEL_JSON))
            found.append(_checked_config(path, document))
        if found[0] != found[-1]:
            raise RunDirectoryError(
                f"{path}: does not belong to {WEIGHTS}, which was written with other settings; "
                f"delete {MODEL} to load the weights with their own"
            )
        return found[0]

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
        write_atomically(self.path / CHECKPOINT, _pack(tensors, metadata))

    def read_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return (tensors, counters) as ``write_checkpoint`` got them, or None without one.

        Raises:
            RunDirectoryError: if the checkpoint is damaged or of another version.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        tensors, metadata = _read_tensors(path)
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
            raise RunDirectoryError(f"{path}: cannot be removed: {_reason(error)}") from error

    def _existing(self, name: str, advice: str) -> Path:
        """The path of a file that must be there; ``advice`` says what its absence means."""
        path = self.path / name
        try:
            if not self.path.exists():
                raise RunDirectoryError(f"{self.path}: no such run directory; check the path")
            if not self.path.is_dir():
                raise RunDirectoryError(f"{self.path}: is a file; name the directory that holds it")
            if not path.exists():
                raise RunDirectoryError(f"{path}: no such file; {advice}")
        except OSError as error:  # no permission, a name too long
            raise RunDirectoryError(f"{path}: cannot be read: {_reason(error)}") from error
        return path


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


def _read(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes."""
    try:
        # Reading a named pipe would wait for ever, and a device would never end.
        if not path.is_file():
            raise RunDirectoryError(f"{path}: is no regular file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be read: {_reason(error)}") from error
    if len(content) > limit:
        raise RunDirectoryError(f"{path}: is larger than {limit:,} bytes; it is none of a run's")
    return content


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _one_line(error: Exception, limit: int = 200) -> str:
    # The text may quote a hostile file: nothing that moves a terminal's cursor may pass.
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


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


def _parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object in ``content``, which was read from ``path``."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        parsed = json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"{path}: is damaged ({_one_line(error)}); restore it or run again"
        ) from error
    if not isinstance(parsed, dict):
        raise RunDirectoryError(f"{path}: is damaged (no JSON object); restore it or run again")
    return parsed


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


# --- Tensors -----------------------------------------------------------------------------------


def _pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Tensors and metadata as one safetensors file; the same input gives the same bytes."""
    # The format refuses views and tensors that share memory, so each becomes a copy of its own.
    # All metadata is one entry: the order of several would differ from run to run.
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return to_safetensors(own, metadata={_METADATA_KEY: json.dumps(metadata)})


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a safetensors file and our metadata, None if it has none of ours."""
    try:
        if not path.is_file():
            raise RunDirectoryError(f"{path}: is no regular file")
        with (
            _name_in_utf8(path) as name,
            safe_open(name, framework="pt", device="cpu") as file,
        ):
            text = (file.metadata() or {}).get(_METADATA_KEY)
            # Copies: the file is mapped into memory and may be replaced or cut while in use.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        metadata = None if text is None else json.loads(text)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be read: {_reason(error)}") from error
    except MemoryError as error:
        raise RunDirectoryError(
            f"{path}: is larger than the memory; it is none of a run's"
        ) from error
    except (SafetensorError, ValueError, RecursionError) as error:
        if isinstance(error, RunDirectoryError):
            raise
        raise RunDirectoryError(
            f"{path}: is damaged ({_one_line(error)}); restore it or run again"
        ) from error
    except RuntimeError as error:
        # Torch opens the file a second time; it may have been removed since the first.
        raise RunDirectoryError(f"{path}: cannot be read: {_one_line(error)}") from error
    if metadata is not None and not isinstance(metadata, dict):
        raise RunDirectoryError(f"{path}: is damaged (its metadata is no object); run again")
    return tensors, metadata


@contextlib.contextmanager
def _name_in_utf8(path: Path) -> Iterator[str]:
    """A name of the file for safetensors, which opens no path that is not UTF-8."""
    name = os.fspath(path)
    if name.isascii() or os.fsencode(path).decode(errors="replace") == name:
        yield name
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"


class _Budget(TorchFunctionMode):
    """Refuses to make tensors once they would hold more than ``most`` numbers in all.

    A network on torch's meta device would need no memory at all, but operations there import
    torch's compiler: seconds, at every start of a program that loads a model.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.randn, torch.zeros, torch.ones):
            # The same call without memory tells the size, however it was written.
            self.left -= torch.empty(*args, **{**kwargs, "device": "meta"}).numel()
            if self.left < 0:
                raise ModelError(f"the network would be larger than the one in {WEIGHTS}")
        return func(*args, **kwargs)


def _checked_config(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of ``build_model`` in ``document``, every value of a harmless kind and size.

    Whether they make a network is left to ``build_model``; here it is made sure that trying is
    cheap: no loop over a billion layers, no number that overflows.
    """
    if document.get("format") != FORMAT:
        raise RunDirectoryError(
            f"{path}: format is {document.get('format')!r:.40}; this version reads {FORMAT}"
        )
    model = document.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        raise RunDirectoryError(f'{path}: is damaged ("model" is no object with a "name")')
    for key, value in model.items():
        shown = f"{path}: model key {key!r:.40} is {value!r:.40}"
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise RunDirectoryError(f"{shown}; it must be a number or a name")
        if isinstance(value, str) and len(value) > 100:
            raise RunDirectoryError(f"{shown}; a name has at most 100 letters")
        most = MOST_LAYERS if key.endswith("layer_count") else LARGEST_SIZE
        if isinstance(value, float) and not math.isfinite(value):
            raise RunDirectoryError(f"{shown}; it must be finite")
        if isinstance(value, int) and not 0 <= value <= most:
            raise RunDirectoryError(f"{shown}; allowed: 0 to {most}")
    return model
