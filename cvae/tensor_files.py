"""Tensors with metadata as safetensors files, which cannot run code when they are read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from cvae.run_files import RunDirectoryError, one_line, reason_of

_METADATA_KEY: Final = "cvae"


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Return a safetensors file of tensors and metadata; the same input gives the same bytes."""
    # The format refuses views and tensors that share memory, so each becomes a copy of its own.
    # All metadata is one entry: the order of several would differ from run to run.
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return to_safetensors(own, metadata={_METADATA_KEY: json.dumps(metadata)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Return the tensors of a file and the metadata that ``pack`` stored; None without any.

    Raises:
        RunDirectoryError: if it cannot be read or is damaged.
    """
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
        raise RunDirectoryError(f"{path}: cannot be read: {reason_of(error)}") from error
    except MemoryError as error:
        raise RunDirectoryError(
            f"{path}: is larger than the memory; it is none of a run's"
        ) from error
    except (SafetensorError, ValueError, RecursionError) as error:
        if isinstance(error, RunDirectoryError):
            raise
        raise RunDirectoryError(
            f"{path}: is damaged ({one_line(error)}); restore it or run again"
        ) from error
    except RuntimeError as error:
        # Torch opens the file a second time; it may have been removed since the first.
        raise RunDirectoryError(f"{path}: cannot be read: {one_line(error)}") from error
    if metadata is not None and not isinstance(metadata, dict):
        raise RunDirectoryError(f"{path}: is damaged (its metadata is no object); run again")
    return tensors, metadata


@contextlib.contextmanager
def _name_in_utf8(path: Path) -> Iterator[str]:
    """A name of the file for safetensors, which cannot open a path that is not UTF-8."""
    name = os.fspath(path)
    if name.isascii() or os.fsencode(path).decode(errors="replace") == name:
        yield name
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"
