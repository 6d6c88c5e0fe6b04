"""``python -m cvae.convert RUN_DIR WORD... --to TENSE``: put verbs into another tense.

python -m cvae.convert outputs/my_run abandon --to past
python -m cvae.convert multirun/default abandon --to past
python -m cvae.convert outputs/my_run sent began --from past --to progressive
cut -f1 verbs.tsv | python -m cvae.convert outputs/my_run --to third > third.txt
"""

from __future__ import annotations

import argparse
import re
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
    from cvae.model import ConditionalVAE

ALIASES: Final = {
    **{name: tense for tense, name in enumerate(TENSES)},
    **{str(tense): tense for tense in range(len(TENSES))},
    "present": 0,
    "third": 1,
    "ing": 2,
}
"""Every accepted name of a tense."""

ENDING_NATS: Final = 2.0
"""What an ending is worth when the tense of a word is inferred; the model, if surer, overrules."""

_ENDINGS: Final = (
    None,
    re.compile(r"[aeiouy].*(?<![su])s$"),
    re.compile(r"[aeiouy].*ing$"),
    re.compile(r"[aeiouy].*(?<!e)ed$"),
)
"""What speaks for a tense: its ending behind a vowel, so that bring and shed have none. Nor do
miss and bus; need has none and, at the price of agreed, is left to the model."""

_BATCH: Final = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0, or 2 with one line of explanation)."""
    # Intermixed: the words may stand behind the options, too.
    options = _parser().parse_intermixed_args(arguments)
    return exit_code_of("cvae.convert", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    target = parse_tense("--to", options.to)
    source = None if options.source is None else parse_tense("--from", options.source)
    if not options.words and not options.run_dir.exists():
        raise InputError(f"{options.run_dir}: no such run directory; it stands before the words")
    given, notes = (options.words, []) if options.words else _read_words(sys.stdin)
    words = check_words(given)
    if words != given:
        notes.append("capitals are read in lower case")
    run = run_of("cvae.convert", options.run_dir)

    from cvae.run_directory import RunDirectory, RunDirectoryError

    try:
        model = RunDirectory(run).load_model()
    except RunDirectoryError as error:
        raise InputError(str(error)) from error
    if notes:
        print(f"cvae.convert: {'; '.join(notes)}", file=sys.stderr)
    for word, tense, prediction in conversions(model, words, source, target):
        row = (word, TENSES[tense], TENSES[target], prediction)
        print("\t".join(row) if options.verbose else prediction)


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
    model: ConditionalVAE, words: Sequence[str], source_tense: int | None, target_tense: int
) -> Iterator[tuple[str, int, str]]:
    """Yield (word, its tense, prediction) for every word, in order.

    Args:
        model: in evaluation mode.
        words: letters a..z.
        source_tense: of all words; None infers that of each.
        target_tense: of all predictions.
    """
    import torch

    from cvae import evaluation

    for start in range(0, len(words), _BATCH):
        batch = words[start : start + _BATCH]
        known = [source_tense] * len(batch) if source_tense is not None else None
        tenses = known or infer_tenses(model, batch)
        wanted = [(word, tense, target_tense) for word, tense in zip(batch, tenses, strict=True)]
        predicted = evaluation.convert(model, wanted, torch.device("cpu"))
        yield from zip(batch, tenses, predicted, strict=True)


def infer_tenses(model: ConditionalVAE, words: Sequence[str]) -> list[int]:
    """Return the most likely tense (0..3) of each word.

    The word is read under each tense and spelled again under the same one. The tense with the
    least -log p(word | code, tense) is taken, the lower one if two are equal; a tense that the
    word's ending speaks against pays ``ENDING_NATS`` more. A default model alone is right for
    96 % of the forms of verbs that it has not seen, and the endings make that 97 %. The rest are
    irregular pasts: nothing in an unknown *drank* says that it is no present.
    """
    import torch

    from cvae.batches import words_to_tensor

    packed = words_to_tensor(words)
    losses = []
    with torch.no_grad():
        for tense in range(len(TENSES)):
            tenses = torch.full((len(words),), tense)
            code = model.encode(packed.symbols, packed.lengths, tenses).mean
            losses.append(model.reconstruction(code, tenses, packed.symbols))
    against = torch.tensor([_against(word) for word in words])  # (words, 4)
    total = torch.stack(losses, dim=1) + ENDING_NATS * against
    return [int(tense) for tense in total.argmin(dim=1)]


def _against(word: str) -> list[bool]:
    """For each tense, whether the ending of ``word`` speaks against it.

    A word without an ending may be a present or an irregular past.
    """
    fits = [ending is not None and ending.search(word) is not None for ending in _ENDINGS]
    if not any(fits):
        fits = [True, False, False, True]
    return [not fit for fit in fits]


if __name__ == "__main__":
    interrupt_ends_at_once("")  # it only prints: there is nothing to save
    sys.exit(main())
