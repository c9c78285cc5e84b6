"""One SQLite file, one connection, one thread that owns it: group commit for everybody.

Producers on the event loop hand in jobs; the thread takes whatever queued up during its last fsync, runs it in one
transaction, commits (WAL, synchronous=FULL: on disk before anybody hears of it) and resolves all futures of the batch
with one call into the loop. Measured, this beats a transaction per job by a factor of ten and a second connection by
another ten (lock retries). It also keeps clear of SQLite's WAL-reset race, which needs two connections that write or
checkpoint: this connection checkpoints too, between commits and after the answers are out.

Hand-over: jobs gather in a list that only the loop touches and leave it, once per loop iteration, through a
`queue.SimpleQueue`. No list is ever shared between the threads, so no job can fall between an append and a swap.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from ..domain.errors import DiskFull, LambentError, ServiceFault

T = TypeVar("T")

PENDING_JOBS_MAX = 65_536
"""Jobs handed in and not yet answered; over it, a job is refused with ServiceFault."""
PENDING_BYTES_MAX = 268_435_456
"""Declared weight of the jobs handed in and not yet answered; over it, a job is refused with ServiceFault."""
BATCH_JOBS_MAX = 4_096
BATCH_BYTES_MAX = 33_554_432
"""A transaction takes jobs until one of these is reached."""
CHECKPOINT_ROWS = 4_096
CHECKPOINT_BYTES = 8_388_608
"""Changed rows, or declared bytes, after which the log is copied into the database. Small, because one costs a
millisecond and everybody waits for it; ten times larger ones measured no better."""
CHECKPOINT_COMMITS = 512
"""Commits after which the same is done: those of a lone client change two or three pages each, so that the log stays
within LOG_BYTES."""
LOG_BYTES = 4_194_304
"""The log is brought to this size in one go. A commit that makes a file longer also waits for the file system's journal,
together with everybody else's writes: measured, twice as long on a quiet disk and eight times on a busy one."""
LOG_AFTER_COMMITS = 8
"""Commits after which that is done, once; a store that is hardly written stays small."""
WAL_BYTES_MAX = 67_108_864
"""A log file that grew beyond this is cut back to nothing at the next checkpoint (otherwise it is overwritten in
place, which spares each fdatasync the journalling of a new file size)."""

_MIGRATION = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_TRANSACT, _EXECUTE, _APPEND = range(3)

_Job = tuple[int, "asyncio.Future[Any]", str, Any, int]
"""How, the caller's future, the SQL, its parameters (or the function), the weight in bytes."""
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]
_log = logging.getLogger("lambent.stores")


class StoreFormatError(Exception):
    """The stored data is of a format this release cannot use; the message says which and what to do."""


class Writer:
    """The only way into one SQLite file. Used from one event loop; `read_at_start` before it runs.

    A job whose caller was cancelled is carried out nevertheless. After a failed commit nothing of the batch is stored,
    every caller of it gets the error, and the next batch starts afresh.
    """

    def __init__(self, path: Path, migrations: Path, *, pending_jobs_max: int = PENDING_JOBS_MAX) -> None:
        """Open or create the file at `path` and bring it to the newest of `migrations` (`0001_name.sql`, …).

        Raises StoreFormatError when the file is newer than the migrations, or is no database.
        """
        self.path = path
        self._wal = Path(f"{path}-wal")
        self._pending_jobs_max = pending_jobs_max
        self._connection = _open(path)
        try:
            _migrate(self._connection, path, migrations)
            # From here on nobody is waited for: a reader (a backup) makes a checkpoint try again later.
            self._connection.execute("PRAGMA busy_timeout = 0")
        except BaseException:
            self._connection.close()
            raise
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: list[_Job] = []
        self._inbox: SimpleQueue[list[_Job] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing: asyncio.Future[None] | None = None
        self._closed = False
        self._pending_jobs = 0
        self._pending_bytes = 0
        self._rows_at_checkpoint = 0
        self._bytes_since_checkpoint = 0
        self._commits_since_checkpoint = 0
        self._commits = 0

    def read_at_start(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on the connection in the caller's thread; only before the first job."""
        if self._thread is not None or self._closed:
            raise RuntimeError("read_at_start comes before the first job; use transact")
        return fn(self._connection)

    @property
    def pending(self) -> int:
        """Jobs handed in and not yet answered."""
        return self._pending_jobs

    def transact(self, fn: Callable[[sqlite3.Connection], T], *, weight: int = 0) -> asyncio.Future[T]:
        """Run `fn` in the writer's thread, in a savepoint of its own; the future resolves once the commit is durable.
        weight: bytes that it writes, where they are many.

        An exception of `fn` undoes what `fn` did, nothing else, and is the future's. `fn` neither commits nor rolls
        back, and runs in the order of hand-in with other `transact` and `execute` jobs.
        Raises ServiceFault when too much is pending; the future: DiskFull, ServiceFault, or what `fn` raises.
        """
        return self._submit(_TRANSACT, "", fn, weight)

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, weight: int = 0) -> asyncio.Future[int]:
        """Run one statement; the future resolves to the number of changed rows once the commit is durable."""
        return self._submit(_EXECUTE, sql, parameters, weight)

    def append(self, sql: str, parameters: Sequence[Any], *, weight: int = 0) -> asyncio.Future[None]:
        """Run one statement together with all others of the same SQL in the batch (`executemany`): the fastest way.

        Within a batch these run after the `transact` and `execute` jobs; where order matters, await one before the
        next. `weight`: bytes of the parameters, where they are large. A statement that fails takes nobody with it.
        """
        return self._submit(_APPEND, sql, parameters, weight)

    async def close(self) -> None:
        """Carry out what was handed in, fold the log into the database and close it. Closing twice is once."""
        if self._closed:
            if self._closing is not None:
                await asyncio.shield(self._closing)
            return
        self._closed = True
        if self._thread is None:
            _finish(self._connection)
            return
        assert self._loop is not None
        self._hand_over()
        self._closing = self._loop.create_future()
        self._inbox.put(None)
        await asyncio.shield(self._closing)
        self._thread.join()

    # The loop's side.

    def _submit(self, how: int, sql: str, argument: Any, weight: int) -> asyncio.Future[Any]:
        if self._closed:
            raise RuntimeError(f"{self.path.name} is closed")
        if self._thread is None:
            self.start()
        assert self._loop is not None
        if self._pending_jobs >= self._pending_jobs_max or self._pending_bytes + weight > PENDING_BYTES_MAX:
            raise ServiceFault(f"{self.path.name}: too many writes are waiting for the disk")
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._outbox:
            self._loop.call_soon(self._hand_over)
        self._outbox.append((how, future, sql, argument, weight))
        self._pending_jobs += 1
        self._pending_bytes += weight
        return future

    def start(self) -> None:
        """Begin the thread now, not with the first job: a machine may have none left by then. Raises ServiceFault when it
        has none; the next job tries again."""
        if self._thread is not None or self._closed:
            return
        self._loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._run, name=f"writer-{self.path.stem}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise ServiceFault(f"{self.path.name}: this machine has no thread left to write with ({error})") from None
        self._thread = thread

    def _hand_over(self) -> None:
        if self._outbox:
            self._inbox.put(self._outbox)
            self._outbox = []

    def _resolve(self, outcomes: list[_Outcome], weight: int) -> None:
        self._pending_jobs -= len(outcomes)
        self._pending_bytes -= weight
        for future, value, error in outcomes:
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    # The thread's side.

    def _run(self) -> None:
        backlog: deque[_Job] = deque()
        is_open = True
        while is_open or backlog:
            if not backlog:
                jobs = self._inbox.get()
                if jobs is None:
                    is_open = False
                    continue
                backlog.extend(jobs)
            while is_open and self._inbox.qsize():
                jobs = self._inbox.get()
                if jobs is None:
                    is_open = False
                else:
                    backlog.extend(jobs)
            batch: list[_Job] = []
            weight = 0
            while backlog and len(batch) < BATCH_JOBS_MAX and weight < BATCH_BYTES_MAX:
                job = backlog.popleft()
                batch.append(job)
                weight += job[4]
            self._call_loop(self._resolve, self._commit(batch), weight)
            self._checkpoint(weight)
            self._commits += 1
            if self._commits == LOG_AFTER_COMMITS:
                self._extend_log()
        failure: Exception | None = None
        try:
            _finish(self._connection)
        except Exception as error:  # handed to whoever awaits close()
            failure = error
        self._call_loop(self._resolve_closed, failure)

    def _resolve_closed(self, error: Exception | None) -> None:
        assert self._closing is not None
        if error is None:
            self._closing.set_result(None)
        else:
            self._closing.set_exception(error)

    def _call_loop(self, fn: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(fn, *arguments)
        except RuntimeError:
            # The loop is closed: nobody is left who could be told. What was committed stays committed.
            _log.warning("%s: the event loop ended before its last writes were answered", self.path.name)

    def _commit(self, batch: list[_Job]) -> list[_Outcome]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = self._carry_out(batch)
            connection.execute("COMMIT")
        except Exception as error:
            _log.error("%s: a batch of %d writes failed: %s", self.path.name, len(batch), error)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return [(job[1], None, _batch_error(self.path, error)) for job in batch]
        return outcomes

    def _carry_out(self, batch: list[_Job]) -> list[_Outcome]:
        """Run all jobs; an exception from here means that the whole transaction is lost."""
        connection = self._connection
        outcomes: list[_Outcome] = []
        groups: dict[str, list[_Job]] = {}
        for job in batch:
            how, future, sql, argument, _ = job
            if how == _APPEND:
                groups.setdefault(sql, []).append(job)
            elif how == _EXECUTE:
                outcomes.append(self._one(future, sql, argument))
            else:
                outcomes.append(self._in_savepoint(future, argument))
        for sql, jobs in groups.items():
            if len(jobs) > 1:
                connection.execute("SAVEPOINT many")
                try:
                    connection.executemany(sql, [job[3] for job in jobs])
                except Exception as error:
                    self._still_open(error)
                    self._undo("many")  # one of them is bad; each alone shows which
                else:
                    connection.execute("RELEASE many")
                    outcomes += [(job[1], None, None) for job in jobs]
                    continue
            for job in jobs:
                future, _, failure = self._one(job[1], sql, job[3])
                outcomes.append((future, None, failure))
        return outcomes

    def _one(self, future: asyncio.Future[Any], sql: str, parameters: Sequence[Any]) -> _Outcome:
        try:
            return future, self._connection.execute(sql, parameters).rowcount, None
        except Exception as error:  # the caller's; a single statement undoes itself
            self._still_open(error)
            return future, None, _job_error(self.path, error)

    def _in_savepoint(self, future: asyncio.Future[Any], fn: Callable[[sqlite3.Connection], Any]) -> _Outcome:
        self._connection.execute("SAVEPOINT job")
        try:
            value = fn(self._connection)
        except Exception as error:  # the caller's
            self._still_open(error)
            self._undo("job")
            return future, None, _job_error(self.path, error)
        self._connection.execute("RELEASE job")
        return future, value, None

    def _undo(self, savepoint: str) -> None:
        self._connection.execute(f"ROLLBACK TO {savepoint}")
        self._connection.execute(f"RELEASE {savepoint}")

    def _still_open(self, error: Exception) -> None:
        """A full disk or an I/O error ends the whole transaction inside SQLite: then nobody's job has happened."""
        if not self._connection.in_transaction:
            raise error

    def _checkpoint(self, weight: int) -> None:
        self._bytes_since_checkpoint += weight
        self._commits_since_checkpoint += 1
        rows = self._connection.total_changes
        if (
            rows - self._rows_at_checkpoint < CHECKPOINT_ROWS
            and self._bytes_since_checkpoint < CHECKPOINT_BYTES
            and self._commits_since_checkpoint < CHECKPOINT_COMMITS
        ):
            return
        self._rows_at_checkpoint = rows
        self._bytes_since_checkpoint = 0
        self._commits_since_checkpoint = 0
        try:
            mode = "TRUNCATE" if self._wal.stat().st_size > WAL_BYTES_MAX else "PASSIVE"
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})")
        except (OSError, sqlite3.Error) as error:
            # Everything is safe in the log; the next checkpoint tries again.
            _log.error("%s: checkpoint failed: %s", self.path.name, error)

    def _extend_log(self) -> None:
        """Make the log file long ahead of time: what SQLite spills of a transaction that is then undone stays in it, void,
        and is overwritten by later commits."""
        connection = self._connection
        try:
            if self._wal.stat().st_size >= LOG_BYTES:
                return
            (cache,) = connection.execute("PRAGMA cache_size").fetchone()
            connection.execute("PRAGMA cache_size = -256")  # KB: what does not fit is spilled
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE undone (filling BLOB)")
                connection.execute("INSERT INTO undone VALUES (zeroblob(?))", (LOG_BYTES,))
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                connection.execute(f"PRAGMA cache_size = {cache}")
            log = os.open(self._wal, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fdatasync(log)
            finally:
                os.close(log)  # SQLite keeps its locks in other files
        except (OSError, sqlite3.Error) as error:
            # Nothing but speed is lost, a nearly full disk for instance.
            _log.info("%s: the log was not extended: %s", self.path.name, error)


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # the file's name has to survive a power loss as well
    finally:
        os.close(directory)
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreFormatError(f"{path} cannot be opened as a database: {error}") from error
    return connection


def _finish(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        # Everything is safe in the log, which the next start reads; a full disk is no reason not to stop.
        _log.error("the last checkpoint failed: %s", error)
    finally:
        connection.close()


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Path) -> None:
    scripts = sorted(file for file in migrations.iterdir() if _MIGRATION.fullmatch(file.name))
    for number, script in enumerate(scripts, start=1):
        if int(script.name[:4]) != number:
            raise StoreFormatError(f"migration {number:04d} is missing before {script.name}")
    current: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if current > len(scripts):
        raise StoreFormatError(
            f"{path} has format {current}, this release reads up to {len(scripts)}: "
            "it was written by a newer Lambent; start that release, or restore a backup made by this one"
        )
    for number, script in enumerate(scripts[current:], start=current + 1):
        try:
            # executescript commits what is open before it starts, hence the transaction inside the script.
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script.read_text()}\n;PRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StoreFormatError(f"{path}: migration {script.name} failed: {error}") from error


def _is_full(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _job_error(path: Path, error: Exception) -> Exception:
    return _batch_error(path, error) if _is_full(error) else error


def _batch_error(path: Path, error: Exception) -> LambentError:
    """A fresh error for each caller: one shared by many would collect all their tracebacks."""
    fault: LambentError
    if _is_full(error):
        fault = DiskFull(f"{path.name}: the disk is full")
    else:
        fault = ServiceFault(f"{path.name}: a write failed: {error}")
    fault.__cause__ = error
    return fault
