"""A stand-in application: an objective that takes milliseconds and fails on demand."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

# Optuna imports them with itself, a third of the stand-in's start; nothing here draws.
for name in ("matplotlib", "pandas", "plotly"):
    sys.modules[name] = None  # type: ignore[assignment]

import hydra  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

CONFIG = {
    "config_path": os.environ.get("STANDIN_CONFIG", "config"),
    "config_name": "config",
    "version_base": "1.3",
}


def objective(cfg: DictConfig) -> Any:
    """(x - 3)^2 + y, unless the config asks for something worse."""
    value = (cfg.x - 3.0) ** 2 + cfg.y
    return [value, cfg.x] if cfg.two else value


def misbehave(cfg: DictConfig) -> Any:
    """One way to fail for each word."""
    while cfg.mode == "wait" and not Path("go").exists():
        time.sleep(0.02)
    if cfg.mode == "data":
        Path("data.txt").read_text()
    if cfg.mode == "raise":
        raise RuntimeError("the reason\nin two lines")
    if cfg.mode == "notfinite":
        return float("nan")
    if cfg.mode == "none":
        return None
    if cfg.mode == "text":
        return "not a number"
    if cfg.mode == "exit":
        os._exit(3)
    if cfg.mode == "sysexit":
        sys.exit(4)
    if cfg.mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.mode == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    return objective(cfg)


def report_progress(cfg: DictConfig, directory: Path) -> None:
    """Report the objective at each step, as a training would that is evaluated there."""
    from cvae.trial import current, pruned

    trial = current()
    rungs = {} if trial is None else {math.ceil(rung * cfg.steps): rung for rung in trial.rungs}
    for step in range(steps_done(cfg, directory), cfg.steps):
        time.sleep(cfg.seconds / cfg.steps)
        with open(directory / "steps.txt", "a") as file:
            file.write(f"{step}\n")
        if trial is not None:
            trial.report(objective(cfg), step)
            if trial.should_prune():
                raise pruned(f"stopped at step {step}")
            rung = rungs.get(step + 1)
            if rung is not None and trial.stops_at(rung, objective(cfg), step):
                raise pruned(f"stopped at {rung:g}")


def steps_done(cfg: DictConfig, directory: Path) -> int:
    """What the checkpoint says: here, or where the trial was interrupted."""
    from cvae.trial import current

    trial = current()
    places = (directory, *(() if trial is None else trial.resume_from))
    for place in places if cfg.checkpoint else ():
        if (place / "steps.txt").exists():
            return len((place / "steps.txt").read_text().split())
    return 0


@hydra.main(**CONFIG)
def main(cfg: DictConfig) -> Any:
    """Leave traces of the run, then return the objective."""
    directory = Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    with open(directory / "starts.txt", "a") as file:
        file.write(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")
    print(f"printed by {cfg.x}")
    (directory / "environment.txt").write_text(
        "".join(
            f"{k}={v}\n"
            for k, v in sorted(os.environ.items())
            if k.startswith(("CVAE_", "SLURM_JOB_ID"))
        )
    )
    if cfg.steps:
        report_progress(cfg, directory)
    else:
        time.sleep(cfg.seconds)
    return misbehave(cfg)


if __name__ == "__main__":
    main()
