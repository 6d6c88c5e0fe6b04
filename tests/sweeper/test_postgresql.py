"""Workers on PostgreSQL, one of them killed: needs CVAE_TEST_POSTGRESQL, a database's URL.

Its user must be allowed to create databases; tests/sweeper/postgresql_server.sh starts a server.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState
from standin import SPACE, Standin
from test_halving import HALVED, check_halved

URL = os.environ.get("CVAE_TEST_POSTGRESQL", "")

pytestmark = pytest.mark.skipif(not URL, reason="CVAE_TEST_POSTGRESQL names no database")


@pytest.fixture
def url() -> Iterator[str]:
    """A database of the test's own: another version of Optuna may have made the given one's tables.

    Dropping it ends the connections that are left.
    """
    given = sqlalchemy.engine.make_url(URL)
    name = f"cvae_test_{time.time_ns()}"
    engine = sqlalchemy.create_engine(given, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield given.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.mark.slow
def test_two_workers_on_postgresql(standin: Standin, url: str) -> None:
    name = "shared"
    command = (
        *SPACE, "hydra.sweeper.storage=${oc.env:CVAE_TEST_POSTGRESQL}", "seconds=0.3", "steps=2",
        f"hydra.sweeper.study_name={name}", "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=1",
        "hydra/sweeper/pruner=median",
    )  # fmt: skip
    workers = [standin.start(*command, CVAE_TEST_POSTGRESQL=url) for _ in range(3)]

    def trials() -> list[optuna.trial.FrozenTrial]:
        return optuna.load_study(study_name=name, storage=url).trials

    def owns_one(pid: int) -> bool:
        return any(
            trial.state == TrialState.RUNNING
            and trial.user_attrs.get("owner", {}).get("pid") == pid
            for trial in trials()
        )

    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            if owns_one(workers[0].pid):
                break
        except KeyError:  # not created yet
            pass
        time.sleep(0.05)
    workers[0].send_signal(signal.SIGKILL)
    for worker in workers[1:]:
        standin.finish(worker)
    counted = [trial for trial in trials() if not trial.user_attrs.get("interrupted")]
    assert len(counted) == 12
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in counted)
    assert all(trial.intermediate_values for trial in counted)
    links = [trial.user_attrs["retry_of"] for trial in trials() if "retry_of" in trial.user_attrs]
    assert links == [trial.number for trial in trials() if trial.user_attrs.get("interrupted")]
    assert len(links) == 1
    password = optuna.storages.RDBStorage(url).engine.url.password
    for path in standin.directory.rglob("*"):
        if path.is_file() and path.name != "environment.txt":  # which the stand-in dumps itself
            assert str(password) not in path.read_text(errors="replace")


@pytest.mark.slow
def test_two_workers_share_the_rungs_on_postgresql(standin: Standin, url: str) -> None:
    command = (
        *HALVED, "hydra.sweeper.storage=${oc.env:CVAE_TEST_POSTGRESQL}",
        "hydra.sweeper.study_name=halved", "hydra.sweeper.n_jobs=1",
    )  # fmt: skip
    workers = [standin.start(*command, CVAE_TEST_POSTGRESQL=url) for _ in range(2)]
    for worker in workers:
        standin.finish(worker)
    check_halved(standin, optuna.load_study(study_name="halved", storage=url).trials)
