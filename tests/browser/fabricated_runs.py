"""Run directories as training leaves them, made in milliseconds and without training.

They follow docs/architecture.md, "What a run leaves behind". The numbers are invented but not
arbitrary: the objective depends on the overrides, so that rankings, importances and
comparisons computed from them have a known answer.
"""

from __future__ import annotations

import csv
import functools
import json
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

TENSES = ("simple_present", "third_person", "progressive", "past")
VERBS = ("abandon", "walk", "expend", "heal", "start", "listen", "turn", "paint", "act", "help")
REPORT_PAIRS = (
    ("abandon", 0, "abandoned", 3),
    ("abet", 0, "abetting", 2),
    ("begin", 0, "begins", 1),
    ("expend", 0, "expends", 1),
    ("sent", 3, "sends", 1),
    ("split", 0, "splitting", 2),
    ("flared", 3, "flare", 0),
    ("functioning", 2, "function", 0),
    ("functioning", 2, "functioned", 3),
    ("healing", 2, "heals", 1),
)
DEFAULTS: dict[str, Any] = {
    "anneal": {"name": "cyclical", "cycle_count": 4, "ramp_fraction": 0.5, "kl_weight_max": 0.1},
    "teacher_forcing": {"name": "linear", "start": 1.0, "end": 0.8},
    "optim": {"name": "onecycle", "encoder_lr": 0.001, "decoder_lr": 0.001, "clip": 1.0},
    "model": {"name": "default", "latent_size": 32, "hidden_size": 256, "two_level": True},
    "objective": {"name": "combined", "bleu_weight": 0.5, "gaussian_weight": 0.5},
    "data": {"name": "common", "bucket_sizes": [8, 12, 24]},
    "seed": 0,
}
MONOTONIC = {"name": "monotonic", "ramp_fraction": 0.5, "kl_weight_max": 0.1}


def fabricate_run(
    directory: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    status: str = "complete",
    reason: str | None = None,
    study: str | None = None,
    number: int | None = None,
    confirms: int | None = None,
    evaluations: int = 12,
    dev_rows: int = 40,
    objective: Sequence[float] | float | None = None,
) -> Path:
    """Write one run directory; ``interrupted`` leaves out ``result.json``, as a kill does.

    ``failed`` has what the search writes in its place, ``damaged`` half of it, and ``objective``
    replaces the computed value. A run without ``objective.generation`` is one from before the key.
    """
    given = dict(overrides or {})
    config = _config(given)
    texts = [f"{key}={_text(value)}" for key, value in given.items()]
    seed = int(config["seed"])
    chance = random.Random(repr((sorted(texts), number)))
    bleu, gaussian = _scores(config, chance)
    _write_hydra(directory / ".hydra", config, given, texts)
    total = round(chance.uniform(40, 90), 3)
    parts = {"bleu4": bleu, "gaussian_score": gaussian}
    if "generation" in config["objective"]:
        parts["gaussian_variety"] = 1.0 - gaussian  # ranks the runs in another order
    result: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "objective": {
            "name": config["objective"]["name"],
            "value": 0.5 * bleu + 0.5 * gaussian if objective is None else objective,
            "parts": parts,
        },
        "metrics": _metrics(bleu, gaussian, chance),
        "config": config,
        "overrides": texts,
        "seed": seed,
        "seconds": {"total": total, "train": total * 0.8, "evaluate": total * 0.2},
        "steps": 4000,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "git_commit": None,
        "started_at": f"2026-01-02T03:{(number or 0) // 60 % 60:02d}:{(number or 0) % 60:02d}Z",
        "trial": None
        if number is None
        else {"study": study, "number": number}
        | ({} if confirms is None else {"confirms": confirms}),
    }
    if status == "diverged":
        result["objective"]["value"] = 0.0
        result["objective"]["parts"] = dict.fromkeys(parts, 0.0)
        result["metrics"] = {name: None for name in result["metrics"]}
        evaluations = evaluations // 3
    elif status == "pruned":
        result["metrics"] = {"dev_bleu4": bleu / 2, "dev_gaussian_score": gaussian / 2}
        evaluations = evaluations // 2
    elif status in ("failed", "interrupted"):
        evaluations = 0
    if status == "damaged":
        text = json.dumps({**result, "status": "complete"})
        (directory / "result.json").write_text(text[: len(text) // 2], encoding="utf-8")
    elif status == "failed":
        text = json.dumps({key: result[key] for key in ("status", "reason", "trial")})
        (directory / "unfinished.json").write_text(text, encoding="utf-8")
    elif status != "interrupted":
        text = json.dumps(result, indent=1)
        (directory / "result.json").write_text(text, encoding="utf-8")
    if evaluations:
        _write_curves(directory / "metrics.csv", config, evaluations, bleu, gaussian, total)
    if status == "complete":
        _write_conversions(directory / "conversions.csv", chance, bleu, dev_rows)
        _write_samples(directory / "samples.csv", chance, gaussian)
    return directory


def fabricate_sweep(directory: Path, trials: int, *, faults: bool = True, **more: Any) -> Path:
    """Write a search over schedule, learning rate and latent size, with a few faults."""
    chance = random.Random(5)
    for number in range(trials):
        anneal = chance.choice(["cyclical", "monotonic"])
        overrides: dict[str, Any] = {
            "anneal": anneal,
            "model.latent_size": chance.choice([8, 16, 32, 64]),
            "optim.encoder_lr": float(f"{10 ** chance.uniform(-4, -1):.3g}"),
            "model.two_level": chance.random() < 0.5,
            "seed": chance.randrange(3),
        }
        if anneal == "cyclical":
            overrides["anneal.cycle_count"] = chance.randrange(1, 9)
        status, reason = "complete", None
        if faults:
            status, reason = {
                3: ("diverged", "kl is 1e9 at step 812"),
                5: ("pruned", "dev objective 0.21 below the median 0.44 at step 1000"),
                7: ("failed", "RuntimeError: out of memory"),
                9: ("interrupted", None),
                11: ("damaged", None),
            }.get(number % 40, ("complete", None))
        fabricate_run(
            directory / f"trial_{number:05d}",
            overrides,
            status=status,
            reason=reason,
            study=directory.name,
            number=number,
            **more,
        )
    return directory


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _config(overrides: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(json.dumps(DEFAULTS))
    for key, value in overrides.items():
        if key == "anneal" and value == "monotonic":
            config["anneal"] = dict(MONOTONIC)
        elif isinstance(config.get(key), dict):
            config[key]["name"] = value
        else:
            *groups, last = key.lstrip("+").split(".")
            node = config
            for group in groups:
                node = node.setdefault(group, {})
            node[last] = value
    return config


def _scores(config: Mapping[str, Any], chance: random.Random) -> tuple[float, float]:
    """Return BLEU-4 and Gaussian score: the learning rate matters most, then the schedule."""
    rate = math.log10(config["optim"]["encoder_lr"])
    bleu = 0.95 - 0.12 * abs(rate + 2.5) - 0.05 * (config["anneal"]["name"] == "monotonic")
    gaussian = 0.3 + 0.1 * abs(rate + 2.5) - 0.003 * abs(int(config["model"]["latent_size"]) - 24)
    bleu += chance.gauss(0, 0.01)
    gaussian += chance.gauss(0, 0.01)
    return min(max(bleu, 0.0), 1.0), min(max(gaussian, 0.0), 1.0)


def _metrics(bleu: float, gaussian: float, chance: random.Random) -> dict[str, float | None]:
    return {
        "bleu4": min(1.0, bleu + 0.02),
        "exact_match": round(bleu, 1),
        "dev_bleu4": bleu,
        "dev_exact_match": bleu - 0.1,
        "dev_exact_match_regular": bleu - 0.05,
        "dev_exact_match_irregular": 0.2,
        **{f"dev_exact_match_to_{tense}": bleu - 0.1 for tense in TENSES},
        "dev_edit_distance": 2 * (1 - bleu),
        "gaussian_score": gaussian,
        "gaussian_low": gaussian - 0.03,
        "gaussian_high": gaussian + 0.03,
        "gaussian_distinct": float(round(gaussian * 700)),
        "gaussian_draws": 1000.0,
        "distinct_paradigms": 900.0,
        "dev_gaussian_score": gaussian,
        "novel_real_share": 0.05,
        "kl": chance.uniform(5, 12),
        "active_units": 20.0,
        "mutual_information": 5.5,
        "nll": chance.uniform(7, 12),
        "reconstruction": chance.uniform(0.1, 2),
    }


def _write_hydra(
    directory: Path, config: Mapping[str, Any], given: Mapping[str, Any], texts: Sequence[str]
) -> None:
    directory.mkdir(parents=True)
    lines = [f"- {text}\n" for text in texts] or ["[]\n"]
    (directory / "overrides.yaml").write_text("".join(lines), encoding="utf-8")
    # JSON is YAML, and a killed run's configuration is not resolved.
    unresolved = {**config, "paths": {"weights": "${hydra:runtime.output_dir}/weights"}}
    (directory / "config.yaml").write_text(json.dumps(unresolved, indent=1), encoding="utf-8")
    chosen = {"anneal": "cyclical", "model": "default", "objective": "combined"}
    chosen |= {key: _text(value) for key, value in given.items() if key in DEFAULTS}
    choices = "".join(f"      {key}: {value}\n" for key, value in chosen.items() if key != "seed")
    (directory / "hydra.yaml").write_text(
        "hydra:\n  run:\n    dir: outputs\n  runtime:\n    version: 1.3.8\n    choices:\n"
        f"{choices}      hydra/env: default\n  verbose: false\n",
        encoding="utf-8",
    )


def _write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_curves(
    path: Path,
    config: Mapping[str, Any],
    evaluations: int,
    bleu: float,
    gaussian: float,
    seconds: float,
) -> None:
    header = "step epoch progress seconds cross_entropy kl kl_weight teacher_forcing_ratio"
    header += " encoder_lr decoder_lr bleu4 dev_bleu4 dev_exact_match dev_gaussian_score"
    top = config["anneal"]["kl_weight_max"]
    cycles = config["anneal"].get("cycle_count", 1)
    rows = []
    for i in range(evaluations):
        progress = (i + 1) / evaluations
        learnt = 1 - math.exp(-4 * progress)
        phase = progress * cycles % 1 if cycles > 1 else progress
        rows.append(
            [
                round(4000 * progress),
                round(40 * progress),
                progress,
                seconds * progress,
                12 * (1 - learnt) + 0.3,
                10 * learnt + math.sin(6.28 * phase),
                top * min(1.0, 2 * phase),
                1 - 0.2 * progress,
                config["optim"]["encoder_lr"] * (1 - progress / 2),
                config["optim"]["decoder_lr"],
                bleu * learnt,
                bleu * learnt,
                (bleu - 0.1) * learnt,
                gaussian * learnt,
            ]
        )
    _write_rows(path, header.split(), rows)


def _spoil(word: str, chance: random.Random) -> str:
    place = chance.randrange(1, len(word))
    return word[:place] + chance.choice(["", "e", "tt"]) + word[place + 1 :]


def _write_conversions(path: Path, chance: random.Random, bleu: float, dev_rows: int) -> None:
    header = "split source source_tense target_tense target prediction correct bleu4"
    header += " edit_distance regular"
    rows: list[list[Any]] = []

    def add(split: str, source: str, source_tense: int, target: str, tense: int) -> None:
        prediction = target if chance.random() < bleu else _spoil(target, chance)
        correct = int(prediction == target)
        score = 1.0 if correct else 0.7
        rows.append(
            [split, source, TENSES[source_tense], TENSES[tense], target, prediction, correct]
            + [score, 1 - correct, 1]
        )

    for source, source_tense, target, tense in REPORT_PAIRS:
        add("report", source, source_tense, target, tense)
    for i in range(dev_rows):
        verb = VERBS[i % len(VERBS)]
        add("dev", verb, 0, verb + ("s", "ing", "ed")[i % 3], 1 + i % 3)
    _write_rows(path, header.split(), rows)


def _write_samples(path: Path, chance: random.Random, gaussian: float) -> None:
    rows: list[list[Any]] = []
    for draw in range(30):
        verb = chance.choice(VERBS)
        real = int(chance.random() < gaussian)
        forms = [verb, verb + "s", verb + "ing", verb + "ed"]
        if not real:
            forms[3] = _spoil(forms[3], chance)
        rows.append([draw, *forms, real, real])
    _write_rows(path, ["draw", *TENSES, "training_row", "real_verb"], rows)


def fabricate_study(sweep: Path) -> Path:
    """Write the ``study.db`` of a search that ``fabricate_sweep`` has made, by Optuna itself.

    Two workers take trials in turn, each trial reports its objective five times, and trial 13 goes
    on with trial 9, which was interrupted.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution as Choice
    from optuna.trial import TrialState, create_trial

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = sweep / "study.db"
    interval: Any
    if hasattr(optuna.distributions, "FloatDistribution"):
        interval = optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)
        whole: Any = optuna.distributions.IntDistribution(1, 8)
    else:
        interval = optuna.distributions.LogUniformDistribution(1e-4, 1e-1)
        whole = optuna.distributions.IntUniformDistribution(1, 8)
    spaces = {
        "anneal": Choice(["cyclical", "monotonic"]),
        "model.latent_size": Choice([8, 16, 32, 64]),
        "optim.encoder_lr": interval,
        "model.two_level": Choice([True, False]),
        "seed": Choice([0, 1, 2]),
        "anneal.cycle_count": whole,
    }
    states = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "diverged": TrialState.COMPLETE,
    }
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    study = optuna.create_study(study_name=sweep.name, storage=storage, direction="maximize")
    began = datetime(2026, 1, 2, 3, 0, 0)
    free = [began, began]
    for directory in sorted(sweep.glob("trial_*")):
        number = int(directory.name[-5:])
        config = json.loads((directory / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        given = (directory / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")
        try:
            result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            result = {}
        values = {
            key: config["anneal"]["name"]
            if key == "anneal"
            else functools.reduce(lambda node, part: node[part], key.split("."), config)
            for key in spaces
            if f"- {key}=" in given
        }
        worker = number % 2
        seconds = result.get("seconds", {}).get("total", 20.0)
        owner = {"host": "node", "pid": 100 + worker}
        about = {"directory": directory.name, "owner": owner}
        if number == 13:
            about["retry_of"] = 9
        state = states.get(result.get("status"), TrialState.FAIL)
        score = (result.get("objective") or {}).get("value") or 0.0
        reported = 5 if state == TrialState.COMPLETE else 3
        trial = create_trial(
            state=state,
            value=score if state == TrialState.COMPLETE else None,
            params=values,
            distributions={key: spaces[key] for key in values},
            user_attrs=about,
            intermediate_values={
                800 * (i + 1): score * (1 - math.exp(-(i + 1))) for i in range(reported)
            },
        )
        trial.datetime_start = free[worker]
        trial.datetime_complete = free[worker] + timedelta(seconds=seconds)
        free[worker] += timedelta(seconds=seconds + 1)
        study.add_trial(trial)
    return path
