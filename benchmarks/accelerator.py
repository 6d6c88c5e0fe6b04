"""``python benchmarks/accelerator.py``: what one NVIDIA card does for this project, in one call.

It takes at most eight minutes. Each part is a process of its own with a time limit, and writes
its rows one by one; after each part the JSON file is written anew, so that a part that fails or
takes too long loses its own later rows and nothing else:

* ``search``: a search of smoke trials on the card through the local launcher, which forks;
* ``tests``: the tests that need CUDA (``pytest -m cuda``);
* ``epochs``: an epoch and an evaluation of the report's, the one-level and the default model on
  the card and on the CPU, in turns;
* ``batched``: 1, 4, 16 and 64 trials as one model, see ``benchmarks/batched.py``, beside the
  project's own trainer;
* ``processes``: the same numbers of trials at once on the card, as processes of the local launcher,
  and one a core on the CPU.

The last two train one shape, the one-level model without prior coverage; what is compared is the
epochs an hour of all trials together. With ``--toy`` all parts but the tests run on a machine
without a card, on the CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE))

Row = dict[str, Any]

LIMITS: Final = {
    "search": 60.0,
    "tests": 90.0,
    "epochs": 100.0,
    "batched": 60.0,
    "processes": 160.0,
}
"""Seconds of each part, in their order; the longest comes last."""
WHOLE: Final = 465.0
COUNTS: Final = (1, 4, 16, 64)

NETWORKS: Final = {
    "report": ["experiment=report_batched"],
    "one level": ["experiment=single_tuned"],
    "default": [],
}
SHAPE: Final = [
    "model=single",
    "training.coverage_draws=0",
    "training.hallucination_share=0",
    "objective.conversions=seen",
]
EPOCHS: Final = 4  # of a trial among the processes
TRIAL: Final = [
    f"training.epochs={EPOCHS}",
    f"evaluation.every_epochs={EPOCHS}",
    "evaluation.draws=200",
    "evaluation.importance_samples=2",
]

IMPORTED: Final = {
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "hydra_plugins.hydra_optuna_sweeper": "hydra-optuna-sweeper",
    "optuna": "optuna",
    "sqlalchemy": "sqlalchemy",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
    "tqdm": "tqdm",
    "yaml": "PyYAML",
    "pytest": "pytest",
}
"""Modules that the parts import beside torch, and the packages that hold them."""


def missing_packages() -> list[str]:
    """What has to be installed first, in pip's words."""
    missing = []
    for module, package in IMPORTED.items():
        try:
            if importlib.util.find_spec(module) is None:
                missing.append(package)
        except ModuleNotFoundError:  # its parent
            missing.append(package)
    project = tomllib.loads((_HERE.parent / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    ranges = {re.split(r"[<>=]", text)[0]: text for text in texts}
    return [ranges.get(package, package) for package in missing]


def broken_import() -> str | None:
    """What a package lacks of its own needs, as a line; None if all can be imported."""
    for module, package in IMPORTED.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            return f"{package} cannot be imported: {error}"
    return None


# The parts


def search(device: str, toy: bool) -> Iterator[Row]:
    """Smoke trials, two at once, each forked from a process that has imported torch."""
    import trial_overhead

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        size = trial_overhead.few_verbs(directory) if toy else ["debug=smoke"]
        trials = 2 if toy else 6
        seconds = trial_overhead.run_sweep(
            directory, trials=trials, workers=2, overrides=[*size, f"device={device}"], extra=[]
        )
        ended = [json.loads(path.read_text()) for path in trial_overhead.results(directory)]
        said = last_words(directory)
    complete = sum(each["status"] == "complete" for each in ended)
    yield {
        "trials": trials,
        "complete": complete,
        "seconds": seconds,
        "said": None if complete == trials else said,
    }


def last_words(directory: Path) -> list[str]:
    """The last line that each trial of a search printed."""
    consoles = sorted(directory.glob("multirun/bench/*/console.log"))
    return [line for path in consoles for line in path.read_text().strip().splitlines()[-1:]]


def tests(device: str, toy: bool) -> Iterator[Row]:
    """The tests that need CUDA."""
    root = _HERE.parent
    files = [
        str(path)
        for path in sorted(root.glob("tests/**/test_*.py"))
        if "pytest.mark.cuda" in path.read_text()
    ]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", *files],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = finished.stdout.strip().splitlines()
    yield {"code": finished.returncode, "said": lines[-1] if lines else "", "output": lines[-60:]}


def epochs(device: str, toy: bool) -> Iterator[Row]:
    """An epoch and an evaluation of each network, late ones, on the device and on the CPU."""
    import measuring
    import project
    import torch

    from cvae import evaluation

    for name, overrides in NETWORKS.items():
        given = [*overrides, *project.LATE]
        verbs = None
        if toy:
            given, verbs = [*given, "debug=smoke", "model.hidden_size=16"], 10
        there = project.setup(given, verbs=verbs, device=torch.device(device))
        here = project.setup(given, verbs=verbs)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        calls = []
        for made in (there, here):
            calls += [
                made.trainer.train_epoch,
                lambda made=made: project.evaluate(made, evaluation.DURING_TRAINING),
            ]
        times = measuring.alternate(calls, 1 if toy else 3)
        yield {
            "networks": name,
            "batch_size": there.config["training"]["batch_size"],
            "epoch_seconds": measuring.summary(times[0]),
            "cpu_epoch_seconds": measuring.summary(times[2]),
            "epoch_ratio": measuring.ratio(times[2], times[0]),
            "evaluation_seconds": measuring.summary(times[1]),
            "cpu_evaluation_seconds": measuring.summary(times[3]),
            "evaluation_ratio": measuring.ratio(times[3], times[1]),
            "megabytes": torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else None,
        }


def batched(device: str, toy: bool) -> Iterator[Row]:
    """The trainer alone, then 1, 4, 16 and 64 trials as one model."""
    import measuring
    import project
    import torch
    from batched import Trials, difference, together

    from cvae.model import build_model

    on = torch.device(device)
    given = [*SHAPE, *(["debug=smoke", "model.hidden_size=8"] if toy else [])]
    made = project.setup(given, verbs=20 if toy else None, device=on)
    config, rows, repeats = made.config, made.trainer.rows, 1 if toy else 3

    def used() -> float | None:
        return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else None

    (times,) = measuring.alternate([made.trainer.train_epoch], repeats)
    yield {"way": "one trainer", "at_once": 1, **_an_hour(1, times), "card_megabytes": used()}
    sizes = {key: value for key, value in config["model"].items() if key != "name"}
    for count in (1, 3) if toy else COUNTS:
        models = []
        for seed in range(count):
            torch.manual_seed(seed)
            models.append(build_model(config["model"]["name"], **sizes).to(on))
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        trials = Trials(
            models,
            [0.002 * (1 + seed / count) for seed in range(count)],
            [0.2 * (1 + seed / count) for seed in range(count)],
            config["optim"]["gradient_clip"],
        )
        generators = [torch.Generator().manual_seed(seed) for seed in range(count)]

        def epoch(trials: Any = trials, generators: Any = generators) -> float:
            # A batch of each trial at a time; of the same size and about the same length.
            drawn = [
                sorted(
                    rows.epoch(
                        batch_size=config["training"]["batch_size"],
                        pairs=config["training"]["pairs"],
                        hallucination_share=0.0,
                        generator=generator,
                    ),
                    key=lambda batch: (len(batch.rows), batch.target.symbols.shape[1]),
                )
                for generator in generators
            ]
            mean = 0.0
            for batches in zip(*drawn, strict=True):
                noise = torch.randn(len(batches), len(batches[0].rows), sizes["latent_size"]).to(on)
                mean = float(trials.step(together(batches, on), noise).mean())
            return mean

        some = next(
            rows.epoch(
                batch_size=16, pairs="cross", hallucination_share=0.0, generator=generators[0]
            )
        )
        apart = difference(models, trials, together([some] * count, on))
        losses: list[float] = []
        (times,) = measuring.alternate(
            [lambda epoch=epoch, losses=losses: losses.append(epoch())], repeats
        )
        yield {
            "way": "one batched model",
            "at_once": count,
            **_an_hour(count, times),
            "card_megabytes": used(),
            "difference_of_gradients": apart,
            "losses": losses,
        }


def processes(device: str, toy: bool) -> Iterator[Row]:
    """Trials at once as processes of the local launcher; one a core on the CPU in between."""
    import measuring
    import search as search_benchmark
    import torch
    import trial_overhead

    cores = len(os.sched_getaffinity(0))
    if toy:
        plans = [(2, device)]
    else:
        plans = [*((count, device) for count in COUNTS[:-1]), (cores, "cpu"), (COUNTS[-1], device)]

    class Watched(search_benchmark.Watched):
        card_megabytes = 0.0

        def look(self, pid: int) -> None:
            super().look(pid)
            if device == "cuda":
                free, whole = torch.cuda.mem_get_info()
                self.card_megabytes = max(self.card_megabytes, (whole - free) / 1e6)

    before = 0.0
    if device == "cuda":
        free, whole = torch.cuda.mem_get_info()
        before = (whole - free) / 1e6  # of this process's own
    for count, where in plans:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            size = trial_overhead.few_verbs(directory) if toy else TRIAL
            watched = Watched(directory, memory=True)
            watched.run(
                trial_overhead.sweep_command(
                    trials=count,
                    workers=count,
                    overrides=[*SHAPE, *size, f"device={where}"],
                    extra=[],
                )
            )
            paths = trial_overhead.results(directory)
            ended = [json.loads(path.read_text()) for path in paths]
            last = [path.stat().st_mtime for path in paths]
            said = last_words(directory)
        if not ended:
            raise RuntimeError(f"none of {count} trials ended well: {said[:1]}")
        seconds = [each["seconds"] for each in ended]
        began = min(end - each["total"] for end, each in zip(last, seconds, strict=True))
        of_epoch = [
            each["train"] / one["config"]["training"]["epochs"]
            for each, one in zip(seconds, ended, strict=True)
        ]
        yield {
            "way": "processes" if where == device else "processes on the CPU",
            "at_once": count,
            "complete": sum(each["status"] == "complete" for each in ended),
            **_an_hour(count, of_epoch),
            "trials_an_hour": 3600 * count / (max(last) - began),
            "card_megabytes": watched.card_megabytes - before if where == "cuda" else None,
            "host_megabytes": watched.megabytes,
            "trial_host_megabytes": watched.trial_megabytes,
            "trial_seconds": measuring.summary([each["total"] for each in seconds]),
        }


def _an_hour(count: int, times: list[float]) -> Row:
    """Seconds of an epoch of all trials at once, and the epochs an hour of all together."""
    import measuring

    epoch = measuring.summary(times)
    return {"epoch_seconds": epoch, "epochs_an_hour": 3600 * count / epoch["median"]}


PARTS: Final = {
    "search": search,
    "tests": tests,
    "epochs": epochs,
    "batched": batched,
    "processes": processes,
}


# The whole


def card() -> Row | None:
    """The card, if torch finds one."""
    import torch

    if not torch.cuda.is_available():
        return None
    known = torch.cuda.get_device_properties(0)
    return {
        "name": known.name,
        "megabytes": known.total_memory / 1e6,
        "multiprocessors": known.multi_processor_count,
        "capability": f"{known.major}.{known.minor}",
        "cuda": torch.version.cuda,
    }


def run_part(name: str, device: str, toy: bool, limit: float) -> Row:
    """A part in a process of its own: its rows, and how it ended."""
    with tempfile.TemporaryDirectory() as directory:
        rows = Path(directory) / "rows"
        began = time.perf_counter()
        program = subprocess.Popen(
            [sys.executable, __file__, "--part", name, str(rows), device, str(int(toy))],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, complaint = program.communicate(timeout=max(0.0, limit))
            lines = complaint.strip().splitlines()[-20:]
            ended = "complete" if program.returncode == 0 else (lines or ["no reason given"])[-1]
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            _, complaint = program.communicate()
            lines = complaint.strip().splitlines()[-20:]
            ended = f"stopped after {limit:.0f} s"
        found = rows.read_text().splitlines() if rows.exists() else []
        # The last may be half a line.
        whole = [json.loads(line) for line in found if line.endswith("}")]
    seconds = time.perf_counter() - began
    return {"ended": ended, "seconds": seconds, "rows": whole, "complaints": lines}


def measure(toy: bool, only: list[str], limit: float) -> Iterator[dict[str, Any]]:
    """The results after each part."""
    found = card()
    device = "cpu" if found is None else "cuda"
    names = [name for name in PARTS if not only or name in only]
    if found is None:
        names = [name for name in names if name != "tests"]
    deadline = time.monotonic() + limit
    parts: dict[str, Row] = {}
    yield {"card": found, "parts": parts}
    for name in names:
        left = deadline - time.monotonic()
        parts[name] = run_part(name, device, toy, left if toy else min(LIMITS[name], left))
        print(f"{name}: {parts[name]['ended']}, {parts[name]['seconds']:.0f} s", file=sys.stderr)
        yield {"parts": parts}


def show(result: dict[str, Any]) -> str:
    """The tables that ``docs/performance.md`` takes; what is missing is a row that says so."""
    import measuring

    missing = "not measured"
    parts = result.get("parts", {})
    rows = {name: part["rows"] for name, part in parts.items()}

    def number(row: Row | None, key: str) -> str:
        value = None if row is None else row.get(key)
        return missing if value is None else f"{value:,.0f}"

    by_network = {row["networks"]: row for row in rows.get("epochs", [])}
    first = []
    for name in NETWORKS:
        row = by_network.get(name)
        for what in ("epoch", "evaluation"):
            keys = (f"{what}_seconds", f"cpu_{what}_seconds", f"{what}_ratio")
            cells = [missing if row is None else measuring.spread(row[key]) for key in keys]
            first.append([name, what, *cells, number(row, "megabytes")])

    ways = {(row["way"], row["at_once"]): row for row in rows.get("batched", [])}
    ways |= {(row["way"], row["at_once"]): row for row in rows.get("processes", [])}
    wanted = [("one trainer", 1)]
    wanted += [(way, count) for way in ("processes", "one batched model") for count in COUNTS]
    wanted += [key for key in ways if key not in wanted]
    if not any(way == "processes on the CPU" for way, _ in wanted):
        wanted.append(("processes on the CPU", "one a core"))
    second = [
        [
            way,
            count,
            *(
                number(ways.get((way, count)), key)
                for key in ("epochs_an_hour", "trials_an_hour", "card_megabytes", "host_megabytes")
            ),
        ]
        for way, count in wanted
    ]
    checks = []
    for name, what in (("tests", "tests that need CUDA"), ("search", "a search that forks")):
        found = rows.get(name, [])
        said = missing
        if found:
            row = found[0]
            said = (
                row["said"] if name == "tests" else f"{row['complete']} of {row['trials']} trials"
            )
        checks.append([what, said])
    tables = [
        measuring.table(
            ["networks", "what", "card, s", "CPU, s", "CPU / card", "card's memory, MB"], first
        ),
        measuring.table(
            [
                "trials",
                "at once",
                "epochs an hour, all together",
                f"trials of {EPOCHS} epochs an hour",
                "card's memory, MB",
                "memory, MB",
            ],
            second,
        ),
        measuring.table(["check", "result"], checks),
    ]
    on = result.get("card")
    if on:
        tables.append(f"{on['name']}, {on['megabytes']:,.0f} MB, CUDA {on['cuda']}.")
    tables += [
        f"{name}: {part['ended']}." for name, part in parts.items() if part["ended"] != "complete"
    ]
    return "\n\n".join(tables)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the JSON file."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--part"]:
        name, path, device, toy = given[1:]
        with Path(path).open("w") as file:
            for row in PARTS[name](device, toy == "1"):
                file.write(json.dumps(row) + "\n")
                file.flush()
        return 0
    missing = missing_packages()
    if importlib.util.find_spec("torch") is None:
        missing.append("torch")
    if missing:
        wanted = " ".join(f"'{text}'" for text in missing)
        print(f"error: not installed; pip install {wanted}", file=sys.stderr)
        return 2
    if (broken := broken_import()) is not None:
        print(f"error: {broken}", file=sys.stderr)
        return 2
    import measuring

    parser = argparse.ArgumentParser(description="One NVIDIA card beside the CPU.")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; repeatable")
    parser.add_argument("--limit", type=float, default=WHOLE, help="seconds for all parts")
    known, _ = parser.parse_known_args(given)
    if "--toy" not in given and card() is None:
        print(
            "error: torch finds no CUDA device here; --toy runs on the CPU at toy size",
            file=sys.stderr,
        )
        return 2
    return measuring.command(
        "accelerator",
        measure,
        show,
        parser,
        arguments,
        only=known.only or [],
        limit=known.limit,
    )


if __name__ == "__main__":
    sys.exit(main())
