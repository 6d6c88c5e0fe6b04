"""The config keys of the sweeper, the launcher and the pruners.

Hydra imports this module at every start, so nothing heavy may be imported here. The underscore in
its name keeps Hydra's scan away, which runs modules in a way that dataclasses do not survive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_optuna_sweeper.config import (  # type: ignore[import-untyped, unused-ignore]
    OptunaSweeperConf,
)
from omegaconf import MISSING


@dataclass
class PrunerConf:
    """Any pruner of `optuna.pruners`."""

    _target_: str = MISSING


@dataclass
class NoPrunerConf(PrunerConf):
    """Every trial runs to its end."""

    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class MedianPrunerConf(PrunerConf):
    """Stop a trial whose best value so far is worse than the median of the others' at that step."""

    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1


@dataclass
class SuccessiveHalvingPrunerConf(PrunerConf):
    """Keep the best 1 / reduction_factor of the trials at each rung of steps."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: int = 1
    reduction_factor: int = 4
    min_early_stopping_rate: int = 0


@dataclass
class ParallelTPEConf:
    """TPE that counts the trials still running as bad, so that they are not proposed twice."""

    _target_: str = "hydra_plugins.hydra_cvae_sweeper._samplers.parallel_tpe"
    seed: int | None = None
    n_startup_trials: int = 10
    n_ei_candidates: int = 24
    multivariate: bool = False
    constant_liar: bool = True


@dataclass
class HalvingConf:
    """Successive halving of a trial that reports at its rungs and resumes from a checkpoint."""

    # Shares of training at which trials are compared, ascending; none: no halving.
    rungs: list[float] = field(default_factory=list)

    # One in this many of the trials that reach a rung continues.
    reduction_factor: float = 3.0


@dataclass
class ConfirmConf:
    """Repeats of the best trials, once the search is over."""

    # Trials that are repeated; 0: none.
    best: int = 0

    # Further runs of each, with the seed that its trial had plus 1, 2, ...
    seeds: int = 2

    # Where the seed stands in the application's config.
    key: str = "seed"


@dataclass
class CvaeOptunaConf(OptunaSweeperConf):  # type: ignore[misc, unused-ignore]
    """The stock plugin's keys, with other defaults, and further keys."""

    _target_: str = "hydra_plugins.hydra_cvae_sweeper.sweeper.CvaeOptunaSweeper"
    # The sampler and the pruner are created when the study is open.
    _recursive_: bool = False
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}])

    # Trials of the whole study: a second start continues to this number. Interrupted trials do
    # not count, for they are run again.
    n_trials: int = 20

    # Trials at once in this process; null: one a core with cvae_local, otherwise one.
    n_jobs: int | None = None  # type: ignore[assignment, unused-ignore]

    # Share of failed trials above which a finished sweep still ends with an error. 0.0 stops at the
    # first failure; 1.0 stops for none, whatever max_consecutive_failures; null: for those only.
    max_failure_rate: float | None = None  # type: ignore[assignment, unused-ignore]

    # Keys that are varied only together with a member of a group, or another value:
    # {"anneal=cyclical": {"anneal.cycle_count": "choice(2, 4, 8)"}}. A grid covers them too.
    conditional: dict[str, dict[str, str]] = field(default_factory=dict)

    # GROUP=MEMBER, the default study. Values on the command line are then a study of their own,
    # unless an override of GROUP names the study that they belong to. null: all values belong to
    # the study that the config describes.
    default_study: str | None = None

    # Number of values that a grid takes from an interval of real numbers, both ends included. null:
    # such a grid is refused.
    grid_points: int | None = None

    # Whether a point of the space may be run again, for random objectives.
    repeats: bool = False

    # Begin a search, but not a grid, with the configuration as composed, which is then not pruned.
    # Not with custom_search_space, nor where the configuration lacks a searched key.
    start_as_composed: bool = False

    # Run failed trials again, under new numbers.
    retry_failed: bool = False

    # MODULE.FUNCTION of the application: called with the configs of some trials as dicts before the
    # first trial. It raises ValueError to refuse one.
    check: str | None = None

    # Commands to print at the end, with their purposes as keys, such as
    # {"convert words": "python ... {best}"}. {best} stands for the winner's directory, {sweep} for
    # the search's, {python} for the interpreter.
    next_commands: dict[str, str] = field(default_factory=dict)

    # When a trial that reports its progress is stopped early. Off for grids.
    pruner: PrunerConf = MISSING

    # Shares of training at which a trial is paused unless it is among the best there. It continues
    # from its checkpoint if it is among them later. Off for grids and for several directions.
    halving: HalvingConf | None = field(default_factory=HalvingConf)

    # How the winner is chosen by a mean over seeds. Off for grids and for several directions.
    confirm: ConfirmConf | None = field(default_factory=ConfirmConf)

    # Number of consecutive failures that stop the sweep; 0: never.
    max_consecutive_failures: int = 5

    # How often an interrupted trial is run again before it counts as failed.
    max_retries: int = 3

    # Seconds between two heartbeats, and seconds without one after which a worker on another
    # machine counts as dead.
    heartbeat: float = 30.0
    heartbeat_timeout: float = 150.0

    # The sampler's seed, for samplers that have one: sampler.seed cannot stand in a config that
    # is also used with a grid. null: sampler.seed, or a random one.
    seed: int | None = None

    # Shifts the sampler's seed; null: workers number themselves in the order of their start.
    worker: int | None = None

    # Seconds to wait for a database that does not answer.
    storage_patience: float = 300.0

    # Keys of the application's config, with all keys below them, that may change in a study.
    identity_ignore: list[str] = field(default_factory=list)


@dataclass
class LocalLauncherConf:
    """Each job in a process of its own, forked from one that has the imports done."""

    _target_: str = "hydra_plugins.hydra_cvae_sweeper.launcher.LocalLauncher"

    # Jobs at once, if hydra.sweeper.n_jobs does not say it; null: one a core.
    n_jobs: int | None = None

    # Threads of a job: sets OMP_NUM_THREADS and similar variables; 0 leaves them unchanged.
    threads: int = 1

    # Modules imported once, for all jobs.
    preload: list[str] = field(default_factory=list)

    # File in the job's directory for the job's output; null: print it to the sweep's terminal.
    console: str | None = "console.log"

    # Seconds between SIGTERM and SIGKILL when jobs are stopped.
    grace: float = 5.0


def register() -> None:
    """Add the configs of this package to Hydra's store, unless they are there."""
    nodes = [
        ("hydra/sweeper", "cvae_optuna", CvaeOptunaConf),
        ("hydra/sweeper/pruner", "none", NoPrunerConf),
        ("hydra/sweeper/pruner", "median", MedianPrunerConf),
        ("hydra/sweeper/pruner", "successive_halving", SuccessiveHalvingPrunerConf),
        ("hydra/sweeper/sampler", "tpe_parallel", ParallelTPEConf),
        ("hydra/launcher", "cvae_local", LocalLauncherConf),
    ]
    store = ConfigStore.instance()
    for group, name, node in nodes:
        try:
            known = store.list(group)
        except OSError:  # no such group yet
            known = []
        if f"{name}.yaml" not in known:
            store.store(group=group, name=name, node=node, provider="hydra_cvae_sweeper")


register()
