"""``python -m cvae.interpolate RUN_DIR VERB VERB``: what lies between two verbs.

python -m cvae.interpolate outputs/my_run walk swim
python -m cvae.interpolate outputs/my_run walk swim --steps 20 --in code
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cvae.alphabet import TENSES
from cvae.convert import check_words
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
    from torch import Tensor

    from cvae.latent_space import RowLatents
    from cvae.trained_run import TrainedRun

MOST_STEPS: Final = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0, or 2 with one line of explanation)."""
    # Intermixed: the verbs may stand behind the options, too.
    options = _parser().parse_intermixed_args(arguments)
    return exit_code_of("cvae.interpolate", lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m cvae.interpolate",
        description="Walk along the line between two verbs in the latent space of a trained model.",
        epilog="Each line of the output is a step: its share of the way, the four forms that the "
        "model decodes there, and * where they are a training row.",
    )
    parser.add_argument(
        "run_dir", type=run_directory, metavar="RUN_DIR", help="the directory of a run"
    )
    parser.add_argument("start", metavar="VERB", help="where the line starts, in any form")
    parser.add_argument("end", metavar="VERB", help="where it ends")
    parser.add_argument(
        "--steps",
        type=int,
        default=11,
        metavar="N",
        help="how many, both ends included (default: 11)",
    )
    parser.add_argument(
        "--in",
        dest="space",
        choices=("latent", "code"),
        default="latent",
        help="latent: the prior latent z, from which verbs are generated; code: what the decoder "
        "is conditioned on, wider in a two-level model, and the same in a one-level model "
        "(default: latent)",
    )
    parser.add_argument(
        "--path",
        choices=("linear", "spherical"),
        default="linear",
        help="spherical: along an arc around the prior's mean, which stays at lengths that a prior "
        "of many units draws (default: linear)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "csv"),
        default="text",
        help="text: aligned columns; csv: with a header (default: text)",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    if not 2 <= options.steps <= MOST_STEPS:
        raise InputError(f"--steps is {options.steps}; allowed: 2 to {MOST_STEPS}")
    words = check_words([options.start, options.end])

    from cvae import latent_planes, latent_space, trained_run
    from cvae.run_directory import RunDirectoryError

    try:
        run = trained_run.load(run_of("cvae.interpolate", options.run_dir))
    except RunDirectoryError as error:
        raise InputError(str(error)) from error
    encoded = latent_space.row_latents(run.model, run.dataset.train)
    start, end = (find_verb(run, encoded, word) for word in words)
    for verb in (start, end):
        if verb.note:
            print(f"cvae.interpolate: {verb.note}", file=sys.stderr)
    of_code = options.space == "code"
    points = latent_planes.line(
        start.code if of_code else start.latent,
        end.code if of_code else end.latent,
        options.steps,
        spherical=options.path == "spherical",
    )
    decoded = latent_space.decode_points(run.model, points, codes=of_code)
    rows = {paradigm.preferred for paradigm in run.dataset.train}
    write = _write_csv if options.format == "csv" else _write_text
    write(decoded, [forms in rows for forms in decoded])


# --- Verbs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verb:
    """A verb as a trained model encodes it.

    Attributes:
        name: as it was given.
        row: the training row, None if it is none.
        code: (code,) the mean of its code.
        latent: (latent,) where in the prior it is generated.
        note: what was not as expected, in words.
    """

    name: str
    row: int | None
    code: Tensor
    latent: Tensor
    note: str | None


def find_verb(run: TrainedRun, encoded: RowLatents, word: str) -> Verb:
    """Encode a verb: a training row from its four forms, another one from the word alone."""
    from cvae import latent_space
    from cvae.source_tense import infer_tenses

    train = run.dataset.train
    row = latent_space.row_of(train, word)
    note, forms = None, None
    if row is not None:
        code, mean = encoded.codes.mean[row], encoded.latents.mean[row]
        forms = train[row].preferred
        if word not in train[row].forms[0]:
            note = f"{word} is read as {train[row].preferred[0]}"
    else:
        tense = infer_tenses(run.model, [word])[0]
        code, mean = latent_space.encode_form(run.model, word, tense)
        note = (
            f"{word} is no training verb; it is encoded from this one form, read as "
            f"{TENSES[tense].replace('_', ' ')}"
        )
    place = latent_space.place_of_code(run.model, code, mean, forms)
    return Verb(word, row, code, place, note)


# --- Output ------------------------------------------------------------------------------------


def _shares(count: int) -> list[float]:
    return [step / (count - 1) for step in range(count)]


def _write_text(decoded: Sequence[Sequence[str]], known: Sequence[bool]) -> None:
    table = [
        ("step", *TENSES),
        *((f"{s:.0%}", *f) for s, f in zip(_shares(len(decoded)), decoded, strict=True)),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row, mark in zip(table, (False, *known), strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].rjust(widths[0]), "*" if mark else " ", *cells]).rstrip())


def _write_csv(decoded: Sequence[Sequence[str]], known: Sequence[bool]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["share", *TENSES, "training_row"])
    for share, forms, mark in zip(_shares(len(decoded)), decoded, known, strict=True):
        writer.writerow([f"{share:.6g}", *forms, int(mark)])


if __name__ == "__main__":
    interrupt_ends_at_once("")  # it only prints: there is nothing to save
    sys.exit(main())
