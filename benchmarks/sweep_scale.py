"""The overhead of a sweep, with trivial trials: storage, memory, coordinator time per trial.

    python benchmarks/sweep_scale.py --trials 50
    python benchmarks/sweep_scale.py --trials 10000 --json scale.json
    python benchmarks/sweep_scale.py --trials 60 --begun 9940
    SCALE_STORAGE=postgresql+psycopg2://USER@HOST/DB python benchmarks/sweep_scale.py --trials 50

`--begun` first fills the study with copies of twenty real trials, so that the cost of a trial in a
large study is measured in minutes. With `--reports` each trial reports ten values. With `--halving`
trials also stop at two rungs; a trial that is continued later counts as one more. Use a separate
database for this benchmark: it keeps the study.

It sweeps the stand-in application of tests/sweeper, whose trials add two numbers, and watches the
coordinator (the process that asks, tells and writes the results) from outside. Linux only: it
reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "tests" / "sweeper" / "standin_app.py"
_SEED_TRIALS = 20
_HALVING = ("checkpoint=true", "hydra.sweeper.halving.rungs=[0.35,0.7]")
_TICKS = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """The coordinator's resources at one moment."""

    trials: int
    wall: float  # seconds since the start
    cpu: float  # seconds used by the coordinator, without its jobs
    rss: float  # MiB


def main() -> int:
    """Run one sweep and print its costs."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="sweep-scale-") as folder:
        storage = os.environ.get("SCALE_STORAGE") or f"sqlite:///{folder}/study.db"
        before = database_bytes(storage)
        if options.begun:
            watch(command(options, folder, _SEED_TRIALS), Path(folder), storage)
            fill(storage, f"scale-{os.path.basename(folder)}", options.begun)
        total = options.begun + options.trials
        samples = watch(command(options, folder, total), Path(folder), storage)
        found = {
            "command": " ".join(["python", "benchmarks/sweep_scale.py", *sys.argv[1:]]),
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "database": sqlalchemy.engine.make_url(storage).get_backend_name(),
            "sampler": options.sampler,
            "halving": options.halving,
            "n_jobs": options.jobs,
            "begun": options.begun,
            "study_trials": total,
            "database_bytes": database_bytes(storage) - before,
            "directories": directories(Path(folder) / "sweep"),
            **summary(samples),
        }
    print(report(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=50, help="trials to run")
    parser.add_argument("--begun", type=int, default=0, help="trials the study has before that")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--sampler", default="tpe_parallel", help="tpe_parallel, random, ...")
    parser.add_argument("--reports", action="store_true", help="ten reported values a trial")
    parser.add_argument("--halving", action="store_true", help="successive halving at two rungs")
    parser.add_argument("--json", type=Path, help="file that takes the figures")
    options = parser.parse_args()
    if options.trials < 20:
        parser.error("--trials must be at least 20: growth is read from ten parts of the sweep")
    if 0 < options.begun < _SEED_TRIALS:
        parser.error(f"--begun must be 0 or at least {_SEED_TRIALS}")
    return options


def fill(storage: str, name: str, total: int) -> None:
    """Copy the study's finished trials, row by row, up to this number."""
    engine = sqlalchemy.create_engine(storage)
    tables = sqlalchemy.MetaData()
    tables.reflect(bind=engine)
    studies, trials = tables.tables["studies"], tables.tables["trials"]
    children = [table for table in tables.tables.values() if _is_part_of_trial(table)]
    with engine.begin() as connection:
        study = connection.execute(
            sqlalchemy.select(studies.c.study_id).where(studies.c.study_name == name)
        ).scalar()
        query = sqlalchemy.select(trials).where(trials.c.study_id == study)
        begun = [dict(row) for row in connection.execute(query).mappings()]
        copies: list[tuple[int, int]] = []
        shifts: dict[int, int] = {}
        rows_in_all = total * len(begun) // _SEED_TRIALS  # a continued trial has several
        for number in range(len(begun), rows_in_all):
            origin = begun[number % len(begun)]
            row = {key: value for key, value in origin.items() if key != "trial_id"}
            made = connection.execute(trials.insert().values({**row, "number": number}))
            copies.append((origin["trial_id"], made.inserted_primary_key[0]))
            shifts[made.inserted_primary_key[0]] = number - origin["number"]
        for table in children:
            rows: dict[int, list[dict[str, Any]]] = {}
            own = {column.name for column in table.primary_key}
            for row in connection.execute(sqlalchemy.select(table)).mappings():
                kept = {key: value for key, value in row.items() if key not in own}
                rows.setdefault(row["trial_id"], []).append(kept)
            more = [
                _shifted({**row, "trial_id": new}, shifts[new])
                for old, new in copies
                for row in rows.get(old, [])
            ]
            if more:
                connection.execute(table.insert(), more)


def _shifted(row: dict[str, Any], by: int) -> dict[str, Any]:
    """An attribute of a copy that names another trial names the copy of that one."""
    key = row.get("key", "")
    if key in ("continues", "root"):
        row["value_json"] = json.dumps(json.loads(row["value_json"]) + by)
    elif key.startswith("rung "):
        root, value = json.loads(row["value_json"])
        row["value_json"] = json.dumps([root + by, value])
    return row


def _is_part_of_trial(table: sqlalchemy.Table) -> bool:
    return table.name != "trials" and "trial_id" in table.c


def command(options: argparse.Namespace, folder: str, total: int) -> list[str]:
    """The sweep; it searches six keys, as many as the default study of the real application."""
    return [
        sys.executable,
        str(APP),
        "-m",
        "x=interval(0.0,6.0)",
        "y=tag(log,interval(0.001,1.0))",
        "kind=choice(a,b,c)",
        "mode=choice(fine,good,well)",
        "shape=choice(round,square)",
        "two=choice(false,0)",
        "seconds=0",
        f"hydra/sweeper/sampler={options.sampler}",
        f"hydra.sweeper.n_trials={total}",
        f"hydra.sweeper.n_jobs={options.jobs}",
        f"hydra.sweeper.study_name=scale-{os.path.basename(folder)}",
        "hydra.sweeper.storage=${oc.env:SCALE_STORAGE}",
        *(("steps=10",) if options.reports or options.halving else ()),
        *(_HALVING if options.halving else ()),
    ]


def watch(words: list[str], folder: Path, storage: str) -> list[Sample]:
    """Run the sweep; samples from the first finished trial to the last."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCALE_STORAGE": storage,
        "OMP_NUM_THREADS": "1",
    }
    log = folder / "sweep" / "sweep.log"
    earlier = _finished(log)
    samples: list[Sample] = []
    began = time.monotonic()
    with open(folder / "output.txt", "w+") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            sample = _sample(process.pid, _finished(log) - earlier, began)
            if sample is not None and (not samples or sample.trials > samples[-1].trials):
                samples.append(sample)
            time.sleep(0.05)
        output.seek(0)
        text = output.read()
    if process.returncode != 0 or not samples:
        sys.exit(f"the sweep ended with code {process.returncode}:\n{text[-2000:]}")
    return samples


def _finished(log: Path) -> int:
    text = log.read_bytes() if log.exists() else b""
    return text.count(b" complete ") + text.count(b" paused at ")


def _sample(pid: int, trials: int, began: float) -> Sample | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    cpu = (int(stat[11]) + int(stat[12])) / _TICKS
    rss = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(trials, time.monotonic() - began, cpu, rss) if trials else None


def summary(samples: list[Sample]) -> dict[str, Any]:
    """Totals, and the cost per trial in each of ten equal parts of the sweep."""
    first, last = samples[0], samples[-1]
    parts = []
    for part in range(10):
        low = first.trials + (last.trials - first.trials) * part / 10
        high = first.trials + (last.trials - first.trials) * (part + 1) / 10
        a = max((s for s in samples if s.trials <= low), key=lambda s: s.trials, default=first)
        b = min((s for s in samples if s.trials >= high), key=lambda s: s.trials, default=last)
        count = max(1, b.trials - a.trials)
        parts.append(
            {
                "trials": b.trials,
                "cpu_ms": round(1000 * (b.cpu - a.cpu) / count, 2),
                "wall_ms": round(1000 * (b.wall - a.wall) / count, 2),
                "rss_mib": round(b.rss, 1),
            }
        )
    return {
        "trials": last.trials,
        "seconds": round(last.wall, 1),
        "seconds_to_first": round(first.wall, 1),
        "rss_mib": {"start": round(first.rss, 1), "end": round(last.rss, 1)},
        "parts": parts,
    }


def database_bytes(storage: str) -> int:
    """Size of the database on disk, in bytes."""
    url = sqlalchemy.engine.make_url(storage)
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        return path.stat().st_size if path.exists() else 0
    with sqlalchemy.create_engine(url).connect() as connection:
        query = sqlalchemy.text("SELECT pg_database_size(current_database())")
        return int(connection.execute(query).scalar() or 0)


def directories(sweep: Path) -> dict[str, int]:
    """The trials' directories: files, their content in bytes, and the space they take."""
    files = [path for path in sweep.glob("trial_*/**/*") if path.is_file()]
    taken = sum(path.lstat().st_blocks * 512 for path in sweep.glob("trial_*/**/*"))
    return {
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "bytes_on_disk": taken,
    }


def report(found: dict[str, Any]) -> str:
    """The figures in words."""
    parts, study, begun = found["parts"], found["study_trials"], found["begun"]
    cpu = [part["cpu_ms"] for part in parts]
    run = study - begun + (_SEED_TRIALS if begun else 0)
    rss, files = found["rss_mib"], found["directories"]
    before = f" after {begun}" if begun else ""
    lines = [
        f"{study - begun} trials{before} on {found['database']}, {found['sampler']}, "
        f"{found['n_jobs']} at once: {found['seconds']:.0f} s, of which "
        f"{found['seconds_to_first']:.1f} s to the end of the first",
        f"database: {found['database_bytes']:,} bytes, {found['database_bytes'] / study:.0f} "
        "a trial",
        f"directories: {files['files'] / run:.1f} files a trial, {files['bytes'] / run:.0f} bytes, "
        f"{files['bytes_on_disk'] / run:.0f} on disk",
        f"coordinator memory: {rss['start']} MiB at the first trial, {rss['end']} MiB at the last",
        f"coordinator CPU: {statistics.mean(cpu):.0f} ms a trial, tenths {min(cpu)} to {max(cpu)}; "
        f"last tenth {cpu[-1] / max(cpu[0], 0.01):.1f} times the first",
        "tenths, CPU ms a trial: " + " ".join(str(value) for value in cpu),
        "tenths, wall ms a trial: " + " ".join(str(part["wall_ms"]) for part in parts),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
