"""Records as bytes: what one `write()` appends.

A segment begins with MAGIC. Then frames, little-endian, no padding: `u32 length` of the payload, `u32 crc32` of it, the
payload. The payload's first byte is its kind; the format's version is the magic's last byte. What all attempts of an
environment share is written once per segment as an ORIGIN frame and referred to by number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from .attempt import (
    KINDS,
    STATUSES,
    Attempt,
    AttemptPart,
    InitRecord,
    LogLine,
    Origin,
    Record,
    UserEvents,
    streamed_bytes,
)

MAGIC = b"LAMBREC\x01"
FRAME = struct.Struct("<II")
FRAME_BYTES_MAX = 256 * 1_048_576
"""A longer frame is taken for damage: no writer makes one (environments' logs are bounded far below)."""

ORIGIN, ATTEMPT, PART, INIT, USER = 1, 2, 3, 4, 5

_ATTEMPT = struct.Struct("<BIqQqIQIBBBBHHHI")
_GENERAL = struct.Struct("<BIII")
_LINE = struct.Struct("<qI")
_TIME = struct.Struct("<q")
_STATUS_CODES = {name: code for code, name in enumerate(STATUSES)}
_KIND_CODES = {name: code for code, name in enumerate(KINDS)}
_SUCCESS, _TIMEOUT = _STATUS_CODES["success"], _STATUS_CODES["timeout"]
_FUNCTION_ERROR, _BEGUN, _STREAMED, _RESTORED = 1, 2, 4, 8
_BILLED_SHIFT = 40
"""Of a restored environment's first attempt the field of the init holds both: the microseconds of the restoration, 12 days
at most, and above them the milliseconds that are billed."""
_TEXT_BYTES_MAX = 4_096


class Damaged(Exception):
    """Bytes that no writer wrote: a torn or corrupted frame."""


def frame(payload: bytes) -> bytes:
    return FRAME.pack(len(payload), crc32(payload)) + payload


def encode_origin(number: int, origin: Origin) -> bytes:
    head = orjson.dumps(astuple(origin))
    return frame(_GENERAL.pack(ORIGIN, number, len(head), 0) + head)


def encode_attempt(number: int, attempt: Attempt) -> bytes:
    """The hot one: a few microseconds for an attempt with a few lines.

    Raises ValueError or struct.error for what cannot be billed (negative durations), before anything is written.
    """
    if attempt.init_us is not None and attempt.init_us < 0:
        raise ValueError(f"negative Init Duration: {attempt.init_us} us")
    prelude = -1 if attempt.init_us is None else attempt.init_us
    if attempt.restore_us is not None:
        if not (0 <= attempt.restore_us < 1 << _BILLED_SHIFT and attempt.restore_billed_ms >= 0):
            raise ValueError(f"Restore Duration: {attempt.restore_us} us, billed {attempt.restore_billed_ms} ms")
        prelude = attempt.restore_us | attempt.restore_billed_ms << _BILLED_SHIFT
    request_id = attempt.request_id.encode()
    qualifier = attempt.qualifier.encode()
    error_type = attempt.error_type.encode(errors="replace")[:_TEXT_BYTES_MAX] if attempt.error_type else b""
    trace = attempt.trace.encode(errors="replace")[:_TEXT_BYTES_MAX] if attempt.trace else b""
    lines = attempt.lines
    head = _ATTEMPT.pack(
        ATTEMPT,
        number,
        attempt.started_ms,
        attempt.duration_us,
        prelude,
        attempt.peak_mb,
        attempt.produced_bytes,
        attempt.request_units,
        _STATUS_CODES[attempt.status],
        _KIND_CODES[attempt.kind],
        (_FUNCTION_ERROR if attempt.function_error else 0)
        | (_BEGUN if attempt.is_begun else 0)
        | (_STREAMED if attempt.is_streamed else 0)
        | (0 if attempt.restore_us is None else _RESTORED),
        len(request_id),
        len(qualifier),
        len(error_type),
        len(trace),
        len(lines),
    )
    if lines:
        payload = b"".join((head, request_id, qualifier, error_type, trace, *_table(lines)))
    else:
        payload = b"".join((head, request_id, qualifier, error_type, trace))
    return FRAME.pack(len(payload), crc32(payload)) + payload


def encode_other(number: int, record: AttemptPart | InitRecord | UserEvents) -> bytes:
    """Parts, init records and users' events; `number` is ignored for the last, which have no origin."""
    lines = record.lines
    scalars: list[Any]
    if isinstance(record, AttemptPart):
        kind, scalars = PART, [record.request_id, record.started_ms, record.is_first]
    elif isinstance(record, InitRecord):
        kind = INIT
        scalars = [record.started_ms, record.duration_us, record.runtime_version, record.runtime_version_arn]
        scalars += [record.status, record.error_type, record.phase, record.is_reported]
    else:
        kind = USER
        scalars = [record.account, record.region, record.log_group, record.log_stream, record.ingested_ms]
    head = orjson.dumps(scalars)
    return frame(b"".join((_GENERAL.pack(kind, number, len(head), len(lines)), head, *_table(lines))))


def decode_origin(payload: bytes | memoryview) -> tuple[int, Origin]:
    _, number, size, _ = _GENERAL.unpack_from(payload)
    return number, Origin(*orjson.loads(bytes(payload[_GENERAL.size : _GENERAL.size + size])))


def decode(payload: bytes, origins: dict[int, Origin]) -> Record:
    """The record in a frame's payload. Raises Damaged for a kind or an origin that is not known here."""
    kind = payload[0]
    if kind == ATTEMPT:
        return _decode_attempt(payload, origins)
    if kind not in (PART, INIT, USER):
        raise Damaged(f"unknown kind of record {kind}")
    _, number, size, count = _GENERAL.unpack_from(payload)
    at = _GENERAL.size + size
    scalars: list[Any] = orjson.loads(payload[_GENERAL.size : at])
    lines = _lines(payload, at, count)
    if kind == USER:
        account, region, group, stream, ingested_ms = scalars
        return UserEvents(account, region, group, stream, lines, ingested_ms)
    if number not in origins:
        raise Damaged(f"a record of origin {number}, which is not in its segment")
    if kind == PART:
        request_id, started_ms, is_first = scalars
        return AttemptPart(origins[number], request_id, started_ms, lines, is_first)
    record = InitRecord(origins[number], *scalars[:2])
    record.runtime_version, record.runtime_version_arn, record.status, record.error_type = scalars[2:6]
    record.phase, record.is_reported = scalars[6:]
    record.lines = lines
    return record


class Outline(NamedTuple):
    """What index and ledger need of an attempt, read without making the record."""

    number: int
    started_ms: int
    duration_us: int
    prelude_us: int
    """What is billed beside the duration; -1: nothing."""
    request_units: int
    is_error: bool
    is_timeout: bool
    is_begun: bool
    streamed_bytes: int
    is_restored: bool
    first_line_ms: int | None
    last_line_ms: int | None


def outline(payload: memoryview) -> Outline:
    """The outline of the attempt in a frame's payload."""
    head = _ATTEMPT.unpack_from(payload)
    status, flags, count = head[8], head[10], head[15]
    first_ms = last_ms = None
    if count:
        at = _ATTEMPT.size + head[11] + head[12] + head[13] + head[14]
        (first_ms,) = _TIME.unpack_from(payload, at)
        (last_ms,) = _TIME.unpack_from(payload, at + (count - 1) * _LINE.size)
    return Outline(
        head[1],
        head[2],
        head[3],
        (head[4] >> _BILLED_SHIFT) * 1_000 if flags & _RESTORED else head[4],
        head[7],
        status != _SUCCESS or bool(flags & _FUNCTION_ERROR),
        status == _TIMEOUT,
        bool(flags & _BEGUN),
        streamed_bytes(head[6]) if flags & _STREAMED else 0,
        bool(flags & _RESTORED),
        first_ms,
        last_ms,
    )


def frames(data: bytes, start: int = len(MAGIC)) -> Iterator[tuple[int, memoryview]]:
    """(offset, payload) of every whole, undamaged frame from `start` on; ends at the first that is not."""
    view = memoryview(data)
    end = len(view)
    unpack, head_size = FRAME.unpack_from, FRAME.size
    at = start
    while at + head_size <= end:
        size, checksum = unpack(view, at)
        payload = view[at + head_size : at + head_size + size]
        if size == 0 or size > FRAME_BYTES_MAX or len(payload) != size or crc32(payload) != checksum:
            return
        yield at, payload
        at += head_size + size


def _decode_attempt(payload: bytes, origins: dict[int, Origin]) -> Attempt:
    (
        _,
        number,
        started_ms,
        duration_us,
        prelude,
        peak_mb,
        produced_bytes,
        request_units,
        status,
        kind,
        flags,
        request_id_size,
        qualifier_size,
        error_type_size,
        trace_size,
        count,
    ) = _ATTEMPT.unpack_from(payload)
    if number not in origins:
        raise Damaged(f"an attempt of origin {number}, which is not in its segment")
    at = _ATTEMPT.size
    texts = []
    for size in (request_id_size, qualifier_size, error_type_size, trace_size):
        texts.append(str(payload[at : at + size], "utf-8", "replace"))
        at += size
    return Attempt(
        origin=origins[number],
        request_id=texts[0],
        started_ms=started_ms,
        duration_us=duration_us,
        init_us=None if prelude < 0 or flags & _RESTORED else prelude,
        restore_us=prelude & ((1 << _BILLED_SHIFT) - 1) if flags & _RESTORED else None,
        restore_billed_ms=prelude >> _BILLED_SHIFT if flags & _RESTORED else 0,
        peak_mb=peak_mb,
        status=STATUSES[status],
        error_type=texts[2] or None,
        function_error=bool(flags & _FUNCTION_ERROR),
        kind=KINDS[kind],
        qualifier=texts[1],
        trace=texts[3] or None,
        request_units=request_units,
        produced_bytes=produced_bytes,
        lines=_lines(payload, at, count),
        is_begun=bool(flags & _BEGUN),
        is_streamed=bool(flags & _STREAMED),
    )


def _table(lines: list[LogLine]) -> list[bytes]:
    """The lines' times and lengths, then their bytes."""
    pack = _LINE.pack
    return [*[pack(at_ms, len(line)) for at_ms, line in lines], *[line for _, line in lines]]


def _lines(payload: bytes, at: int, count: int) -> list[LogLine]:
    text_at = at + count * _LINE.size
    lines: list[LogLine] = []
    for _ in range(count):
        at_ms, size = _LINE.unpack_from(payload, at)
        lines.append((at_ms, bytes(payload[text_at : text_at + size])))
        at += _LINE.size
        text_at += size
    return lines
