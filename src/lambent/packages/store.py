"""Packages: archives kept exactly as uploaded, beside the tree they unpack to, named by the archive's SHA-256.

    DATA/packages/DIGEST/package.zip      the bytes as uploaded
                         tree/            unpacked once, mounted read-only into sandboxes
                         unpacked         bytes in the tree, decimal
    DATA/packages/.incoming-*             being unpacked; whatever a crash left is removed at the next start

The layers of a function are one more such directory, without an archive: `merge` names it by the layers' digests.

A package appears by one rename of a directory whose content is on disk, and never changes afterwards; putting the same
archive again, also at the same time, finds or makes the same package.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import shutil
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..domain.clock import Clock
from ..domain.errors import DiskFull, RequestEntityTooLarge
from ..domain.limits import UNZIPPED_BYTES_MAX, ZIP_DIRECT_BYTES_MAX
from ..domain.workers import full_pool
from .archive import TASK_ROOT, BrokenZip, EmptyZip, UnzippedTooLarge, unpack
from .merge import merge, tree_name

INCOMING = ".incoming-"
"""How the names of files and directories begin that are not packages yet."""
UNPACKINGS_MAX = 2
"""Archives being unpacked at once; more wait for their turn."""
GRACE_S = 3_600
"""A package is removed when nobody has referenced or put it for this long: a change that names it may be about to be
written, and an invocation of the code it replaced may run for a quarter of an hour."""
FSYNC_FILES_MAX = 16
"""Up to this many files are synced for themselves; above, one sync of the file system is cheaper."""
FSYNCS_MAX = 8
"""Files being synced at once. Each waits for the file system's journal, and those that wait together share one write of
it: measured for a package of one file, a quarter of the time of one after the other."""

_log = logging.getLogger("lambent.packages")
T = TypeVar("T")
ArchiveCheck = Callable[[Path], None]
"""Looks at an archive before it becomes a package, and raises what refuses it. Called in a thread."""


@dataclass(frozen=True, slots=True)
class Package:
    """One stored archive."""

    digest: str
    """Hex SHA-256 of the archive: the package's name."""
    sha256_base64: str
    size_bytes: int
    """Of the archive."""
    unpacked_bytes: int


class Packages:
    """The packages below one directory. The calls are made on the event loop, the work is done in threads."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        unzipped_bytes_max: int = UNZIPPED_BYTES_MAX,
        low_water_bytes: int = 0,
    ) -> None:
        """Open or make `directory`; below `low_water_bytes` of free disk nothing more is taken in."""
        self.directory = directory
        self._clock = clock
        self._unzipped_bytes_max = unzipped_bytes_max
        self._low_water_bytes = low_water_bytes
        self._room = asyncio.Semaphore(UNPACKINGS_MAX)
        self._syncing = full_pool(FSYNCS_MAX, "sync")
        self._guard = threading.Lock()
        """Between a put that finds a package and a collection that removes it."""
        self._unreferenced: dict[str, int] = {}
        """Digests that the last collections found unreferenced, and since when (monotonic nanoseconds)."""
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for left in directory.glob(f"{INCOMING}*"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    def tree(self, digest: str) -> Path:
        """The unpacked directory of a package."""
        return self.directory / digest / "tree"

    def archive(self, digest: str) -> Path:
        """The archive as it was uploaded."""
        return self.directory / digest / "package.zip"

    def check_direct(self, size_bytes: int) -> None:
        """The limit of archives that travel inside a request."""
        if size_bytes > ZIP_DIRECT_BYTES_MAX:
            raise RequestEntityTooLarge(f"Zipped size must be smaller than {ZIP_DIRECT_BYTES_MAX} bytes")

    async def put(self, archive: bytes | Path, check: ArchiveCheck | None = None, *, root: str = TASK_ROOT) -> Package:
        """Store an archive: bytes of a request (50 MiB at most) or a file (left where it is).

        check: a last look at an archive that can be unpacked; what it raises is raised here, and nothing is stored.
        root: where a sandbox sees it, /var/task for code and /opt for layers; absolute links below it stay inside.

        Raises BrokenZip, EmptyZip, UnzippedTooLarge, RequestEntityTooLarge, DiskFull. Answers when the package is on
        disk. A caller that is cancelled leaves the package or nothing.
        """
        if isinstance(archive, bytes):
            self.check_direct(len(archive))
            if not archive:
                raise EmptyZip
        async with self._room:
            return await _in_thread(lambda: self._put(archive, check, root))

    async def merge(self, digests: Sequence[str]) -> None:
        """Have the one tree that a function with these layers sees, named `tree_name(digests)`; made once, kept after.

        digests: of stored layers, later ones over earlier ones. Raises DiskFull, FileNotFoundError for one that is not
        stored. Answers when the tree is on disk.
        """
        if len(digests) > 1:
            async with self._room:
                await _in_thread(lambda: self._merge(digests))

    async def read(self, work: Callable[[], T]) -> T:
        """Run `work`, which reads stored archives, in a thread; it takes its turn with those being unpacked."""
        async with self._room:
            return await _in_thread(work)

    async def collect(self, keep: Collection[str]) -> list[str]:
        """Remove packages that no collection for a whole grace period has found in `keep`; answers their digests.

        keep: digests of every version. To be called every now and then: the first call only takes note.
        """
        return await _in_thread(lambda: self._collect(frozenset(keep)))

    def _put(self, archive: bytes | Path, check: ArchiveCheck | None, root: str) -> Package:
        digest = _digest(archive)
        known = self._find(digest)
        if known is not None:
            if check is not None:
                check(self.archive(digest))
            return known

        def fill(incoming: Path) -> int:
            unpacked_bytes = self._fill(incoming, archive, root)
            if check is not None:
                check(incoming / "package.zip")  # the very bytes that are kept, not those they were copied from
            return unpacked_bytes

        unpacked_bytes = self._make(digest, fill)
        size = len(archive) if isinstance(archive, bytes) else archive.stat().st_size
        return _package(digest, size, unpacked_bytes)

    def _merge(self, digests: Sequence[str]) -> None:
        name = tree_name(digests)
        assert name is not None
        with self._guard:
            self._unreferenced.pop(name, None)
            if (self.directory / name).exists():
                return

        def fill(incoming: Path) -> int:
            (incoming / "tree").mkdir()
            return merge([self.tree(digest) for digest in digests], incoming / "tree")

        self._make(name, fill)

    def _make(self, name: str, fill: Callable[[Path], int]) -> int:
        """One more directory below ours, filled aside and on disk before it has its name; answers what `fill` does:
        the bytes of its tree."""
        try:
            self._check_room()
            incoming = Path(tempfile.mkdtemp(prefix=INCOMING, dir=self.directory))
            try:
                unpacked_bytes = fill(incoming)
                (incoming / "unpacked").write_text(str(unpacked_bytes))
                (incoming / "unpacked").chmod(0o644)
                incoming.chmod(0o755)
                _sync(incoming, self._syncing)
                self._publish(incoming, name)
            finally:
                shutil.rmtree(incoming, ignore_errors=True)  # gone already after a publication
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"no room for a package in {self.directory}") from error
            raise
        return unpacked_bytes

    def _find(self, digest: str) -> Package | None:
        """The stored package, its grace period begun anew; None when there is none."""
        home = self.directory / digest
        with self._guard:
            self._unreferenced.pop(digest, None)
            try:
                unpacked_bytes = int((home / "unpacked").read_text())
                size = (home / "package.zip").stat().st_size
            except FileNotFoundError:
                return None
        return _package(digest, size, unpacked_bytes)

    def _check_room(self) -> None:
        if self._low_water_bytes:
            disk = os.statvfs(self.directory)
            if disk.f_bavail * disk.f_frsize < self._low_water_bytes:
                raise DiskFull(
                    f"Less than {self._low_water_bytes // 1_048_576:,} MB are free in {self.directory}: no code is taken "
                    "in until there is room (storage.disk_low_water_mb)."
                )

    def _fill(self, incoming: Path, archive: bytes | Path, root: str) -> int:
        kept = incoming / "package.zip"
        if isinstance(archive, bytes):
            kept.write_bytes(archive)
        else:
            shutil.copyfile(archive, kept)
        kept.chmod(0o644)
        tree = incoming / "tree"
        tree.mkdir()
        try:
            return unpack(kept, tree, root=root, bytes_max=self._unzipped_bytes_max)
        except BrokenZip as error:
            _log.info("an archive was refused: %s", error.reason)
            raise

    def _publish(self, incoming: Path, digest: str) -> None:
        with self._guard:
            try:
                os.rename(incoming, self.directory / digest)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return  # somebody put the same archive meanwhile
        _fsync(self.directory)

    def _collect(self, keep: frozenset[str]) -> list[str]:
        now_ns = self._clock.monotonic_ns()
        removed = []
        for home in sorted(self.directory.iterdir()):
            digest = home.name
            if digest.startswith("."):
                continue
            trash = self.directory / f"{INCOMING}trash-{digest}"
            with self._guard:
                if digest in keep:
                    self._unreferenced.pop(digest, None)
                    continue
                if now_ns - self._unreferenced.setdefault(digest, now_ns) < GRACE_S * 1_000_000_000:
                    continue
                del self._unreferenced[digest]
                os.rename(home, trash)
            shutil.rmtree(trash)
            removed.append(digest)
        return removed


def _package(digest: str, size_bytes: int, unpacked_bytes: int) -> Package:
    return Package(digest, b64encode(bytes.fromhex(digest)).decode(), size_bytes, unpacked_bytes)


def _digest(archive: bytes | Path) -> str:
    if isinstance(archive, bytes):
        return hashlib.sha256(archive).hexdigest()
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(root: Path, side_by_side: Executor) -> None:
    """Everything below `root` is on disk afterwards."""
    paths = [root]
    for directory, directories, files in os.walk(root):
        paths += [Path(directory, name) for name in (*directories, *files)]
        if len(paths) > 2 * FSYNC_FILES_MAX:
            _sync_file_system(root)
            return
    list(side_by_side.map(_fsync, [path for path in paths if not path.is_symlink()]))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(path: Path) -> None:
    """syncfs(2): one flush instead of thousands."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)


__all__ = ["ArchiveCheck", "BrokenZip", "EmptyZip", "Package", "Packages", "UnzippedTooLarge"]
