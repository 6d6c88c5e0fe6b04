"""``python -m cvae.generate RUN_DIR -n 20``: verbs that a trained model makes up.

python -m cvae.generate outputs/my_run -n 20
python -m cvae.generate multirun/default
python -m cvae.generate outputs/my_run -n 1000 --seed 1 --format csv > verbs.csv
python -m cvae.generate outputs/my_run --temperature 0.8
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from cvae.alphabet import TENSES
from cvae.terminal import (
    ArgumentParser,
    InputError,
    exit_code_of,
    interrupt_ends_at_once,
    run_directory,
    run_of,
)

if TYPE_CHECKING:
    # torch takes seconds to import: --help need not wait for it.
    from cvae.model import ConditionalVAE

MOST_DRAWS: Final = 10_000_000
HOTTEST: Final = 10.0
_BATCH: Final = 512


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0, or 2 with one line of explanation)."""
    options = _parser().parse_args(arguments)
    return exit_code_of("cvae.generate", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    if not 1 <= options.count <= MOST_DRAWS:
        raise InputError(f"-n is {options.count}; allowed: 1 to {MOST_DRAWS}")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed is {options.seed}; allowed: 0 to {2**63 - 1}")
    if not 0.0 <= options.temperature <= HOTTEST:
        raise InputError(f"--temperature is {options.temperature}; allowed: 0 to {HOTTEST}")
    run = run_of("cvae.generate", options.run_dir)

    from cvae.run_directory import RunDirectory, RunDirectoryError

    try:
        model = RunDirectory(run).load_model()
    except RunDirectoryError as error:
        raise InputError(str(error)) from error
    write = {"text": _write_text, "csv": _write_csv, "json": _write_json}[options.format]
    if options.temperature and model.prior is None:
        raise InputError(
            f"--temperature is {options.temperature}, but the model in {run} has one level: its "
            "draws have no code around which another one could be drawn; leave it out"
        )
    write(paradigms(model, options.count, options.seed, options.temperature))


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m cvae.generate",
        description="Make up verbs: draws from the prior, each decoded under all four tenses.",
        epilog="The same seed gives the same verbs; a larger -n repeats them and goes on.",
    )
    parser.add_argument(
        "run_dir",
        type=run_directory,
        metavar="RUN_DIR",
        help="the directory of a run, or of a study: then its best trial is taken",
    )
    parser.add_argument(
        "-n", dest="count", type=int, default=20, metavar="N", help="how many (default: 20)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="SEED", help="of the draws (default: 0)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="of the code of a two-level model: 0 says what it has learned to say, mostly training "
        "verbs; at 0.6 a tenth of the draws are invented, at 1 a half (default: 0)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "csv", "json"),
        default="text",
        help="text: aligned columns; csv: with a header; json: one list of objects (default: text)",
    )
    return parser


# --- Generation --------------------------------------------------------------------------------


def paradigms(
    model: ConditionalVAE, count: int, seed: int, temperature: float = 0.0
) -> Iterator[tuple[str, ...]]:
    """Yield ``count`` paradigms, four forms each in the order of ``alphabet.TENSES``.

    Args:
        model: in evaluation mode.
        count: how many draws z ~ N(0, I) to take.
        seed: of the draws. Draws depend on it and on their place alone, not on ``count``.
        temperature: of the codes, see ``invention.invent``; 0 decodes their means.
    """
    import torch

    from cvae import evaluation, invention

    device = torch.device("cpu")
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, count, _BATCH):
        # Always a whole batch, since torch fills tensors of another size in another order.
        z = torch.randn(_BATCH, model.latent_size, generator=generator)[: count - start]
        if temperature:
            noise = invention.noise_for(model, _BATCH, generator)[: count - start]
            yield from invention.invent(model, z, noise, temperature=temperature, device=device)
        else:
            yield from evaluation.generate(model, z, device)


# --- Output ------------------------------------------------------------------------------------


# Every line is flushed: whoever reads a pipe sees it when it is made.


def _write_text(verbs: Iterator[tuple[str, ...]]) -> None:
    # The first batch sets the widths: waiting for the rest could take an hour and all memory.
    first = [TENSES, *islice(verbs, _BATCH)]
    widths = [max(len(row[column]) for row in first) for column in range(len(TENSES))]
    for row in chain(first, verbs):
        padded = (word.ljust(width) for word, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip(), flush=True)


def _write_csv(verbs: Iterator[tuple[str, ...]]) -> None:
    # Forms consist of a..z and ?, so that nothing needs quoting.
    print(",".join(TENSES))
    for forms in verbs:
        print(",".join(forms), flush=True)


def _write_json(verbs: Iterator[tuple[str, ...]]) -> None:
    # One verb a line: readable, and as one list still a single JSON document.
    for number, forms in enumerate(verbs):
        print("[" if number == 0 else ",")
        print(" ", json.dumps(dict(zip(TENSES, forms, strict=True))), end="", flush=True)
    print("\n]")


if __name__ == "__main__":
    interrupt_ends_at_once("")  # it only prints: there is nothing to save
    sys.exit(main())
