"""What a run prints: progress during training, then conversions and paradigms as in the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from tqdm import tqdm

from cvae.alphabet import TENSES

Print = Callable[[str], None]


class ProgressReport:
    """A progress bar with the current losses and scores; plain lines if stderr is no terminal."""

    def __init__(self, total_epochs: int, first_epoch: int, say: Print) -> None:
        self._say = say
        self._scores = ""
        self._bar = tqdm(
            total=total_epochs,
            initial=first_epoch,
            dynamic_ncols=True,
            # Without the rate, so that losses and scores fit beside a bar in 80 columns.
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
            "{elapsed}<{remaining}{postfix}",
            leave=False,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def epoch(self, cross_entropy: float, kl: float) -> None:
        """Show the losses of an epoch, in nats per word."""
        self._bar.set_postfix_str(
            f"CE {cross_entropy:.2f} KL {kl:.2f}{self._scores}", refresh=False
        )
        self._bar.update()

    def evaluation(self, row: Mapping[str, float | None]) -> None:
        """Show an evaluation on its own line, above the bar if there is one.

        BLEU-4 is that of the report's ten pairs; Gaussian score and exact match are those of dev.
        """
        bleu4, gaussian = row["bleu4"], row["dev_gaussian_score"]
        dev = row["dev_exact_match"]
        self._scores = f" ten {_share(bleu4)} dev Gauss {_share(gaussian)}"
        line = (
            f"epoch {row['epoch']:>4g}  CE {row['cross_entropy']:6.3f}  KL {row['kl']:5.2f}  "
            f"BLEU-4 ten {_share(bleu4)}  dev Gauss {_share(gaussian)} exact {_share(dev)}"
        )
        if self._bar.disable:
            self._say(line)
        else:
            self._bar.write(line, file=sys.stderr)


def conversions(rows: Sequence[Mapping[str, object]], bleu4: float | None) -> list[str]:
    """The conversions, one per line, and their score."""
    width = max((len(str(row["source"])) for row in rows), default=0)
    target_width = max((len(str(row["target"])) for row in rows), default=0)
    lines = [
        f"  {row['source']!s:<{width}} > {row['target']!s:<{target_width}}  {row['prediction']}"
        f"{'' if row['correct'] else '   <- wrong'}"
        for row in rows
    ]
    return [
        "Conversions (input > target, prediction):",
        *lines,
        f"  BLEU-4, ten pairs: {_share(bleu4, 4)}",
    ]


def paradigms(rows: Sequence[Mapping[str, object]], count: int) -> list[str]:
    """The first generated paradigms, one per line."""
    lines = []
    for row in rows[:count]:
        mark = "training row" if row["training_row"] else "real verb" if row["real_verb"] else ""
        words = "  ".join(f"{row[tense]!s:<13}" for tense in TENSES)
        lines.append(f"  {words}  {mark}".rstrip())
    return ["Paradigms from Gaussian noise:", *lines]


def summary(table: Mapping[str, float | None], dev_name: str) -> list[str]:
    """The final metrics, one per line."""

    def shown(key: str, digits: int = 3) -> str:
        return _share(table.get(key), digits)

    return [
        f"BLEU-4               {shown('bleu4', 4)}  "
        f"on the ten pairs, exact match {shown('exact_match')}",
        f"Gaussian score       {shown('gaussian_score')}  "
        f"over {table['gaussian_draws']:.0f} reported draws, "
        f"95 % interval {shown('gaussian_low')} to {shown('gaussian_high')}",
        f"distinct rows hit    {table['gaussian_distinct']:.0f}, variety "
        f"{shown('gaussian_variety')}  (the score, repeated rows counted down)",
        f"novel and real       {shown('novel_real_share')}  of generated paradigms that are no "
        "training row",
        f"{dev_name} exact match".ljust(20)
        + f" {shown('dev_exact_match')}  (regular {shown('dev_exact_match_regular')}, "
        f"irregular {shown('dev_exact_match_irregular')}), {dev_name} BLEU-4 {shown('dev_bleu4')}",
        f"train exact match    {shown('train_exact_match')}  (regular "
        f"{shown('train_exact_match_regular')}, irregular "
        f"{shown('train_exact_match_irregular')})",
        f"latent z             KL {shown('kl', 1)} nats, mutual information "
        f"{shown('mutual_information', 2)} nats, active units {table['active_units']:.0f}",
        f"-log p(x|c)          {shown('nll', 2)} nats per word (importance-weighted)",
    ]


def _share(value: float | None, digits: int = 3) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
