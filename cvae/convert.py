"""``python -m cvae.convert RUN_DIR WORD... --to TENSE``: put verbs into another tense.

python -m cvae.convert outputs/my_run abandon --to past
python -m cvae.convert multirun/default abandon --to past
python -m cvae.convert outputs/my_run sent began --from past --to progressive
python -m cvae.convert outputs/my_run panic --to past --scores
cut -f1 verbs.tsv | python -m cvae.convert outputs/my_run --to third > third.txt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from cvae.alphabet import TENSES, WordError, read_word
from cvae.data import read_lines
from cvae.terminal import (
    ArgumentParser,
    InputError,
    exit_code_of,
    interrupt_ends_at_once,
    run_directory,
    run_of,
)

if TYPE_CHECKING:
    # torch takes seconds to import: --help and a misspelt word need not wait for it.
    from cvae.confidence import Calibration
    from cvae.model import ConditionalVAE
    from cvae.reranking import Answer

ALIASES: Final = {
    **{name: tense for tense, name in enumerate(TENSES)},
    **{str(tense): tense for tense in range(len(TENSES))},
    "present": 0,
    "third": 1,
    "ing": 2,
}
"""Every accepted name of a tense."""

DEFAULT_CANDIDATES: Final = 8  # reranking.WIDTH, which is not imported: it needs torch
MOST_CANDIDATES: Final = 20

NEAR: Final = 0.05
"""A second answer of this probability is near enough to be shown."""

_BATCH: Final = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0, or 2 with one line of explanation)."""
    # Intermixed: the words may stand behind the options, too.
    options = _parser().parse_intermixed_args(arguments)
    return exit_code_of("cvae.convert", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    target = parse_tense("--to", options.to)
    source = None if options.source is None else parse_tense("--from", options.source)
    if not 1 <= options.candidates <= MOST_CANDIDATES:
        raise InputError(f"--candidates is {options.candidates}; allowed: 1 to {MOST_CANDIDATES}")
    if not options.words and not options.run_dir.exists():
        raise InputError(f"{options.run_dir}: no such run directory; it stands before the words")
    given, notes = (options.words, []) if options.words else _read_words(sys.stdin)
    words = check_words(given)
    if words != given:
        notes.append("capitals are read in lower case")
    run = run_of("cvae.convert", options.run_dir)

    from cvae import confidence
    from cvae.run_directory import RunDirectory, RunDirectoryError

    try:
        model = RunDirectory(run).load_model()
        calibration = confidence.read(run) if options.scores else None
    except RunDirectoryError as error:
        raise InputError(str(error)) from error
    if notes:
        print(f"cvae.convert: {'; '.join(notes)}", file=sys.stderr)
    for word, tense, answer in conversions(model, words, source, target, options.candidates):
        row = [answer.word]
        if options.verbose:
            row = [word, TENSES[tense], TENSES[target], *row]
        if calibration is not None:
            row += scores(answer, calibration)
        print("\t".join(row))


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m cvae.convert",
        description="Put verbs into another tense, with the model that a run left behind.",
        epilog="Prints one prediction a line and nothing else, in the order of the words. Tenses: "
        "simple_present (present, 0), third_person (third, 1), progressive (ing, 2), past (3).",
    )
    parser.add_argument(
        "run_dir",
        type=run_directory,
        metavar="RUN_DIR",
        help="the directory of a run, or of a study: then its best trial is taken",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="verbs in letters a..z; without any, they are read from standard input, one a line",
    )
    parser.add_argument("--to", required=True, metavar="TENSE", help="the tense wanted")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="TENSE",
        help="the tense of the words; by default that of each word is inferred: the one under "
        "which the model finds the word most likely, its ending considered",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print word, its tense, the tense wanted and the prediction, separated by tabs",
    )
    parser.add_argument(
        "--scores",
        action="store_true",
        help="print behind each prediction the probability that it is right, then the second best "
        f"answer and its probability, both empty if that is below {NEAR}; needs what "
        "python -m cvae.calibrate writes",
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=DEFAULT_CANDIDATES,
        metavar="N",
        help="how many the model chooses from, by whether they lead back to the word; 1 takes the "
        f"likeliest letter at each step (default: {DEFAULT_CANDIDATES})",
    )
    return parser


# --- Input -------------------------------------------------------------------------------------


def parse_tense(option: str, text: str) -> int:
    """Return the tense 0..3 that ``text``, the value of ``option``, names.

    Raises:
        InputError: if it names none.
    """
    try:
        return ALIASES[text]
    except KeyError:
        raise InputError(
            f"{option} is {text!r}, which is no tense; allowed: {', '.join(TENSES)}"
        ) from None


def check_words(words: Iterable[str]) -> list[str]:
    """Return the words as ``alphabet.read_word`` reads them.

    Raises:
        InputError: naming the first word that cannot be used and counting the rest, or if there is
            none.
    """
    read, problems = [], []
    for word in words:
        try:
            read.append(read_word(word))
        except WordError as error:
            problems.append(str(error))
    if problems:
        more = f" (and {len(problems) - 1} more such words)" if len(problems) > 1 else ""
        raise InputError(f"{problems[0]}{more}")
    if not read:
        raise InputError("no words: name some, or give them on standard input, one a line")
    return read


def _read_words(stream: TextIO | None) -> tuple[list[str], list[str]]:
    """One word a line, in a text that ``data.read_lines`` reads; and its notes."""
    if stream is None or stream.isatty():  # None: standard input is closed
        return [], []
    try:
        lines, notes = read_lines(stream.buffer.read())
    except ValueError as error:
        raise InputError(f"standard input {error}") from error
    for line in lines:
        if line.fault or not line.text.strip():
            # Each word has its line in what is printed: none can be left out.
            raise InputError(f"standard input:{line.number}: {line.fault or 'an empty line'}")
    return [line.text.strip() for line in lines], notes


# --- Conversion --------------------------------------------------------------------------------


def conversions(
    model: ConditionalVAE,
    words: Sequence[str],
    source_tense: int | None,
    target_tense: int,
    candidates: int = DEFAULT_CANDIDATES,
) -> Iterator[tuple[str, int, Answer]]:
    """Yield (word, its tense, answer) for every word, in order.

    Args:
        model: in evaluation mode.
        words: letters a..z.
        source_tense: of all words; None infers that of each.
        target_tense: of all predictions.
        candidates: the width of ``reranking.rerank``.
    """
    import torch

    from cvae import reranking
    from cvae.source_tense import infer_tenses

    for start in range(0, len(words), _BATCH):
        batch = words[start : start + _BATCH]
        known = [source_tense] * len(batch) if source_tense is not None else None
        tenses = known or infer_tenses(model, batch)
        wanted = [(word, tense, target_tense) for word, tense in zip(batch, tenses, strict=True)]
        answers = reranking.rerank(model, wanted, torch.device("cpu"), width=candidates)
        yield from zip(batch, tenses, answers, strict=True)


def scores(answer: Answer, calibration: Calibration) -> list[str]:
    """The cells behind a prediction: its probability, the second answer and its probability."""
    shares = calibration.probabilities(answer)
    cells = [f"{shares[0]:.3f}", "", ""]
    if len(shares) > 1 and shares[1] >= NEAR:
        cells[1:] = [answer.candidates[1].word, f"{shares[1]:.3f}"]
    return cells


if __name__ == "__main__":
    interrupt_ends_at_once("")  # it only prints: there is nothing to save
    sys.exit(main())
