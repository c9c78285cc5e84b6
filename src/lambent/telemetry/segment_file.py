"""One segment on disk: its file, its index beside it, and the blocks of it that were read last."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from pathlib import Path

from ..domain.errors import ServiceFault
from .attempt import Origin, Record
from .codec import ATTEMPT, FRAME, MAGIC, ORIGIN, Damaged, decode, decode_origin, frames, outline
from .index import DAY_MS, Index, Slice, StreamKey, Usage, attempt_times, decode_index, encode_index, read_tables

_BLOCK_BYTES = 262_144
_BLOCKS_MAX = 16

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
        growing = self.growing  # read once: the maintenance thread may close the segment in between
        if growing is not None:
            return growing
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
        found = self.read_sidecar()
        if found is None:  # the server died between closing the segment and writing its index
            index, end = scan(self.path.read_bytes())
            if end < self.size:
                log.error("records: %s is damaged at byte %d of %d; what follows is lost", self.path, end, self.size)
            self.write_index(index)
            found = self.read_sidecar()
            if found is None:
                raise ServiceFault(f"The index of {self.path.name} cannot be written.")
        index, self._tables_at = found
        return index

    def read_sidecar(self) -> tuple[Index, dict[StreamKey, int]] | None:
        try:
            with self.sidecar.open("rb") as file:
                return decode_index(lambda at, size: os.pread(file.fileno(), size, at), self.size)
        except FileNotFoundError:
            return None


def scan(data: bytes) -> tuple[Index, int]:
    """Build a segment's index from its bytes; answers it and where the last whole record ends.

    A start after SIGKILL waits for this: attempts are read as outlines, and what belongs to an origin is kept at hand.
    """
    index = Index()
    if data[: len(MAGIC)] != MAGIC:
        return index, 0
    end = len(MAGIC)
    origins = index.origins
    at_hand: dict[tuple[int, int], tuple[Origin, Slice, Usage]] = {}
    for offset, view in frames(data):
        size = FRAME.size + len(view)
        kind = view[0]
        try:
            if kind == ATTEMPT:
                (
                    number,
                    started_ms,
                    duration_us,
                    prelude_us,
                    units,
                    is_error,
                    is_timeout,
                    is_begun,
                    streamed,
                    is_restored,
                    first,
                    last,
                ) = outline(view)
                first_ms, last_ms = attempt_times(started_ms, duration_us, is_begun, first, last)
                found = at_hand.get((number, started_ms // DAY_MS))
                if found is None:
                    if number not in origins:
                        raise Damaged(f"an attempt of origin {number}, which is not in its segment")
                    origin = origins[number]
                    part = index.slice_of(
                        (origin.account, origin.region, origin.log_group, origin.log_stream), first_ms
                    )
                    found = at_hand[number, started_ms // DAY_MS] = origin, part, index.usage_of(origin, started_ms)
                origin, part, usage = found
                part.add(offset, size, first_ms, last_ms, last_ms)
                index.stretch(first_ms, last_ms)
                usage.count(origin, duration_us, None if prelude_us < 0 else prelude_us, units, is_error, is_timeout)
                usage.streamed_bytes += streamed
                usage.restored_mb += origin.memory_mb if is_restored else 0
            elif kind == ORIGIN:
                number, origin = decode_origin(view)
                origins[number] = origin
            else:
                index.add(decode(bytes(view), origins), offset, size)
        except Damaged:
            break
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
