"""Many trials and runs: each is recorded once, memory stays flat, no file is left open.

A few cases of each by default; ``CVAE_RELIABILITY=full`` runs the counts of docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from harness import QUIET, Server, count, end, postgresql
from optuna.trial import TrialState
from shared import REPOSITORY
from standin import SPACE, Standin

PAGE = os.sysconf("SC_PAGE_SIZE")

SOAK = """
import json, os, sys, growth
def handles():
    return sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                  if os.path.exists(f"/proc/self/fd/{n}"))
growth.memory_over_runs(2)
before = handles()
found = growth.memory_over_runs(int(sys.argv[1]))
print(json.dumps({**found, "handles": [before, handles()],
                  "threads": len(os.listdir("/proc/self/task"))}))
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.mark.slow
def test_many_trials_by_many_workers_are_recorded_once(
    tmp_path: Path, server: Server, request: pytest.FixtureRequest
) -> None:
    total, workers = count(24, 1000), count(3, 8)
    standin = Standin(tmp_path)
    request.addfinalizer(lambda: end(standin))
    words = [
        *SPACE, "seconds=0", f"hydra.sweeper.n_trials={total}", "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.storage=${oc.env:STUDY_URL}", "hydra/sweeper/sampler=random",
    ]  # fmt: skip
    processes = [standin.start(*words, STUDY_URL=server.url) for _ in range(workers)]
    memory: list[list[float]] = [[] for _ in processes]
    began = time.monotonic()
    while any(process.poll() is None for process in processes):
        # Wait until all workers have started, since starting uses memory too.
        at_work = len(list(standin.sweep.glob("trial_*"))) >= 2 * workers
        for process, seen in zip(processes, memory, strict=True):
            if at_work and process.poll() is None:
                seen.append(resident(process.pid))
        assert time.monotonic() - began < 3000
        time.sleep(0.2)
    seconds = time.monotonic() - began
    for process in processes:
        assert process.returncode == 0, process.communicate()
    trials = optuna.load_study(study_name="standin", storage=server.url).trials
    assert [trial.number for trial in trials] == list(range(total))
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert all(t.value == pytest.approx((t.params["x"] - 3.0) ** 2) for t in trials)
    assert len({trial.params["x"] for trial in trials}) == total
    names = sorted(path.parent.name for path in standin.sweep.glob("trial_*/starts.txt"))
    assert names == [f"trial_{number:05d}" for number in range(total)]
    shares = [
        sum(trial.user_attrs["owner"]["pid"] == process.pid for trial in trials)
        for process in processes
    ]
    assert all(shares)
    tenths = [[seen[len(seen) * part // 10] for part in range(1, 10)] for seen in memory]
    # A worker holds the study: 22 KiB for a trial that it read; see docs/scale-out.md. The one that
    # starts last still imports in the first tenths.
    assert all(late[-1] - late[2] < 8 + total * 30 / 1024 for late in tenths), tenths
    print(f"\n{total} trials, {workers} workers, {seconds:.0f} s, shares {shares}; MiB by tenths:")
    for late in tenths:
        print("  " + " ".join(f"{value:.0f}" for value in late))


def resident(pid: int) -> float:
    """Resident memory of a process in MiB; 0 after it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
    except (OSError, IndexError):
        return 0.0


@pytest.mark.slow
def test_many_runs_in_one_process_leave_nothing_behind() -> None:
    runs = count(4, 200)
    finished = subprocess.run(
        [sys.executable, "-c", SOAK, str(runs)],
        capture_output=True,
        text=True,
        env={**os.environ, **QUIET, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'benchmarks'}"},
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    before, after = found["handles"]
    assert before == after
    assert len(found["megabytes"]) == runs
    grown = found["megabytes_at_the_end"] - found["megabytes_after_a_fifth"]
    assert grown < 10 + 0.05 * runs, found["megabytes"]
    shown = {key: value for key, value in found.items() if key != "handles"}
    print(f"\n{len(after)} handles before and after; {shown}")
