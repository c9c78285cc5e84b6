"""Backup and restore of a data directory, while its server runs or not.

Databases are copied by SQLite's online backup in one step, from a read-only connection that never checkpoints, so the
copy is one committed state and the server is not held up. Packages are immutable and become hard links where the file
system allows; they are copied before the database that names them and once more after it, so that none it names is
missing. Records only grow and are copied. What runs only while a server runs (`lock`, `spawner/`) stays behind.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .datadir import DATABASES, DataDirectoryError, check_format

_FILES = ("instance", "secret.key", "format")
_COPIED = ("records", "runtimes")


def backup(source: Path, destination: Path) -> None:
    """Copy the data directory `source` to `destination`, which must not exist; it appears whole or not at all.

    Raises StoreFormatError when `source` is no data directory of ours, DataDirectoryError when the copy fails.
    """
    check_format(source)
    _copy(source, destination, link_packages=True)


def restore(saved: Path, destination: Path) -> None:
    """Make the data directory `destination`, which must not exist, from a backup; the backup stays independent of it.

    Raises StoreFormatError when `saved` is not a backup that this release can read, DataDirectoryError when it is
    damaged or the copy fails.
    """
    check_format(saved)
    for name in DATABASES:
        if (saved / name).exists() and (found := _quick_check(saved / name)) != "ok":
            raise DataDirectoryError(f"{saved / name} is damaged: {found}")
    _copy(saved, destination, link_packages=False)


def _copy(source: Path, destination: Path, *, link_packages: bool) -> None:
    if destination.exists():
        raise DataDirectoryError(f"{destination} exists already: name a directory that does not")
    partial = destination.with_name(f"{destination.name}.partial")
    place = _link if link_packages else _duplicate
    try:
        if partial.exists():
            shutil.rmtree(partial)  # of an attempt that was cut short
        partial.mkdir(mode=0o750, parents=True)
        _tree(source / "packages", partial / "packages", place)
        for name in DATABASES:
            if (source / name).exists():
                _copy_database(source / name, partial / name)
        _tree(source / "packages", partial / "packages", place)
        for name in _COPIED:
            _tree(source / name, partial / name, _duplicate)
        for name in _FILES:
            _duplicate(source / name, partial / name)
        _own(partial, source.stat())
        os.sync()
        partial.rename(destination)
        os.sync()
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(partial, ignore_errors=True)  # the first error is the one to tell
        raise DataDirectoryError(f"copying {source} to {destination} failed: {error}") from error


def _copy_database(source: Path, destination: Path) -> None:
    os.close(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with (
        closing(sqlite3.connect(f"file:{_quoted(source)}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(destination)) as copy,
    ):
        live.backup(copy)
        # The copied header says WAL; a file that stands alone is easier to move about. The server turns it on again.
        copy.execute("PRAGMA journal_mode = DELETE")
    _own(destination, source.stat())


def _quick_check(path: Path) -> str:
    try:
        with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)) as connection:
            return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _tree(source: Path, destination: Path, place: Callable[[Path, Path], None]) -> None:
    """Copy what is not there yet; what disappears meanwhile (a deleted package) is not needed any more."""
    if not source.is_dir():
        return
    destination.mkdir(exist_ok=True)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        target = destination / entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                _tree(Path(entry.path), target, place)
            elif (entry.is_symlink() or entry.is_file(follow_symlinks=False)) and not os.path.lexists(target):
                place(Path(entry.path), target)
        except FileNotFoundError:
            continue
    shutil.copystat(source, destination)
    _own(destination, source.stat())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        _duplicate(source, target)


def _duplicate(source: Path, target: Path) -> None:
    shutil.copy2(source, target, follow_symlinks=False)
    _own(target, source.lstat())


def _own(path: Path, like: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, like.st_uid, like.st_gid, follow_symlinks=False)
