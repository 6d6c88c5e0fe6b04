"""What a sweep costs when its trials cost nothing: storage, memory, coordinator time per trial.

    python benchmarks/sweep_scale.py --trials 50
    python benchmarks/sweep_scale.py --trials 10000 --json scale.json
    python benchmarks/sweep_scale.py --trials 1000 --storage postgresql+psycopg2://USER@HOST/DB

It sweeps the stand-in application of tests/sweeper, whose trials add two numbers, and watches the
coordinator (the process that asks, tells and writes the results) from outside. Linux only: it
reads /proc. The database may hold other studies; only what this sweep adds is counted.
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
_TICKS = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """The coordinator at one moment."""

    trials: int
    wall: float  # seconds since the start
    cpu: float  # seconds used by the coordinator itself, its jobs not among them
    rss: float  # MiB


def main() -> int:
    """Run one sweep and print what it cost."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="sweep-scale-") as folder:
        storage = options.storage or f"sqlite:///{folder}/study.db"
        before = database_bytes(storage)
        samples = watch(command(options, folder), Path(folder), storage, options.trials)
        found = {
            "command": " ".join(["python", "benchmarks/sweep_scale.py", *_without_secret()]),
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "database": sqlalchemy.engine.make_url(storage).get_backend_name(),
            "sampler": options.sampler,
            "n_jobs": options.jobs,
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
    parser.add_argument("--trials", type=int, default=50, help="trials of the study")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--sampler", default="tpe_parallel", help="tpe_parallel, random, ...")
    parser.add_argument("--storage", help="a database's URL; default: a new SQLite file")
    parser.add_argument("--json", type=Path, help="file that takes the figures")
    options = parser.parse_args()
    if options.trials < 20:
        parser.error("--trials must be at least 20: growth is read from ten parts of the sweep")
    return options


def _without_secret() -> list[str]:
    """The arguments as typed, but without the database's URL."""
    words = sys.argv[1:]
    return ["URL" if "://" in word and "=" not in word.split("://")[0] else word for word in words]


def command(options: argparse.Namespace, folder: str) -> list[str]:
    """The sweep; its six keys are as many as the default study of the real application has."""
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
        f"hydra.sweeper.n_trials={options.trials}",
        f"hydra.sweeper.n_jobs={options.jobs}",
        f"hydra.sweeper.study_name=scale-{os.path.basename(folder)}",
        "hydra.sweeper.storage=${oc.env:SCALE_STORAGE}",
    ]


def watch(words: list[str], folder: Path, storage: str, trials: int) -> list[Sample]:
    """Run the sweep; samples from the first finished trial to the last."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCALE_STORAGE": storage,
        "OMP_NUM_THREADS": "1",
    }
    samples: list[Sample] = []
    began = time.monotonic()
    with open(folder / "output.txt", "w+") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            sample = _sample(process.pid, folder / "sweep" / "sweep.log", began)
            if sample is not None and (not samples or sample.trials > samples[-1].trials):
                samples.append(sample)
            time.sleep(0.05)
        output.seek(0)
        text = output.read()
    if process.returncode != 0 or not samples or samples[-1].trials < trials - 5:
        sys.exit(f"the sweep ended with code {process.returncode}:\n{text[-2000:]}")
    return samples


def _sample(pid: int, log: Path, began: float) -> Sample | None:
    try:
        trials = log.read_bytes().count(b" complete ")
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    cpu = (int(stat[11]) + int(stat[12])) / _TICKS
    rss = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(trials, time.monotonic() - began, cpu, rss) if trials else None


def summary(samples: list[Sample]) -> dict[str, Any]:
    """Totals, and ten equal parts of the sweep with their cost per trial."""
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
        "rss_mib": {"start": round(first.rss, 1), "end": round(last.rss, 1)},
        "parts": parts,
    }


def database_bytes(storage: str) -> int:
    """Bytes that the database takes on disk."""
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
    trials, parts = found["trials"], found["parts"]
    cpu = [part["cpu_ms"] for part in parts]
    rss = found["rss_mib"]
    lines = [
        f"{trials} trials on {found['database']}, {found['sampler']}, {found['n_jobs']} at once: "
        f"{found['seconds']:.0f} s",
        f"database: {found['database_bytes']:,} bytes, {found['database_bytes'] / trials:.0f} "
        "a trial",
        f"directories: {found['directories']['files'] / trials:.1f} files a trial, "
        f"{found['directories']['bytes_on_disk'] / trials:.0f} bytes on disk a trial",
        f"coordinator memory: {rss['start']} MiB at the first trial, {rss['end']} MiB at the last",
        f"coordinator CPU: {statistics.mean(cpu):.1f} ms a trial; first tenth {cpu[0]}, last tenth "
        f"{cpu[-1]} ({cpu[-1] / max(cpu[0], 0.01):.1f} times)",
        "tenths, CPU ms a trial: " + " ".join(str(value) for value in cpu),
        "tenths, wall ms a trial: " + " ".join(str(part["wall_ms"]) for part in parts),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
