"""``python benchmarks/findings.py multirun``: findings.md, scores.md and ladder.md from the runs.

It reads the studies of the report's claims, ``ablation`` and ``pareto``, and the single runs in
directories named ``scores_*`` and ``ladder_*``, below the given directories. It fills the tables
and the yes or no of each claim between the documents' markers, and draws docs/figures/. Tables
without runs are not changed. The text outside the markers is written by hand.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent))

import measuring
import pandas as pd
import torch
from report import filled

from cvae import conversion_errors, evaluation, results, run_schedules
from cvae.alphabet import MAX_WORD_LENGTH, TENSES
from cvae.data import load_table
from cvae.run_directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCUMENTS: Final = measuring.REPOSITORY / "docs"
BLOWN: Final = 100.0
"""A KL above this, in nats per word, has exploded: naming a verb takes 7, spelling it some 30."""

NAMES: Final = {
    "report": "single words",
    "batched": "batches",
    "batched_symbol": "batches, symbols fed back",
}
"""What a member of ``configs/base`` is called."""

LEARNED: Final = 0.9
"""A BLEU-4 of the ten pairs from which on a network has learned to convert."""
FEW: Final = 10
"""With at most this many paradigms among 1,000 prior draws, the output hardly depends on z."""

Runs = pd.DataFrame
Answer = tuple[bool | None, str]
"""Whether the claim holds (None: not decided by these runs), and the numbers that decide it."""


# --- claims ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A study of a claim and its evaluation.

    Attributes:
        keys: the varied keys that define a variant, in addition to the base.
        criterion: the condition for confirming the claim, in words.
        holds: the same condition as a function of one base's runs and their curves.
        panels: the columns of metrics.csv in the figure.
    """

    keys: tuple[str, ...]
    criterion: str
    holds: Callable[[Runs, Runs], Answer]
    panels: tuple[str, ...]


def _where(runs: Runs, key: str, value: object) -> Runs:
    return runs[runs[key] == value]


def _numbers(runs: Runs, column: str) -> list[float]:
    return [float(value) for value in runs[column].dropna()] if column in runs else []


def _range(values: Sequence[float]) -> str:
    """Mean and range: ``0.91 (0.88 to 0.95)``."""
    if not values:
        return "-"
    mean = sum(values) / len(values)
    low, high = min(values), max(values)
    shown = _short(mean)
    return shown if low == high else f"{shown} ({_short(low)} to {_short(high)})"


def _short(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def _ended(runs: Runs) -> bool:
    return bool(len(runs)) and bool((runs["status"] == "complete").all())


def equal_rates(runs: Runs, _: Runs) -> Answer:
    equal = runs["optim.encoder_lr"] == runs["optim.encoder_lr"].min()
    said, more = (_numbers(part, "distinct_paradigms") for part in (runs[equal], runs[~equal]))
    shown = f"different paradigms: equal rates {_range(said)}, faster encoder {_range(more)}"
    if not said or not more:
        return None, shown
    return max(said) <= FEW < min(more), shown


def step_lr(runs: Runs, _: Runs) -> Answer:
    stepped = _where(runs, "optim.encoder_step_gamma", 0.5)
    bleu = _numbers(stepped, "bleu4")
    other = _numbers(_where(runs, "optim.encoder_step_gamma", 1.0), "bleu4")
    shown = f"BLEU-4 with StepLR {_range(bleu)}, without {_range(other)}"
    return (_ended(stepped) and min(bleu) >= LEARNED) if len(stepped) else None, shown


def _exploded(runs: Runs) -> str:
    diverged = _where(runs, "status", "diverged")
    reason = f" ({diverged['reason'].iloc[0]})" if len(diverged) else ""
    return f"{len(diverged)} of {len(runs)} diverged{reason}"


def constant_kl(runs: Runs, _: Runs) -> Answer:
    constant = _where(runs, "anneal", "constant")
    if constant.empty:
        return None, "no run"
    shown = f"{_exploded(constant)}, KL in the end {_range(_numbers(constant, 'kl'))} nats"
    blown = (constant["status"] == "diverged") | (constant["kl"] > BLOWN)
    return bool(blown.all()), shown


def kl_switch_on(runs: Runs, curves: Runs) -> Answer:
    late, never = (_where(runs, "anneal.start", start) for start in (0.5, 1.0))
    if late.empty:
        return None, "no run"
    peak = curves[curves["run"].isin(never["run"])].groupby("run")["kl"].max()
    shown = f"{_exploded(late)} when switched on; KL left alone reached {_range(list(peak))} nats"
    return bool((late["status"] == "diverged").all()), shown


def cycles(runs: Runs, curves: Runs) -> Answer:
    """A cycle starts where the KL weight falls; its first evaluation is the restart."""
    dropped, restarts_rise, restarts = [], [], []
    for run in runs[runs["anneal.cycle_count"] > 1]["run"]:
        curve = _where(curves, "run", run)
        cycle = (curve["kl_weight"].diff() < 0).cumsum()
        parts = [part for _, part in curve["seen_bleu4"].groupby(cycle)]
        if len(parts) < 2:
            continue
        starts = [float(part.iloc[0]) for part in parts]
        restarts.append(starts)
        dropped.append(all(float(part.min()) < float(part.iloc[0]) for part in parts))
        restarts_rise.append(starts == sorted(starts) and starts[0] < starts[-1])
    if not restarts:
        return None, "fewer than two cycles"
    shown = "BLEU-4 at the restarts " + "; ".join(
        " > ".join(f"{value:.3f}" for value in starts) for starts in restarts
    )
    return all(dropped) and all(restarts_rise), shown


def teacher_forcing(runs: Runs, _: Runs) -> Answer:
    constant = _where(runs, "teacher_forcing", "constant")
    parts = {
        "none": _where(constant, "teacher_forcing.ratio", 0.0),
        "fast": _where(runs, "teacher_forcing", "exponential"),
        "report's": _where(runs, "teacher_forcing", "linear"),
        "never falls": _where(constant, "teacher_forcing.ratio", 1.0),
    }
    bleu = {name: _numbers(part, "seen_bleu4") for name, part in parts.items()}
    shown = "BLEU-4: " + ", ".join(f"{name} {_range(values)}" for name, values in bleu.items())
    if not all(bleu.values()):
        return None, shown
    least = min(bleu["report's"])
    return all(max(bleu[name]) < least for name in ("none", "fast", "never falls")), shown


CLAIMS: Final[Mapping[str, Claim]] = {
    "claim_equal_rates": Claim(
        ("optim.encoder_lr", "optim.decoder_lr"),
        f"with equal rates every run says at most {FEW} different paradigms in 1,000 prior draws, "
        "and with a faster encoder every run says more",
        equal_rates,
        ("kl", "dev_distinct_paradigms", "bleu4"),
    ),
    "claim_step_lr": Claim(
        ("optim.encoder_step_gamma",),
        f"every run with StepLR ends, with a BLEU-4 of the ten pairs of at least {LEARNED}",
        step_lr,
        ("cross_entropy", "kl", "bleu4"),
    ),
    "claim_constant_kl": Claim(
        ("anneal",),
        f"at a constant weight of 1 every run diverges or ends with a KL above {BLOWN:.0f} nats "
        "per word (naming a verb takes 7)",
        constant_kl,
        ("kl", "kl_weight", "bleu4"),
    ),
    "claim_kl_switch_on": Claim(
        ("anneal.start",),
        "every run whose weight switches on half-way diverges: a loss that is not finite, or a KL "
        "above 100,000 nats per word",
        kl_switch_on,
        ("kl", "kl_weight", "cross_entropy"),
    ),
    "claim_cycles": Claim(
        ("anneal.cycle_count",),
        "in every run BLEU-4 of the training verbs falls below its restart within each cycle, and "
        "every cycle restarts at least as high as the one before",
        cycles,
        ("seen_bleu4", "kl_weight", "dev_distinct_paradigms"),
    ),
    "claim_teacher_forcing": Claim(
        ("teacher_forcing", "teacher_forcing.ratio", "teacher_forcing.half"),
        "every run without forcing, with a fast decay, or with full forcing throughout ends with "
        "a lower BLEU-4 of the training verbs than every run of the report's decay",
        teacher_forcing,
        ("seen_bleu4", "teacher_forcing_ratio", "cross_entropy"),
    ),
}

TITLES: Final = {
    "cross_entropy": "cross-entropy (nats per word)",
    "kl": "KL of z (nats per word)",
    "kl_weight": "KL weight",
    "teacher_forcing_ratio": "teacher forcing ratio",
    "bleu4": "BLEU-4, the report's ten pairs",
    "dev_bleu4": "BLEU-4, dev verbs",
    "seen_bleu4": "BLEU-4, sample of training verbs",
    "dev_exact_match": "exact match, dev verbs",
    "dev_gaussian_score": "Gaussian score, draws for selection",
    "dev_gaussian_variety": "Gaussian variety, draws for selection",
    "dev_distinct_paradigms": "different paradigms, draws for selection",
}
"""What a column is called in a figure."""

SHOWN: Final = (
    *("bleu4", "seen_bleu4", "kl", "mutual_information", "active_units"),
    "distinct_paradigms",
)


def variants(runs: Runs, keys: Sequence[str]) -> pd.Series[Any]:
    """A name for each run's variant: ``encoder_lr 0.05, decoder_lr 0.05``."""

    def name(row: pd.Series[Any]) -> str:
        present = [(key, row[key]) for key in keys if key in row and not pd.isna(row[key])]
        # The member of a group is its own name.
        return ", ".join(
            f"{key.rpartition('.')[2]} {value:g}" if isinstance(value, int | float) else str(value)
            for key, value in present
        )

    return runs.apply(name, axis=1)


def _curves(runs: Runs, claim: Claim) -> Runs:
    """The runs' evaluations; all columns but no rows if there is no evaluation."""
    curves = results.curves(runs, damaged="warn")
    needed = ("run", "epoch", "kl", "kl_weight", "bleu4", "seen_bleu4")
    return curves.reindex(columns=list(dict.fromkeys([*curves, *needed, *claim.panels])))


def _epochs_to_learn(runs: Runs, curves: Runs) -> str:
    """Epochs until BLEU-4 of the ten pairs is first ``LEARNED``: ``23 (20 to 26)``."""
    learned = curves[curves["run"].isin(runs["run"]) & (curves["bleu4"] >= LEARNED)]
    firsts = learned.groupby("run")["epoch"].min()
    missing = f", {len(runs) - len(firsts)} never" if 0 < len(firsts) < len(runs) else ""
    return _range([float(epoch) for epoch in firsts]) + missing


def claim_block(name: str, runs: Runs, figure: str) -> str:
    """The table of one study, the decision for each base, and the figure."""
    claim = CLAIMS[name]
    curves = _curves(runs, claim)
    runs = runs.assign(variant=variants(runs, claim.keys))
    rows, answers = [], []
    for base in NAMES:
        part = _where(runs, "base", base)
        if part.empty:
            continue
        for variant, group in part.groupby("variant"):
            complete = _where(group, "status", "complete")
            outcome = ", ".join(f"{n} {s}" for s, n in group["status"].value_counts().items())
            cells = [_range(_numbers(complete, measure)) for measure in SHOWN]
            learned = _epochs_to_learn(group, curves)
            rows.append([NAMES[base], variant, outcome, *cells, learned])
        holds, shown = claim.holds(part, curves)
        verdict = {True: "yes", False: "no", None: "cannot be told"}[holds]
        answers.append(f"- {NAMES[base]}: **{verdict}** ({shown})")
    heads = ["base", "variant", "runs", *SHOWN, f"epochs to bleu4 {LEARNED}"]
    table = measuring.table(heads, rows)
    criterion = f"Confirmed if {claim.criterion}:"
    return "\n\n".join([table, criterion, "\n".join(answers), f"![{name}]({figure})"])


def draw(name: str, runs: Runs, path: Path) -> None:
    """The study's curves: one row per base, with mean and range over seeds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    claim = CLAIMS[name]
    runs = runs.assign(variant=variants(runs, claim.keys))
    curves = _curves(runs, claim)
    bases = [base for base in NAMES if base in set(runs["base"])]
    figure = Figure(figsize=(12.0, 0.6 + 2.8 * len(bases)), dpi=100, layout="constrained")
    grid = figure.subplots(len(bases), len(claim.panels), squeeze=False)
    for line, base in zip(grid, bases, strict=True):
        for axes, column in zip(line, claim.panels, strict=True):
            for variant, group in _where(runs, "base", base).groupby("variant"):
                # A run that diverged in its first epoch has no curve, but a line in the legend.
                lost = int((group["status"] != "complete").sum())
                label = f"{variant} ({lost} of {len(group)} broke off)" if lost else variant
                part = curves[curves["run"].isin(group["run"])]
                _plot(axes, group, part, "epoch", column, marker="o", ms=3, label=label)
            axes.set_title(f"{NAMES[base]}: {TITLES.get(column, column)}", fontsize=10)
            axes.set_xlabel("epoch", fontsize=9)
            axes.grid(alpha=0.3)
            if column == "kl":
                axes.set_yscale("symlog", linthresh=1.0)  # from collapse to explosion
                axes.set_ylim(0.0, max(1.0, axes.get_ylim()[1]))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        line[0].legend(fontsize=8)
    _save(figure, path)


def _plot(axes: Any, runs: Runs, curves: Runs, along: str, column: str, **style: Any) -> None:
    """A schedule as it is; of what was measured the mean over seeds, and their range as a band."""
    if column in run_schedules.COLUMNS:
        config = results.configuration(runs["run"].iloc[0])
        points = run_schedules.schedule_points(config).get(column)
        length = run_schedules.epoch_count(config) if along == "epoch" else 1
        if points and length:
            xs, values = [p * length for p, _ in points], [value for _, value in points]
            axes.plot(xs, values, **style, markevery=[])
            return
    seeds = curves.groupby(along)[column].agg(["mean", "min", "max"])
    (drawn,) = axes.plot(seeds.index, seeds["mean"], **style)
    axes.fill_between(seeds.index, seeds["min"], seeds["max"], alpha=0.2, color=drawn.get_color())


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without matplotlib's version in the metadata, the same runs give the same file.
    figure.savefig(path, format="png", metadata={"Software": None})


# --- scores ------------------------------------------------------------------------------------

ABLATION: Final = {
    "dev_exact_match_regular": "dev, regular",
    "dev_exact_match_irregular": "dev, irregular",
    "bleu4": "BLEU-4, ten pairs",
    "gaussian_score": "Gaussian score",
    "gaussian_distinct": "distinct rows",
}


def ablation_block(runs: Runs) -> str:
    """One row per change of the default, with the unchanged default first."""
    changes = list(dict.fromkeys(["none", *sorted(runs["change"].dropna())]))
    rows = []
    for change in changes:
        part = _where(runs, "change", change)
        complete = _where(part, "status", "complete")
        if len(part):
            cells = [_range(_numbers(complete, column)) for column in ABLATION]
            rows.append([change, f"{len(complete)} of {len(part)}", *cells])
    return measuring.table(["change", "complete runs", *ABLATION.values()], rows)


PROTOCOL: Final = {
    "bleu4": "BLEU-4, ten pairs",
    "exact_match": "exact, ten pairs",
    "gaussian_score": "Gaussian score, 1,000 draws",
    "gaussian_distinct": "distinct rows hit",
    "novel_real_share": "real among the new",
    "kl": "KL, nats",
}


def protocol_block(runs: Runs) -> str:
    """The report's protocol: the ten conversions and the prior draws of every ``scores_*``."""
    rows = []
    for (data, name), part in runs.groupby(["data", "study"]):
        cells = [_range(_numbers(part, column)) for column in PROTOCOL]
        cells[3] += f" of {_uniform_distinct(data, part):.0f}"
        minutes = [seconds / 60.0 for seconds in _numbers(part, "seconds")]
        rows.append([data, name, str(len(part)), *cells, _range(minutes)])
    heads = ["data", "model", "n", *PROTOCOL.values(), "minutes"]
    return measuring.table(heads, rows)


def _uniform_distinct(data: str, runs: Runs) -> float:
    """Expected number of distinct rows among as many uniform draws from all rows."""
    rows, draws = len(load_table(data).train), int(runs["gaussian_draws"].iloc[0])  # type: ignore[arg-type]
    return float(rows * (1.0 - (1.0 - 1.0 / rows) ** draws))


def scores_block(runs: Runs) -> str:
    """The models of ``scores_*`` compared with the rules and with copying, on each data set."""
    heads = ["data", "what"]
    heads += [f"{s}, {kind}" for s in ("dev", "test") for kind in ("regular", "irregular")]
    keys = [f"{s}_exact_match_{k}" for s in ("dev", "test") for k in ("regular", "irregular")]
    rows = []
    for data in ("common", "large"):
        dataset = load_table(data)  # type: ignore[arg-type]
        baselines = {
            name: evaluation.baseline_conversions(name, dataset) for name in evaluation.BASELINES
        }
        counts = baselines["rules"]
        pairs = [f"n = {counts[key.replace('exact_match', 'pairs')]:,}" for key in keys]
        rows.append([data, "pairs", *pairs])
        for name, part in runs[runs["data"] == data].groupby("study"):
            cells = [_range(_numbers(part, key)) for key in keys]
            rows.append([data, f"{name} ({len(part)} runs)", *cells])
            reranked = _all_reranked(part, data)
            if reranked:
                shares = [
                    [_share(found, split, kind) for found in reranked]
                    for split in ("dev", "test")
                    for kind in (1, 0)
                ]
                what = f"{name}, reranked ({len(reranked)} runs)"
                rows.append([data, what, *map(_range, shares)])
        for name, found in baselines.items():
            rows.append([data, name, *(_short(found[key] or 0.0) for key in keys)])
    return measuring.table(heads, rows)


def pareto_block(runs: Runs) -> str:
    """The runs of the study ``pareto`` that are not dominated in both scores."""
    front = results.pareto(runs)
    shown = ["trial", *results.pair(runs), "dev_exact_match_regular"]
    shown += [key for key in results.varied(runs) if key != "seed"]
    rows = [
        [value if isinstance(value, str) else _short(float(value)) for value in row]
        for row in front[shown].itertuples(index=False)
    ]
    heads = [name.removeprefix("objective_").rpartition(".")[2] for name in shown]
    complete = int((runs["status"] == "complete").sum())
    count = f"{len(front)} of {complete} complete runs ({len(runs)} in all)."
    return f"{measuring.table(heads, rows)}\n\n{count}\n\n![front](figures/pareto.png)"


def draw_pareto(runs: Runs, path: Path) -> None:
    """All complete runs by their two scores, with the front."""
    from matplotlib.figure import Figure

    x, y = results.pair(runs)
    front = results.pareto(runs).sort_values(x)
    figure = Figure(figsize=(6.0, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    every = axes.scatter(
        runs[x], runs[y], c=runs["training.hallucination_share"], cmap="viridis", s=30
    )
    axes.step(front[x], front[y], where="pre", color="0.4", lw=1, zorder=0)
    figure.colorbar(every, ax=axes, label="share of pairs with a made-up stem")
    axes.set_xlabel(TITLES["dev_bleu4"])
    axes.set_ylabel(TITLES[f"dev_{y.removeprefix('objective_')}"])
    axes.set_title("Conversion of unseen verbs against generation", fontsize=10)
    axes.grid(alpha=0.3)
    _save(figure, path)


# --- the ladder --------------------------------------------------------------------------------

RUNGS: Final = ("report", "report_batched", "report_tuned", "single_tuned", "default", "best")
"""Experiments from the report to the default; their runs are in ``ladder_NAME``."""

LADDER: Final = {
    "bleu4": "BLEU-4, ten pairs",
    "gaussian_score": "Gaussian score",
    "gaussian_distinct": "distinct rows",
    "kl": "KL, nats",
    "mutual_information": "mutual information, nats",
    "train_exact_match": "exact, training verbs",
}


def _rungs(runs: Runs) -> list[tuple[str, Runs]]:
    return [(rung, part) for rung in RUNGS if len(part := _where(runs, "study", f"ladder_{rung}"))]


def ladder_block(runs: Runs) -> str:
    """One row per rung. Times are multiples of the default's with the same number of threads."""
    threads = [_result(path)["versions"]["torch_threads"] for path in runs["run"]]
    runs = runs.assign(threads=threads)
    default = _where(runs, "study", "ladder_default").groupby("threads")["seconds"].mean()
    rows = []
    for rung, part in _rungs(runs):
        cells = [_range(_numbers(part, column)) for column in LADDER]
        cells[2] += f" of {_uniform_distinct('common', part):.0f}"
        times = (part["seconds"] / part["threads"].map(default)).dropna()
        rows.append([rung, str(len(part)), *cells, _range(list(times))])
    table = measuring.table(["rung", "n", *LADDER.values(), "time (default = 1)"], rows)
    return f"{table}\n\n![ladder](figures/ladder.png)"


def draw_ladder(runs: Runs, path: Path) -> None:
    """KL and both scores over training, one row per rung, with mean and range over seeds."""
    from matplotlib.figure import Figure

    rungs = _rungs(runs)
    panels = ("kl", "kl_weight", "seen_bleu4", "dev_gaussian_score")
    curves = results.curves(runs, damaged="warn")
    curves = curves.reindex(columns=list(dict.fromkeys([*curves, *panels])))
    figure = Figure(figsize=(12.0, 0.5 + 2.0 * len(rungs)), dpi=100, layout="constrained")
    grid = figure.subplots(len(rungs), len(panels), squeeze=False, sharex=True)
    for axes, column in zip(grid[0], panels, strict=True):
        axes.set_title(TITLES[column], fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("share of training", fontsize=9)
    for line, (rung, part) in zip(grid, rungs, strict=True):
        curve = curves[curves["run"].isin(part["run"])]
        for axes, column in zip(line, panels, strict=True):
            _plot(axes, part, curve, "progress", column)
            axes.set_ylim(bottom=0.0)
            if column in ("seen_bleu4", "dev_gaussian_score"):
                axes.set_ylim(0.0, 1.02)
            axes.grid(alpha=0.3)
        line[0].set_ylabel(rung, fontsize=10)
    _save(figure, path)


@functools.cache
def _reranked(run: str, data: Literal["common", "large"]) -> Runs | None:
    """The conversions of unseen verbs by ``cvae.reranking``, as ``results.conversions`` has them.

    None if the run's weights are not there.
    """
    directory = RunDirectory(Path(run))
    if not directory.path.joinpath("weights.safetensors").exists():
        return None
    dataset = load_table(data)
    model, device = directory.load_model().eval(), torch.device("cpu")
    seen = evaluation.Observations(model, dataset, draws=1, importance_samples=1, device=device)
    rows = [
        {
            "split": split,
            "source": pair.source,
            "source_tense": TENSES[pair.source_tense],
            "target_tense": TENSES[pair.target_tense],
            "correct": int(word in pair.accepted),
            "edit_distance": 0,
            "regular": int(pair.regular),
        }
        for split, greedy in (("dev", seen.dev), ("test", seen.test))
        for pair, word in seen.reranked([pair for pair, _ in greedy])
    ]
    return pd.DataFrame(rows)


def _all_reranked(runs: Runs, data: Literal["common", "large"]) -> list[Runs]:
    found = (_reranked(run, data) for run in runs["run"])
    return [conversions for conversions in found if conversions is not None]


def _share(conversions: Runs, split: str, regular: int) -> float:
    chosen = (conversions["split"] == split) & (conversions["regular"] == regular)
    return float(conversions.loc[chosen, "correct"].mean())


LENGTHS: Final = ((2, 4), (5, 7), (8, 10), (11, MAX_WORD_LENGTH))


def lengths_block(runs: Runs) -> str:
    """Regular verbs never seen, by the letters of the source word, for every ``scores_*``."""
    heads = ["data", "model", "split"]
    heads += [f"{first} to {last} letters" for first, last in LENGTHS[:-1]]
    heads.append(f"{LENGTHS[-1][0]} and more")
    rows = []
    for (data, split), of_split in _each_split(runs):
        counts, models = [], []
        conversions: dict[str, list[Runs]] = {}
        for name, of_model in of_split.groupby("study"):
            conversions[name] = [results.conversions(run) for run in of_model["run"]]
            if reranked := _all_reranked(of_model, data):
                conversions[f"{name}, reranked"] = reranked
        for name, found in conversions.items():
            tables = [_by_length(table, split) for table in found]
            cells = []
            for first, last in LENGTHS:
                parts = [table[table["letters"].between(first, last)] for table in tables]
                shares = [1.0 - part["wrong"].sum() / part["conversions"].sum() for part in parts]
                cells.append(_range(shares))
                counts.append(f"n = {parts[0]['conversions'].sum():,}")
            models.append([data, f"{name} ({len(found)} runs)", split, *cells])
        rows += [[data, "pairs", split, *counts[: len(LENGTHS)]], *models]
    return measuring.table(heads, rows)


def _each_split(runs: Runs) -> Iterator[tuple[tuple[str, str], Runs]]:
    for data, part in runs.groupby("data"):
        for split in ("dev", "test"):
            yield (data, split), part


def _by_length(conversions: Runs, split: str) -> Runs:
    found = conversion_errors.accuracy_by_length(conversions, split=split)
    return found[found["kind"] == "regular"]


# --- documents ---------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Fill both documents and draw the figures."""
    parser = argparse.ArgumentParser(description="Fill docs/findings.md, scores.md, ladder.md.")
    parser.add_argument("runs", nargs="+", help="a sweep, or any directory above several")
    parser.add_argument("--documents", type=Path, default=DOCUMENTS)
    parser.add_argument(
        "--busy", action="store_true", help="the runs shared the machine: leave their times out"
    )
    options = parser.parse_args(arguments)
    try:
        runs = results.load(*options.runs)
    except results.ResultsError as error:
        print(f"findings: {error}", file=sys.stderr)
        return 2
    # A run outside a study is named by its parent directory.
    study = runs["study"].fillna(runs["run"].map(lambda path: Path(path).parent.name))
    runs = runs.assign(study=study)
    if options.busy:
        runs = runs.assign(seconds=math.nan)
    figures = options.documents / "figures"
    claims = {}
    for name in CLAIMS:
        part = runs[study == name]
        if len(part):
            draw(name, part, figures / f"{name}.png")
            claims[name] = claim_block(name, part, f"figures/{name}.png")
    _fill(options.documents / "findings.md", claims, CLAIMS)
    tables = {}
    scores = runs[study.str.startswith("scores_") & (runs["status"] == "complete")]
    if len(scores):
        scores = scores.assign(data=[_data(path) for path in scores["run"]])
        tables |= {"protocol": protocol_block(scores), "scores": scores_block(scores)}
        with_words = scores[[_has_test_words(path) for path in scores["run"]]]
        if len(with_words):
            tables["lengths"] = lengths_block(with_words)
    ablation, pareto = runs[study == "ablation"], runs[study == "pareto"]
    if len(ablation):
        tables["ablation"] = ablation_block(ablation)
    if len(pareto):
        draw_pareto(pareto, figures / "pareto.png")
        tables["pareto"] = pareto_block(pareto)
    _fill(
        options.documents / "scores.md",
        tables,
        ("protocol", "scores", "lengths", "ablation", "pareto"),
    )
    ladder = runs[study.str.startswith("ladder_") & (runs["status"] == "complete")]
    blocks = {}
    if len(ladder):
        draw_ladder(ladder, figures / "ladder.png")
        blocks["ladder"] = ladder_block(ladder)
    _fill(options.documents / "ladder.md", blocks, ("ladder",))
    return 0


def _data(run: str) -> str:
    """The data set of a run; the column exists only if runs differ in it."""
    return str(_result(run)["config"]["data"]["name"])


def _has_test_words(run: str) -> bool:
    """Whether the run's test conversions were kept; runs of earlier versions have none."""
    path = Path(run, "conversions.csv")
    return path.exists() and "test" in set(pd.read_csv(path, usecols=["split"])["split"])


def _result(run: str) -> Any:
    return json.loads(Path(run, "result.json").read_text())


def _fill(document: Path, blocks: dict[str, str], names: Iterable[str]) -> None:
    if blocks:
        document.write_text(filled(document.read_text(), blocks))
        print(f"{document}: filled {', '.join(blocks)}")
    left = [name for name in names if name not in blocks]
    if left:
        print(f"{document}: no runs of {', '.join(left)}: left as it was")


if __name__ == "__main__":
    sys.exit(main())
