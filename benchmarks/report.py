"""``python benchmarks/report.py``: the tables of docs/performance.md from benchmarks/results/.

``--run`` runs all benchmarks first, one after the other, for about an hour in which the machine
should do nothing else. A benchmark without a result says so in its table's place.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import torch

BENCHMARKS: Final = (
    "startup",
    "evaluation",
    "throughput",
    "threads",
    "lstm_cell",
    "profile_epoch",
    "profile_run",
    "trial_overhead",
    "search",
    "growth",
    "time_to_quality",
    "accelerator",
)
DOCUMENT: Final = measuring.REPOSITORY / "docs" / "performance.md"


def block(name: str, result: dict[str, Any] | None) -> str:
    """What stands between the markers of one benchmark."""
    if result is None:
        missing = f"Not measured yet: `python benchmarks/{name}.py`."
        if name != "accelerator":
            return missing
        return f"{importlib.import_module(name).show({})}\n\n{missing}"
    machine = result["machine"]
    where = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"Python {machine['python']}, torch {machine['torch']}; load {machine['load']} at the "
        f"start; {result['measured_at'][:10]}"
    )
    shown: str = importlib.import_module(name).show(result)
    return f"{shown}\n\n{where}."


def filled(text: str, blocks: dict[str, str]) -> str:
    """The document with every block between its own markers.

    Raises:
        ValueError: if a block has no markers.
    """
    for name, inside in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", flags=re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"no markers for {name}")
        text = pattern.sub(lambda found, inside=inside: found[1] + inside + found[2], text)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Fill the document."""
    parser = argparse.ArgumentParser(description="Fill docs/performance.md.")
    parser.add_argument("--run", action="store_true", help="run all benchmarks first")
    parser.add_argument("--results", type=Path, default=measuring.RESULTS)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    blocks = {}
    for name in BENCHMARKS:
        path = options.results / f"{name}.json"
        if options.run and (name != "accelerator" or torch.cuda.is_available()):
            # In a process of its own: threads, caches and memory start fresh.
            program = [sys.executable, str(Path(__file__).parent / f"{name}.py")]
            subprocess.run([*program, "--json", str(path)], check=True)
        blocks[name] = block(name, json.loads(path.read_text()) if path.exists() else None)
    options.document.write_text(filled(options.document.read_text(), blocks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
