"""A trained network on disk: its weights and its settings, written and rebuilt safely.

Settings are data from outside: rebuilding a network must not run code, loop over a billion layers,
or take far more memory than the weights that are there.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cvae.model import ConditionalVAE, ModelError, build_model, misfit
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

WEIGHTS: Final = "weights.safetensors"
MODEL: Final = "model.json"

FORMAT: Final = 1
"""Version of ``model.json`` and of the weights' metadata."""

LARGEST_SIZE: Final = 65_536
"""Largest value of any one size in a model's settings; ours stay below 2,000."""

MOST_LAYERS: Final = 256
"""Largest value of a setting named ``...layer_count``: each layer costs time even when empty."""

_LARGEST_MODEL_JSON: Final = 2**20


def write_model(
    directory: Path, state: Mapping[str, Tensor], model_config: Mapping[str, Any]
) -> None:
    """Write ``weights.safetensors`` and ``model.json``.

    The metadata of the weights holds ``model_config``, too, so that they can never be read with
    another network's settings; ``model.json`` is a copy for people and other tools. A different
    ``model.json`` is deleted before the new weights are written. A process that is killed at any
    point therefore leaves a matching pair, or weights alone, and both can be loaded.

    Args:
        state: the network's ``state_dict()``.
        model_config: ``name`` and sizes, the keywords of ``model.build_model``.

    Raises:
        RunDirectoryError: if they cannot be written.
    """
    model = dict(model_config)
    document = json.dumps({"format": FORMAT, "model": model}, indent=2, allow_nan=False)
    content = f"{document}\n".encode()
    path = directory / MODEL
    try:
        if path.exists() and path.read_bytes() != content:
            path.unlink()
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be replaced: {reason_of(error)}") from error
    metadata = {"format": FORMAT, "model": model}
    write_atomically(directory / WEIGHTS, pack(state, metadata))
    write_atomically(path, content)


def load_model(directory: Path, device: torch.device | str = "cpu") -> ConditionalVAE:
    """Rebuild the network that ``write_model`` was given, in evaluation mode.

    Settings cannot make it take much more memory than the tensors in the file do. Torch's
    global random state is left as it was.

    Raises:
        RunDirectoryError: if a file is missing, damaged, or does not fit the other.
    """
    path = existing(directory, WEIGHTS, "the run has not ended, or this is no run directory")
    state, metadata = read_tensors(path)
    config = _model_config(directory, metadata)
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
            f"{directory / MODEL}: describes no network of this version ({one_line(error)}); "
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


def _model_config(directory: Path, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Return the settings in the weights' metadata and in ``model.json``, which must agree."""
    path = directory / MODEL
    if metadata is None and not path.exists():
        raise RunDirectoryError(
            f"{path}: is missing, and {WEIGHTS} does not say what network it holds; "
            "restore the file or train again"
        )
    found: list[dict[str, Any]] = []
    if metadata is not None:
        found.append(_checked_config(directory / WEIGHTS, metadata))
    if path.exists():
        document = parse_object(path, read_bytes(path, _LARGEST_MODEL_JSON))
        found.append(_checked_config(path, document))
    if found[0] != found[-1]:
        raise RunDirectoryError(
            f"{path}: does not belong to {WEIGHTS}, which was written with other settings; "
            f"delete {MODEL} to load the weights with their own"
        )
    return found[0]


class _Budget(TorchFunctionMode):
    """Refuses to create tensors once they would hold more than ``most`` numbers in total.

    A network on torch's meta device would need no memory at all, but operations there import
    torch's compiler, which takes seconds at every start of a program that loads a model.
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
    """Return the keywords of ``build_model`` in ``document``, after a check of types and sizes.

    ``build_model`` decides whether they describe a network. This check ensures that trying is
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
