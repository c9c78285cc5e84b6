"""The data directory: everything one Lambent keeps, in one place, owned by one process at a time.

    DATA/
      format        the layout's number; a newer one is refused
      instance      random name of this installation, the same for ever
      secret.key    32 random bytes that sign what we hand out (page markers, code locations); 0600
      lock          held while a server runs, with its pid
      state.db      functions and their settings
      queue.db      accepted events
      packages/     code, by digest
      records/      attempts, logs and the ledger
      runtimes/     what was found out about runtimes
      spawner/      what the spawner needs while it runs

`format` is written last: a directory without it that holds nothing but these names is one whose creation was cut short.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType

from ..domain.clock import Clock, SystemClock
from .writer import StoreFormatError

FORMAT = 1
"""The number of this layout. The databases have numbers of their own, see their migrations."""
FREE_BYTES_MIN = 268_435_456
"""Low-water mark of free disk: below it nothing more is accepted, so that everything accepted can still be finished."""
ROOM_FRESH_MS = 250
"""How long one look at the free disk is believed."""

FOLDERS = {"packages": 0o755, "records": 0o750, "runtimes": 0o755, "spawner": 0o750}
"""Folders and their modes. Nobody but the owner's group gets past DATA itself; the spawner, which reaches packages through a
descriptor and has no right to override permissions, must be able to pass and read there."""
DATABASES = ("state.db", "queue.db")
_DATABASE_FILES = tuple(f"{name}{suffix}" for name in DATABASES for suffix in ("", "-wal", "-shm"))
_NAMES = frozenset({"format", "instance", "secret.key", "lock", *FOLDERS, *_DATABASE_FILES})
_FOREIGN_BUT_HARMLESS = frozenset({"lost+found"})
_FOLDER_MODE = 0o750
_SECRET_BYTES = 32


class DataDirectoryError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DataDirectory:
    """An open data directory. A block: leaving it gives the lock back."""

    def __init__(self, path: Path, lock: int, instance: str, secret: bytes, clock: Clock, free_bytes_min: int) -> None:
        self.path = path
        self.packages = path / "packages"
        self.records = path / "records"
        self.runtimes = path / "runtimes"
        self.spawner = path / "spawner"
        self.state_db = path / "state.db"
        self.queue_db = path / "queue.db"
        self.instance = instance
        """32 hexadecimal digits, the same at each start."""
        self.secret = secret
        """32 bytes, the same at each start."""
        self._lock = lock
        self._clock = clock
        self._free_bytes_min = free_bytes_min
        self._has_room = True
        self._looked_ns: int | None = None

    def has_room(self) -> bool:
        """Whether free disk is above the low-water mark. Cheap: looks at most every `ROOM_FRESH_MS`."""
        now_ns = self._clock.monotonic_ns()
        if self._looked_ns is None or now_ns - self._looked_ns >= ROOM_FRESH_MS * 1_000_000:
            self._looked_ns = now_ns
            self._has_room = self.free_bytes() >= self._free_bytes_min
        return self._has_room

    def free_bytes(self) -> int:
        """Bytes that an ordinary user may still write to the directory's file system."""
        usage = os.statvfs(self.path)
        return usage.f_bavail * usage.f_frsize

    def close(self) -> None:
        """Give the lock back; closing twice is once."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_data_directory(
    path: Path,
    *,
    owner: tuple[int, int] | None = None,
    clock: Clock | None = None,
    free_bytes_min: int = FREE_BYTES_MIN,
) -> DataDirectory:
    """Open `path`, making it and what it lacks, and lock it.

    owner: (uid, gid) that the server will run as, where root opens the directory for it; None: whoever we are.
    Raises DataDirectoryError: in use by another process (its pid is in the message), not ours, not empty and not a data
    directory. Raises StoreFormatError: written by a newer Lambent.
    """
    uid, gid = owner if owner is not None else (os.geteuid(), os.getegid())
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = set(os.listdir(path)) - _FOREIGN_BUT_HARMLESS
        if not names:
            _give(path, _FOLDER_MODE, uid, gid)
        _check(path, names, uid)
        lock = _locked(path / "lock", uid, gid)
    except OSError as error:
        raise DataDirectoryError(f"{path} cannot be used as the data directory: {error.strerror}") from error
    try:
        for folder, mode in FOLDERS.items():
            made = path / folder
            if not made.exists():
                made.mkdir()
                _give(made, mode, uid, gid)
        for database in DATABASES:
            _written(path / database, b"", 0o600, uid, gid)
        instance = _written(path / "instance", f"{os.urandom(16).hex()}\n".encode(), 0o640, uid, gid)
        secret = _written(path / "secret.key", os.urandom(_SECRET_BYTES), 0o600, uid, gid)
        if len(secret) != _SECRET_BYTES:
            raise DataDirectoryError(f"{path / 'secret.key'} has {len(secret)} bytes instead of {_SECRET_BYTES}")
        _written(path / "format", f"{FORMAT}\n".encode(), 0o640, uid, gid)
        return DataDirectory(
            path, lock, instance.decode().strip(), secret, clock if clock is not None else SystemClock(), free_bytes_min
        )
    except BaseException as error:
        os.close(lock)
        if isinstance(error, OSError):
            raise DataDirectoryError(f"{path} cannot be used as the data directory: {error.strerror}") from error
        raise


def check_format(path: Path) -> None:
    """Raises StoreFormatError unless `path` holds a data directory that this release can read."""
    try:
        text = (path / "format").read_text().strip()
    except FileNotFoundError:
        raise StoreFormatError(f"{path} is not a data directory: it has no `format` file") from None
    if not text.isdigit() or int(text) < 1:
        raise StoreFormatError(f"{path / 'format'} is damaged: it reads {text!r}")
    if int(text) > FORMAT:
        raise StoreFormatError(
            f"{path} has format {text}, this release reads up to {FORMAT}: "
            "it was written by a newer Lambent; start that release, or restore a backup made by this one"
        )


def _check(path: Path, names: set[str], uid: int) -> None:
    found = path.stat()
    if found.st_uid != uid:
        raise DataDirectoryError(
            f"{path} belongs to user {found.st_uid}, but Lambent runs as user {uid}: "
            f"give it the directory with `chown -R {uid} {path}`, or name another one"
        )
    if found.st_mode & stat.S_IWOTH:
        raise DataDirectoryError(f"{path} can be written by everybody: `chmod 750 {path}` first")
    if "format" in names:
        check_format(path)
    elif {name.removesuffix(".new") for name in names} - _NAMES:
        raise DataDirectoryError(f"{path} is not empty and not a data directory: name another one")


def _locked(path: Path, uid: int, gid: int) -> int:
    """A descriptor that holds the lock until it is closed, by us or by our death."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise DataDirectoryError(f"{path.parent} is in use by another Lambent, process {holder}") from None
    except BaseException:
        os.close(lock)
        raise
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    if os.geteuid() == 0:
        os.fchown(lock, uid, gid)
    return lock


def _written(path: Path, content: bytes, mode: int, uid: int, gid: int) -> bytes:
    """The file's content; where it does not exist yet, it appears whole and durable with `content`."""
    try:
        return path.read_bytes() if path.suffix != ".db" or not path.exists() else b""
    except FileNotFoundError:
        pass
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _give(temporary, mode, uid, gid)
    temporary.rename(path)
    sync_folder(path.parent)
    return content


def _give(path: Path, mode: int, uid: int, gid: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, uid, gid)
    path.chmod(mode)


def sync_folder(path: Path) -> None:
    """Make a folder's names durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
