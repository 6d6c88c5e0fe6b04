"""The study's database: its URL without secrets, its connections, and its lock.

The lock is what makes several workers safe. Optuna's own steps (create the tables, take a waiting
trial, count trials) are not atomic, least of all on SQLite; done under a lock that the system
takes from a dead process, they are.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import optuna
import sqlalchemy  # type: ignore[import-untyped, unused-ignore]
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url  # type: ignore[import-untyped, unused-ignore]
from sqlalchemy.pool import NullPool  # type: ignore[import-untyped, unused-ignore]

from ._errors import SweepError
from ._files import visible

# What Optuna raises when a database is unreachable, or busy for longer than its timeout.
STORAGE_TROUBLE = (
    optuna.exceptions.StorageInternalError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
)
_SQLITE_SECONDS = 60
_CONNECT_SECONDS = 10
_POLL_SECONDS = 0.01
_STOPPING_SECONDS = 5.0
_READ = "read_trials_from_remote_storage"  # a method of Optuna 2's storages
_FEW = 8  # trials that are read one by one
_SQLITE_OPTIONS = {
    *("timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"),
    *("uri", "mode", "cache", "immutable", "nolock", "vfs"),
}
# Characters with a special meaning in a URL, in Optuna's template of it, or on a terminal.
_ODD = re.compile(r"[?#%{}$\\\x00-\x1f\x7f\ud800-\udfff]")
_NEW = sqlalchemy.text(
    "SELECT trial_id FROM trials WHERE study_id = :study AND trial_id > :highest"
)
_COUNT = sqlalchemy.text("SELECT count(*) FROM trials WHERE study_id = :study")


class StudyStorage:
    """A storage URL, or None for a study in memory, which ends with the process."""

    def __init__(self, url: str | None, stopping: Callable[[], bool] = lambda: False) -> None:
        self._stopping = stopping
        self._given = url or ""
        self._url = _parse(url)
        self._path: str | None = None
        if self._url is not None and self._url.get_backend_name() == "sqlite":
            self._path = os.path.abspath(_sqlite_path(self._url))
            self._url = _sqlite_url(self._url, self._path)

    @property
    def persistent(self) -> bool:
        """Whether other processes can see the study."""
        return self._url is not None

    @property
    def url(self) -> str:
        """The URL with its secrets, for connections and the environment only."""
        assert self._url is not None
        written = str(self._url.render_as_string(hide_password=False))
        # Optuna treats the URL as a template.
        return written.replace("{", "%7B").replace("}", "%7D")

    @property
    def shown(self) -> str:
        """The URL without secrets, for messages."""
        if self._url is None:
            return "memory"
        if self._path is not None:
            return f"sqlite:///{visible(self._path)}"
        query = {
            key: "***" if "password" in key.lower() else value
            for key, value in self._url.query.items()
        }
        return str(self._url.set(query=query).render_as_string(hide_password=True))

    @property
    def file(self) -> str:
        """The id of the study's file; empty if there is none."""
        if self._path is None:
            return ""
        status = os.stat(self._path)
        return f"{status.st_dev}:{status.st_ino}"

    def is_below(self, directory: str) -> bool:
        """Whether the study's file lies below a directory."""
        return self._path is not None and Path(self._path).is_relative_to(directory)

    @property
    def secrets(self) -> list[str]:
        """The passwords in the URL."""
        if self._url is None:
            return []
        found = [str(value) for key, value in self._url.query.items() if "password" in key.lower()]
        if self._url.password:
            found.append(str(self._url.password))
        return found

    @property
    def traces(self) -> list[str]:
        """The parts of the URL as written that contain its passwords."""
        found = re.finditer(
            r"(?<=://)[^:/@]*(:[^@]+@)|(?<=[?&])(\w*password\w*=[^&]+)", self._given, re.IGNORECASE
        )
        return [str(piece[1] or piece[2]) for piece in found]

    def explain(self, error: Exception) -> str:
        """The message of the database's driver, on one line and without secrets."""
        # SQLAlchemy stores the driver's error as `orig`; Optuna may wrap both.
        origins = [getattr(one, "orig", None) for one in (error, error.__cause__)]
        origin = next((one for one in origins if one is not None), error)
        said = str(origin).strip().splitlines()
        text = said[0] if said and origin is not error else type(error).__name__
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return f"{self.shown}: {text}"

    def open(self) -> optuna.storages.BaseStorage:
        """Connect, and create missing tables. The caller holds the lock."""
        if self._url is None:
            return optuna.storages.InMemoryStorage()
        if self._path is not None:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        with self._needing_driver():
            backend = optuna.storages.RDBStorage(self.url, engine_kwargs=self._engine_settings())
        return lean(optuna.storages.get_storage(backend))

    @contextlib.contextmanager
    def _needing_driver(self) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            raise SweepError(
                f"hydra.sweeper.storage {self.shown}: its driver is not installed"
            ) from error

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Lock the database for all other workers; released if this process dies."""
        if self._url is None:
            yield
        elif self._path is not None:
            with _file_lock(f"{self._path}.lock", self._stopping):
                yield
        else:
            with self._advisory_lock(name):
                yield

    @contextlib.contextmanager
    def snapshot(
        self, storage: optuna.storages.BaseStorage, hidden: Collection[int] = ()
    ) -> Iterator[None]:
        """Context with one fixed view of the other trials, without the hidden ones.

        Optuna 2 reads them anew for each sampled key, later versions once by themselves.
        """
        replaced: dict[str, Any] = {}
        if _READ in vars(storage):
            replaced[_READ] = lambda _: None
        if hidden:
            replaced["get_all_trials"] = functools.partial(
                _visible_trials, storage.get_all_trials, hidden
            )
        former = {name: vars(storage)[name] for name in replaced if name in vars(storage)}
        vars(storage).update(replaced)
        try:
            yield
        finally:
            for name in replaced:
                del vars(storage)[name]
            vars(storage).update(former)

    def _engine_settings(self) -> dict[str, Any]:
        if self._path is not None:
            return {"connect_args": {"timeout": _SQLITE_SECONDS}}
        return {"pool_pre_ping": True, "connect_args": self._connect_arguments()}

    def _connect_arguments(self) -> dict[str, Any]:
        assert self._url is not None
        if "psycopg" in self._url.get_driver_name():
            return {"connect_timeout": _CONNECT_SECONDS}
        return {}

    @contextlib.contextmanager
    def _advisory_lock(self, name: str) -> Iterator[None]:
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        # A separate connection: the lock belongs to it, and ends with it.
        with self._needing_driver():
            engine = sqlalchemy.create_engine(
                self.url, poolclass=NullPool, connect_args=self._connect_arguments()
            )
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
            yield


def lean(storage: optuna.storages.BaseStorage) -> optuna.storages.BaseStorage:
    """Make Optuna 2 read only the trials that can have changed, as later versions do.

    It lists all trials at every read, so that the cost of a trial would grow with the study.
    """
    read_all = getattr(storage, _READ, None)
    if read_all is None:
        return storage
    backend = vars(storage)["_backend"]
    read = functools.partial(_read_changed, storage, backend, read_all)
    vars(storage)[_READ] = read  # hides the class's method
    return storage


def _visible_trials(
    get_all_trials: Callable[..., list[FrozenTrial]],
    hidden: Collection[int],
    study_id: int,
    deepcopy: bool = True,
    states: Collection[TrialState] | None = None,
) -> list[FrozenTrial]:
    """All trials, the hidden ones as failed, so that samplers ignore them.

    They keep their places in the list: NSGA-II looks trials up by their numbers.
    """
    trials = [
        _as_failed(trial) if trial.number in hidden else trial
        for trial in get_all_trials(study_id, deepcopy=deepcopy)
    ]
    return trials if states is None else [trial for trial in trials if trial.state in states]


def _as_failed(trial: FrozenTrial) -> FrozenTrial:
    failed = copy.copy(trial)
    failed.state = TrialState.FAIL
    return failed


def _read_changed(cache: Any, backend: Any, read_all: Callable[[int], None], study_id: int) -> None:
    study = cache._studies.get(study_id)
    if study is None or not study.trials:
        read_all(study_id)
        return
    known = study.trials.values()
    highest = max(trial._trial_id for trial in known)
    settled = study.owned_or_finished_trial_ids
    unsettled = [trial._trial_id for trial in known if trial._trial_id not in settled]
    with backend.engine.connect() as connection:
        of_study = {"study": study_id, "highest": highest}
        new = [row[0] for row in connection.execute(_NEW, of_study)]
        total = connection.execute(_COUNT, of_study).scalar()
    # The count detects trials that were committed late, with a lower id than one already seen.
    if total != len(study.trials) + len(new) or len(new) + len(unsettled) > _FEW:
        read_all(study_id)
        return
    trials = [backend.get_trial(trial_id) for trial_id in [*unsettled, *new]]
    with cache._lock:
        cache._add_trials_to_cache(study_id, trials)
        settled.update(trial._trial_id for trial in trials if trial.state.is_finished())


def _parse(url: str | None) -> URL | None:
    if url is None:
        return None
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        driver = parsed.get_driver_name()
    except Exception as error:
        # The error's own text may hold the URL, and with it a password.
        raise SweepError(
            f"hydra.sweeper.storage is not a URL of a database that can be used here "
            f"({type(error).__name__}); for example sqlite:///multirun/studies.db"
        ) from None
    if backend == "sqlite":
        options = url.partition("?")[2]
        if "/" in options and "=" not in options:  # the rest of a path, as of hydra.sweep.dir
            return parsed.set(database=url.partition(":///")[2], query={})
        unknown = [
            key
            for key in (option.partition("=")[0] for option in options.split("&"))
            if options and key not in _SQLITE_OPTIONS
        ]
        if unknown:
            raise SweepError(
                f"hydra.sweeper.storage: in the URL of an SQLite file ? begins options, and "
                f"{unknown[0]!r} is none; for a path with ? in it write "
                "sqlite:///file:PATH?uri=true, with %3F for each ? of the path"
            )
        return None if parsed.database in (None, "", ":memory:") else parsed
    if backend == "postgresql":
        assert driver
        if re.search(r"[{}]", str(parsed.database)):
            raise SweepError("hydra.sweeper.storage: the database's name must not hold { or }")
        return parsed
    raise SweepError(
        f"hydra.sweeper.storage: {backend} is not supported; use sqlite or postgresql, or the "
        "stock sweeper with hydra/sweeper=optuna"
    )


def url_of(setting: Any) -> str | None:
    """The URL in ``hydra.sweeper.storage``, which may be the config of an Optuna storage."""
    if setting is None or isinstance(setting, str):
        return setting
    kind = str(setting.get("_target_", "")).rpartition(".")[2] if hasattr(setting, "get") else ""
    if kind == "InMemoryStorage":
        return None
    others = sorted(key for key in setting if key not in ("_target_", "url"))
    if kind != "RDBStorage":
        raise SweepError(
            f"hydra.sweeper.storage: {kind or 'this object'} is not supported, for the workers of "
            "a study need a database that they can lock; write the URL of one, or an object "
            "optuna.storages.RDBStorage with url"
        )
    if others or not isinstance(setting.get("url"), str):
        what = f"{others[0]} is not supported" if others else "url is missing"
        raise SweepError(
            f"hydra.sweeper.storage: {what}; of RDBStorage only url is taken, for the sweeper sets "
            "up its connections itself"
        )
    return str(setting.url)


def _sqlite_path(url: URL) -> str:
    """The file that an SQLite URL names, with the escapes of the URL decoded."""
    database = str(url.database)
    if str(url.query.get("uri", "")).lower() in ("true", "1", "yes", "on", "y", "t"):
        found = re.match(r"file:(?://[^/]*)?(.*)", database)
        if found:
            return os.fsdecode(unquote_to_bytes(found[1]))
    return database


def _sqlite_url(url: URL, path: str) -> URL:
    """A URL that names this file to SQLAlchemy, Optuna and SQLite, whatever its path contains."""
    query = {key: value for key, value in url.query.items() if key != "uri"}
    if not _ODD.search(path) and not query.keys() & {"mode", "cache", "immutable", "nolock", "vfs"}:
        return url.set(database=path, query=query)
    return url.set(database=f"file:{quote(os.fsencode(path))}", query={**query, "uri": "true"})


@contextlib.contextmanager
def _file_lock(path: str, stopping: Callable[[], bool]) -> Iterator[None]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        waited = 0.0
        while not _try_lock(file):
            # Not a blocking call: a stopped worker may hold the lock, and Ctrl-C must work.
            if stopping() and waited > _STOPPING_SECONDS:
                raise optuna.exceptions.StorageInternalError(f"{path} is held by another worker")
            time.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS
        yield
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
