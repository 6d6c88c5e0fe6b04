"""Accelerators: what a search must not do before it forks, and what a run does on a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from shared import REPOSITORY, python

PRELOAD = yaml.safe_load((REPOSITORY / "configs/hydra/launcher/cvae.yaml").read_text())["preload"]

# Everything by which torch reaches for CUDA, noted from the first import of torch on. A build
# without CUDA is made to look as if it had it.
_WATCHED = """
import json, os, sys, torch
from hydra_plugins.hydra_cvae_sweeper._nursery import Nursery

asked = []

def watched(name):
    def ask(*arguments, **keywords):
        asked.append(name)
        return 0
    return ask

def of_a_build_with_cuda(name):
    if name.startswith("_cuda_"):
        return watched(name)
    raise AttributeError(name)

torch._C.__getattr__ = of_a_build_with_cuda
for name in ("_cuda_getDeviceCount", "_cuda_init", "_cuda_setDevice"):
    setattr(torch._C, name, watched(name))
for name in ("_device_count_nvml", "_lazy_init"):
    setattr(torch.cuda, name, watched(name))

def job(_, number):
    forked = list(asked), torch.cuda.is_initialized()
    if number:
        torch.cuda.is_available()
    return [*forked, list(asked), os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"]]

nursery = Nursery(job, preload=json.loads(sys.argv[1]), threads=1)
found = {}
for number in range(2):
    nursery.start(number, [], number)
while len(found) < 2:
    found.update({ended.key: ended.outcome for ended in nursery.wait(60.0)})
nursery.close()
assert not nursery.warnings, nursery.warnings
print(json.dumps([found[number].value for number in range(2)]))
"""


def test_a_search_forks_its_trials_before_anything_asks_for_cuda(tmp_path: Path) -> None:
    finished = python("-c", _WATCHED, json.dumps(PRELOAD), cwd=tmp_path, timeout=300)
    assert finished.returncode == 0, finished.stderr
    asks_nothing, asks = json.loads(finished.stdout)
    assert asks_nothing == [[], False, [], "1"]
    # Should a module of an application's own ask: torch then asks the driver's library first, and
    # starts CUDA only without one.
    assert asks == [[], False, ["_device_count_nvml"], "1"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_search_on_cuda_completes_its_trials(tmp_path: Path) -> None:
    command = ["-m", "cvae.run", "-m", "debug=smoke", "device=cuda", "hydra.sweeper.n_trials=3"]
    places = [str(REPOSITORY), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    finished = subprocess.run(
        [sys.executable, *command, "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=cuda"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    results = [
        json.loads(path.read_text()) for path in tmp_path.glob("multirun/cuda/*/result.json")
    ]
    assert [result["status"] for result in results] == ["complete"] * 3
    assert all(result["config"]["device"] == "cuda" for result in results)
