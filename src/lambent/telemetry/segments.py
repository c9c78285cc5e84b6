"""Records in files: numbered append-only segments under one directory, an index beside each closed one.

`DATA/records/NNNNNNNN.log` grows by one `write()` per record; SIGKILL therefore loses nothing. A thread syncs it in
batches, at most `fsync_ms` after a record was written, and closes full segments (sync, index, rename). At start only
the last segment is read; a torn frame at its end (power loss) is cut off. Closed segments are looked at on the first
question about them. Rejected: one file per log group or stream (thousands of descriptors and of syncs per batch), and
a database (9 us a row and a second copy of what the log says).
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..domain.errors import DiskFull, ServiceFault
from .attempt import Attempt, AttemptPart, InitRecord, Origin, UserEvents
from .catalog import GroupKey, GroupRow, SqliteCatalog
from .codec import FRAME_BYTES_MAX, MAGIC, encode_attempt, encode_origin, encode_other
from .index import Index, read_tables
from .records import Admitted, BaseRecords
from .segment_file import Blocks, FileSegment, scan

SEGMENT_BYTES_MAX = 3 * 1_048_576
"""After SIGKILL a start reads one segment: this is what it can read in 100 ms."""
FSYNC_MS = 50
"""What power loss may take."""
RETRY_S = 1.0
"""Between two tries of what a failing disk refused to the maintenance thread."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger(__name__)


Later = Callable[..., object]
"""The event loop's `call_later`: seconds, what to call, its arguments."""


class FileRecords(BaseRecords):
    """Records that survive: one directory, one writing thread (the event loop's), one maintenance thread."""

    def __init__(
        self,
        directory: Path,
        *,
        fsync_ms: int = FSYNC_MS,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        later: Later | None = None,
    ) -> None:
        """later: wakes the maintenance thread when its time has come. It wants the interpreter's lock as soon as it is
        woken, and where that is in the middle of an answer it takes a quarter of a millisecond of it. None: it is woken at
        once, and waits by itself."""
        if not 0 <= fsync_ms <= 60_000 or not 4_096 <= segment_bytes_max <= 2**30:
            raise ValueError("fsync_ms is 0 to 60,000, segment_bytes_max 4 KB to 1 GB")
        directory.mkdir(parents=True, exist_ok=True)
        self._catalog = SqliteCatalog(directory / "catalog.db")
        super().__init__(self._catalog)
        self._directory = directory
        self._fsync_s = fsync_ms / 1_000
        self._bytes_max = segment_bytes_max
        self._blocks = Blocks()
        self._failure: OSError | None = None
        self._is_dirty = False
        self._later = later
        self._unpersisted: set[GroupKey] = set()
        self._closing = threading.Event()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open()
        self._thread = threading.Thread(target=self._maintain, name="records", daemon=True)
        self._thread.start()

    # Writing: the event loop's thread

    def append(self, attempt: Attempt) -> None:
        admitted = self._admitted.get(attempt.origin)
        if admitted is None:
            admitted = self._admit(attempt.origin, attempt.started_ms)
        data = encode_attempt(admitted.number, attempt)
        offset = self._write(data)
        self._note_attempt(admitted, attempt, offset, len(data))
        if self._active.size > self._bytes_max:
            self._roll()

    def append_other(self, record: AttemptPart | InitRecord | UserEvents) -> None:
        number = 0
        if not isinstance(record, UserEvents):
            admitted = self._admitted.get(record.origin)
            number = (admitted or self._admit(record.origin, record.started_ms)).number
        data = encode_other(number, record)
        offset = self._write(data)
        self._note_other(record, offset, len(data))
        if self._active.size > self._bytes_max:
            self._roll()

    def has_room(self, low_water_bytes: int) -> bool:
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize > low_water_bytes

    def sync(self) -> None:
        """Everything appended so far is on disk when this returns."""
        os.fsync(self._active.fd)

    def drain(self) -> None:
        """Wait until the maintenance thread has done what it was given."""
        done = threading.Event()
        self._work.put(done.set)
        done.wait()

    def close(self) -> None:
        """Sync, write the growing segment's index so that the next start reads nothing else, end the thread."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._work.put(self._persist_groups)
        self._work.put(None)
        self._thread.join()
        try:
            self._active.seal()
        finally:
            self.catalog.close()

    def _admit(self, origin: Origin, at_ms: int) -> Admitted:
        number = len(self._index.origins) + 1
        self._write(encode_origin(number, origin))
        self._index.origins[number] = origin
        admitted = self._admitted[origin] = Admitted(number, origin)
        self._note_group(admitted.key[:3], at_ms)
        return admitted

    def _write(self, data: bytes) -> int:
        if self._failure is not None:
            self._refuse(self._failure)
        active = self._active
        offset, size = active.size, len(data)
        if size > FRAME_BYTES_MAX:
            raise ServiceFault(f"A record of {size} bytes is over {FRAME_BYTES_MAX}.")
        try:
            written = os.write(active.fd, data)
            while written < size:  # a nearly full disk takes a part, and says no to the rest
                written += os.write(active.fd, data[written:])
        except OSError as error:
            os.ftruncate(active.fd, offset)
            self._refuse(error)
        active.size = offset + size
        if not self._is_dirty:
            self._is_dirty = True
            self._give(self._sync_written, at_once=self._sync_later)
        return offset

    def _give(self, task: Callable[[], None], *, at_once: Callable[[], None]) -> None:
        """Have the maintenance thread do a task when its time has come; `at_once` where nobody else keeps the time."""
        if self._later is None:
            self._work.put(at_once)
        else:
            self._later(self._fsync_s, self._work.put, task)

    def _refuse(self, error: OSError) -> NoReturn:
        if error.errno in _FULL:
            raise DiskFull("There is no room for the records of invocations: free some disk.") from error
        raise ServiceFault(f"The records of invocations cannot be written: {error.strerror}.") from error

    def _roll(self) -> None:
        """Begin the next segment; the maintenance thread closes the full one."""
        full = self._active
        self._grow(self._number + 1)
        self._work.put(full.seal)

    def _grow(self, number: int) -> None:
        segment = FileSegment(self._directory, number, self._blocks)
        segment.fd = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if segment.size < len(MAGIC):
            os.ftruncate(segment.fd, 0)
            os.write(segment.fd, MAGIC)
            segment.size = len(MAGIC)
        segment.growing = self._index = Index()
        self._admitted.clear()
        self._active, self._number = segment, number
        self._segments[number] = segment

    def _put_group_soon(self, group: GroupKey, row: GroupRow) -> None:
        self.catalog.groups[group] = row  # known at once, durable a moment later: the records would tell it again
        self._unpersisted.add(group)
        self._give(self._persist_groups, at_once=self._persist_groups)

    def _persist_groups(self) -> None:
        while self._unpersisted:
            group = self._unpersisted.pop()
            try:
                self._catalog.persist_group(group)
            except BaseException:
                self._unpersisted.add(group)  # whoever tries again is to find it
                raise

    def _drop(self, segment: object) -> None:
        if isinstance(segment, FileSegment):
            segment.remove()

    # Start

    def _open(self) -> None:
        numbers = sorted(int(path.stem) for path in self._directory.glob("[0-9]*.log"))
        for number in numbers:
            if number in self.catalog.rolled_segments:  # died between rolling it up and removing it
                FileSegment(self._directory, number, self._blocks).remove()
                self.catalog.forget_rolled(number)
            else:
                self._segments[number] = FileSegment(self._directory, number, self._blocks)
        last = numbers[-1] if numbers else 0
        if last not in self._segments and numbers:
            self._grow(last + 1)
            return
        self._grow(last)
        self._resume(self._active)

    def _resume(self, segment: FileSegment) -> None:
        """Take up the last segment where its last whole record ends."""
        found = segment.read_sidecar()
        if found is not None:
            index, tables_at = found
            with segment.sidecar.open("rb") as file:
                for key, part in index.streams.items():
                    read_tables(part, lambda at, size: os.pread(file.fileno(), size, at), tables_at[key])
        else:
            index, end = scan(segment.path.read_bytes())
            if end < segment.size:
                log.warning("records: cut a torn record of %d bytes off %s", segment.size - end, segment.path)
                os.ftruncate(segment.fd, end)
                if end < len(MAGIC):
                    os.write(segment.fd, MAGIC[end:])
                segment.size = max(end, len(MAGIC))
        segment.growing = self._index = index
        for key, part in index.streams.items():
            self._note_group(key[:3], part.first_ms)
            self._last = max(self._last, (segment.number, part.offsets[-1]))
        if not index.streams:
            self._last = (segment.number, 0)

    # The maintenance thread

    def _maintain(self) -> None:
        while (task := self._work.get()) is not None:
            while True:
                try:
                    task()
                    self._failure = None
                    break
                except OSError as error:
                    log.exception("records: the disk failed")
                    self._failure = error  # nothing is taken until a retry finds the disk well again
                    if self._closing.wait(RETRY_S):
                        break

    def _sync_later(self) -> None:
        self._closing.wait(self._fsync_s)
        self._sync_written()

    def _sync_written(self) -> None:
        self._is_dirty = False  # before the sync: what is written during it asks for the next one
        segment = self._active
        if segment.fd >= 0:
            os.fsync(segment.fd)
