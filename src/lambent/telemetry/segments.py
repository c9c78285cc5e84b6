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
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..domain.errors import DiskFull, ServiceFault
from .attempt import Attempt, AttemptPart, InitRecord, Origin, Record, UserEvents
from .catalog import GroupKey, GroupRow, SqliteCatalog
from .codec import (
    ATTEMPT,
    FRAME,
    FRAME_BYTES_MAX,
    MAGIC,
    ORIGIN,
    Damaged,
    decode,
    decode_attempt,
    decode_origin,
    encode_attempt,
    encode_origin,
    encode_other,
    frames,
)
from .index import Index, Slice, StreamKey, decode_index, encode_index, read_tables
from .records import Admitted, BaseRecords

SEGMENT_BYTES_MAX = 3 * 1_048_576
"""After SIGKILL a start reads one segment: this is what it can read in 100 ms."""
FSYNC_MS = 50
"""What power loss may take."""
_BLOCK_BYTES = 262_144
_BLOCKS_MAX = 16
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger(__name__)


class Blocks:
    """The few blocks of segments that were read last: readers go through neighbouring frames, either way."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def payload(self, number: int, path: Path, offset: int) -> bytes:
        """The payload of the frame at `offset`. Raises Damaged when there is no whole frame."""
        with self._lock:
            start, block = self._blocks.get(number, (0, b""))
        payload = _within(start, block, offset)
        if payload is None:
            start = max(0, offset - _BLOCK_BYTES // 2)
            block = _read(path, start, _BLOCK_BYTES)
            payload = _within(start, block, offset)
            with self._lock:
                self._blocks[number] = (start, block)
                self._blocks.move_to_end(number)
                while len(self._blocks) > _BLOCKS_MAX:
                    self._blocks.popitem(last=False)
        if payload is None:  # a frame larger than a block
            size, _ = FRAME.unpack(_read(path, offset, FRAME.size))
            data = _read(path, offset, FRAME.size + size)
            payload = _within(offset, data, offset)
        if payload is None:
            raise Damaged(f"no whole record at {offset} of {path.name}")
        return payload

    def forget(self, number: int) -> None:
        with self._lock:
            self._blocks.pop(number, None)


class FileSegment:
    """One segment: the growing one has a descriptor and its index in memory, a closed one neither until asked."""

    def __init__(self, directory: Path, number: int, blocks: Blocks) -> None:
        self.number = number
        self.path = directory / f"{number:08d}.log"
        self.sidecar = directory / f"{number:08d}.idx"
        self.size = self.path.stat().st_size if self.path.exists() else 0
        self.fd = -1
        self.growing: Index | None = None
        self._blocks = blocks
        self._closed: Index | None = None
        self._tables_at: dict[StreamKey, int] = {}
        self._lock = threading.Lock()

    def index(self) -> Index:
        if self.growing is not None:
            return self.growing
        with self._lock:
            if self._closed is None:
                self._closed = self._open_index()
            return self._closed

    def tables(self, key: StreamKey) -> Slice:
        index = self.index()
        part = index.streams[key]
        if index is not self._closed:
            return part
        filled = Slice(part.first_ms, part.last_ms, part.ingested_ms, part.count, part.size)
        with self.sidecar.open("rb") as file:
            read_tables(filled, lambda at, size: os.pread(file.fileno(), size, at), self._tables_at[key])
        return filled

    def load(self, offset: int) -> Record:
        return decode(self._blocks.payload(self.number, self.path, offset), self.index().origins)

    def write_index(self, index: Index) -> None:
        """Put the sidecar in its place, whole or not at all."""
        draft = self.sidecar.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(encode_index(index, self.size))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.sidecar)

    def seal(self) -> None:
        """Sync, write the index, let the descriptor and the tables in memory go."""
        os.fsync(self.fd)
        if self.growing is not None:
            self.write_index(self.growing)
        os.close(self.fd)
        self.fd = -1
        self.growing = None

    def remove(self) -> None:
        self._blocks.forget(self.number)
        self.path.unlink(missing_ok=True)
        self.sidecar.unlink(missing_ok=True)

    def _open_index(self) -> Index:
        found = self._read_sidecar()
        if found is None:  # the server died between closing the segment and writing its index
            index, end = scan(self.path.read_bytes())
            if end < self.size:
                log.error("records: %s is damaged at byte %d of %d; what follows is lost", self.path, end, self.size)
            self.write_index(index)
            found = self._read_sidecar()
            if found is None:
                raise ServiceFault(f"The index of {self.path.name} cannot be written.")
        index, self._tables_at = found
        return index

    def _read_sidecar(self) -> tuple[Index, dict[StreamKey, int]] | None:
        try:
            with self.sidecar.open("rb") as file:
                return decode_index(lambda at, size: os.pread(file.fileno(), size, at), self.size)
        except FileNotFoundError:
            return None


class FileRecords(BaseRecords):
    """Records that survive: one directory, one writing thread (the event loop's), one maintenance thread."""

    def __init__(
        self, directory: Path, *, fsync_ms: int = FSYNC_MS, segment_bytes_max: int = SEGMENT_BYTES_MAX
    ) -> None:
        if not 0 <= fsync_ms <= 60_000 or not 4_096 <= segment_bytes_max <= 2**30:
            raise ValueError("fsync_ms is 0 to 60,000, segment_bytes_max 4 KB to 1 GB")
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(SqliteCatalog(directory / "catalog.db"))
        self._directory = directory
        self._fsync_s = fsync_ms / 1_000
        self._bytes_max = segment_bytes_max
        self._blocks = Blocks()
        self._failure: OSError | None = None
        self._is_dirty = False
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
        self._work.put(None)
        self._thread.join()
        self._active.seal()
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
            self._work.put(self._sync_later)
        return offset

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
        self._work.put(lambda: self.catalog.put_group(group, row))

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
        found = segment._read_sidecar()
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
            try:
                task()
                self._failure = None
            except OSError as error:
                log.exception("records: the disk failed")
                self._failure = error
                if not self._closing.wait(1.0):
                    self._work.put(task)  # nothing is taken meanwhile; a disk that recovers is found out here

    def _sync_later(self) -> None:
        self._closing.wait(self._fsync_s)
        self._is_dirty = False  # before the sync: what is written during it asks for the next one
        segment = self._active
        if segment.fd >= 0:
            os.fsync(segment.fd)


def scan(data: bytes) -> tuple[Index, int]:
    """Build a segment's index from its bytes; answers it and where the last whole record ends."""
    index = Index()
    if data[: len(MAGIC)] != MAGIC:
        return index, 0
    end = len(MAGIC)
    origins = index.origins
    for offset, view in frames(data):
        size = FRAME.size + len(view)
        kind = view[0]
        if kind == ORIGIN:
            number, origin = decode_origin(view)
            origins[number] = origin
        else:
            try:
                record: Record
                if kind == ATTEMPT:
                    record = decode_attempt(view, origins, is_outline=True)
                else:
                    record = decode(bytes(view), origins)
            except Damaged:
                break
            index.add(record, offset, size)
        end = offset + size
    return index, end


def _read(path: Path, start: int, size: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, start)
    finally:
        os.close(fd)


def _within(start: int, block: bytes, offset: int) -> bytes | None:
    at = offset - start
    if at < 0 or at + FRAME.size > len(block):
        return None
    size, _ = FRAME.unpack_from(block, at)
    payload = block[at + FRAME.size : at + FRAME.size + size]
    return payload if len(payload) == size and size > 0 else None
