"""``python -m cvae.explore RUN_DIR``: a map of what a model has learned.

python -m cvae.explore outputs/my_run
python -m cvae.explore outputs/my_run --html latent.html --walk walk swim
python -m cvae.explore outputs/my_run --png latent.png --plane 1,3 --at 2=0.5
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cvae.convert import check_words
from cvae.interpolate import Verb, find_verb
from cvae.terminal import (
    ArgumentParser,
    InputError,
    exit_code_of,
    interrupt_ends_at_once,
    interrupt_is_late,
    interrupt_raises,
    run_directory,
    run_of,
)

if TYPE_CHECKING:
    # torch takes seconds to import: --help need not wait for it.
    from torch import Tensor

    from cvae.latent_planes import Plane
    from cvae.latent_space import RowLatents
    from cvae.trained_run import TrainedRun

HTML, PNG = "latent.html", "latent.png"
COLOURS: Final = ("class", "regularity", "letter")
MOST_PLACES: Final = 1024
_DETAIL_PLACES: Final = 96


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0, or 2 with one line of explanation)."""
    options = _parser().parse_args(arguments)
    return exit_code_of("cvae.explore", lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m cvae.explore",
        description="Draw a map of the latent space of a trained model: what each place decodes "
        "to, where the training rows lie, and the way from one verb to another.",
        epilog=f"Without --html and --png both are written into RUN_DIR, as {HTML} and {PNG}.",
    )
    parser.add_argument(
        "run_dir", type=run_directory, metavar="RUN_DIR", help="the directory of a run"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page to explore, one offline file")
    parser.add_argument("--png", metavar="FILE", help="write a still picture")
    parser.add_argument(
        "--plane",
        metavar="WHICH",
        help="two units of z, as 1,2; or pca, the plane in which the rows' posterior means vary "
        "most (default: 1,2 where z has two units, else pca)",
    )
    parser.add_argument(
        "--at",
        metavar="WHERE",
        help="what z is in the other directions: values of units, as 3=0.5,4=-1 (others are 0), "
        "or a verb, as whose posterior mean they are (default: 0, the prior's mean; with pca the "
        "rows' mean)",
    )
    parser.add_argument(
        "--walk",
        nargs=2,
        metavar=("VERB", "VERB"),
        help="the line that the page shows first; where z has more than two units and --plane is "
        "not given, the plane is one that holds this line",
    )
    parser.add_argument(
        "--colour",
        choices=COLOURS,
        default="class",
        help="what the colours say: inflection class, regularity or first letter; the page can "
        "change it (default: class)",
    )
    parser.add_argument(
        "--places",
        type=int,
        metavar="N",
        help="places decoded along a side (default: enough to show every training row, 64 to 256)",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.places is not None and not 2 <= options.places <= MOST_PLACES:
        raise InputError(f"--places is {options.places}; allowed: 2 to {MOST_PLACES}")
    directory = run_of("cvae.explore", options.run_dir)
    targets = _targets(options, directory)
    words = check_words(options.walk) if options.walk else []

    from cvae import latent_figure, latent_page, latent_planes, latent_space, trained_run
    from cvae.colouring import COLOURINGS
    from cvae.run_directory import RunDirectoryError, write_atomically

    interrupt_raises()  # a file may be half written from here on
    try:
        run = trained_run.load(directory)
    except RunDirectoryError as error:
        raise InputError(str(error)) from error
    encoded = latent_space.row_latents(run.model, run.dataset.train)
    verbs = [find_verb(run, encoded, word) for word in words]
    try:
        plane = _plane(run, encoded, options, verbs)
    except latent_planes.PlaneError as error:
        raise InputError(str(error)) from error
    for verb in verbs:
        _say_note(verb)
    side = options.places or latent_space.places_for(len(run.dataset.train), len(plane.axes))
    if sys.stderr.isatty():
        count = side ** len(plane.axes)
        print(f"cvae.explore: decoding {count:,} places; --places makes it less", file=sys.stderr)
    seen = latent_space.draw_map(run.model, run.dataset.train, encoded, plane, side=side)
    title = latent_figure.title(run.model, run.dataset.name, run.config.get("seed"))

    def picture() -> bytes:
        return latent_figure.draw(
            seen,
            COLOURINGS[options.colour],
            title,
            lambda window: latent_space.decode_window(
                run.model, plane, seen.paradigms, window, min(side, _DETAIL_PLACES)
            ),
        )

    def page() -> bytes:
        ends = [(verb.name, verb.row, plane.coordinates(verb.latent)) for verb in verbs]
        return latent_page.render(
            seen,
            colouring=options.colour,
            title=title,
            command=f"python -m cvae.interpolate {shlex.quote(str(directory))}",
            walk=(ends[0], ends[1]) if ends else None,
        ).encode()

    makers: dict[str, Callable[[], bytes]] = {"html": page, "png": picture}
    try:
        for kind, path in targets.items():
            write_atomically(path, makers[kind]())
            print(f"wrote {path}")
    except RunDirectoryError as error:
        raise InputError(str(error)) from error


def _targets(options: argparse.Namespace, directory: Path) -> dict[str, Path]:
    """The files to write, by kind, checked before a minute of work.

    Args:
        directory: the run's, where they go without a name of their own.
    """
    given = {"html": options.html, "png": options.png}
    if any(path == "" for path in given.values()):
        raise InputError("--html and --png need the name of a file")
    targets = {kind: Path(path) for kind, path in given.items() if path}
    if not targets:
        if not directory.is_dir():
            raise InputError(f"{directory}: no such run directory; check the path")
        targets = {"html": directory / HTML, "png": directory / PNG}
    for path in targets.values():
        if path.is_dir():
            raise InputError(f"{path}: is a directory; name a file")
        if not path.parent.is_dir():
            raise InputError(f"{path}: its directory does not exist; make it first")
    if len(set(targets.values())) < len(targets):
        raise InputError(f"{targets['png']}: --html and --png name the same file")
    return targets


def _say_note(verb: Verb) -> None:
    if verb.note:
        print(f"cvae.explore: {verb.note}", file=sys.stderr)


def _plane(
    run: TrainedRun, encoded: RowLatents, options: argparse.Namespace, verbs: Sequence[Verb]
) -> Plane:
    from cvae import latent_planes

    means = encoded.latents.mean
    size = run.model.latent_size
    if options.at is not None and size <= 2:
        raise InputError(f"--at: z has {size} unit{'s' * (size != 1)}; there is no other direction")
    if verbs and size > 2 and options.plane is None:
        if options.at is not None:
            raise InputError("--at: the plane of --walk leaves nothing to choose; give --plane too")
        names = (verbs[0].name, verbs[1].name)
        return latent_planes.plane_of_line(verbs[0].latent, verbs[1].latent, means, names)
    if options.plane is None and options.at is None:
        return latent_planes.usual_plane(means)
    which = options.plane or "pca"
    if which == "pca":
        if size == 1:
            raise InputError("--plane is pca; z has one unit: allowed: 1")
        base, where = means.mean(dim=0), "at the rows' mean"
        if options.at is not None:
            base, where = _where(run, encoded, options.at)
        return latent_planes.principal_plane(means, base, where)
    units = _units(which)
    base, where = means.new_zeros(size), "0"
    if options.at is not None:
        base, where = _where(run, encoded, options.at)
    return latent_planes.unit_plane(units, base, where)


def _units(text: str) -> list[int]:
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})?", text, re.ASCII):
        raise InputError(f"--plane is {text!r}; allowed: two units, as 1,2, or pca")
    return [int(unit) - 1 for unit in text.split(",")]


def _where(run: TrainedRun, encoded: RowLatents, text: str) -> tuple[Tensor, str]:
    """A point (latent,) that the plane goes through, and in words what it is."""
    if "=" not in text:
        verb = find_verb(run, encoded, check_words([text])[0])
        _say_note(verb)
        return verb.latent, f"as at {verb.name}"
    point = encoded.latents.mean.new_zeros(run.model.latent_size)
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            unit, number = int(name), float(value)
        except ValueError:
            unit, number = 0, 0.0
        if not 1 <= unit <= len(point) or not abs(number) <= 8.0:
            raise InputError(
                f"--at: {part!r}; allowed: UNIT=VALUE with units 1 to {len(point)} and values "
                "from -8 to 8, separated by commas, or a verb"
            )
        point[unit - 1] = number
    return point, ", ".join(f"z{part.strip()}" for part in text.split(",")) + ", others 0"


if __name__ == "__main__":
    interrupt_ends_at_once("")
    try:
        sys.exit(main())
    finally:
        interrupt_is_late()
