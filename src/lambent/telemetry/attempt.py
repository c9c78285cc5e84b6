"""What is written down about an attempt: the record from which START, END, REPORT and the bill are rendered.

Everything that all attempts of one execution environment share stands in one `Origin`, made once per environment, so
that nothing per-version is paid for per request. The log, the answer's tail and the ledger are all rendered from one
`Attempt`; they can't disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..domain.limits import STREAM_FREE_BYTES

LogLine = tuple[int, bytes]
"""One log event: wall-clock milliseconds, and the bytes as printed, with their trailing newline if there was one."""

STATUSES = ("success", "error", "timeout", "failure")
KINDS = ("RequestResponse", "Event")
TEXT, JSON = "Text", "JSON"
ON_DEMAND, PROVISIONED, SNAP_START = "on-demand", "provisioned-concurrency", "snap-start"
"""Initialization types, as the function reads them."""
INIT, RESTORE = "init", "restore"
"""Phases before the first invocation."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """One execution environment as the log and the ledger see it. Compared by identity: make one per environment."""

    account: str
    region: str
    function: str
    version: str
    """The version that executes, never an alias: "$LATEST" or a number."""
    environment: str
    """Id of the execution environment."""
    log_group: str
    log_stream: str
    memory_mb: int
    architecture: str = "x86_64"
    """x86_64 or arm64, as in the function's Architectures."""
    ephemeral_mb: int = 512
    log_format: str = TEXT
    """Text or JSON."""
    system_log_level: str = "INFO"
    """DEBUG, INFO or WARN; means something with JSON only."""
    initialization: str = ON_DEMAND
    """Why the environment was made: `on-demand`, `provisioned-concurrency` or `snap-start`."""
    tenant_id: str = ""
    """The tenant it belongs to; empty for functions without tenant isolation."""


@dataclass(slots=True)
class Attempt:
    """One try of one invocation, complete. Durations in microseconds, times in epoch milliseconds."""

    origin: Origin
    request_id: str
    started_ms: int
    duration_us: int
    """From handing the event over until the environment was free again; >= 0; contains a suppressed init."""
    init_us: int | None = None
    """Init Duration, when this is the attempt that waited for the environment's init; else None."""
    restore_us: int | None = None
    """Restore Duration, when this is the attempt that waited for the environment to be restored; else None."""
    restore_billed_ms: int = 0
    """The part of it that is billed: the runtime's and the hooks'."""
    peak_mb: int = 0
    """Max Memory Used."""
    status: str = "success"
    """success, error, timeout or failure (ours)."""
    error_type: str | None = None
    """Printed on REPORT when set (Runtime.ExitError, Runtime.OutOfMemory, ...). None for an exception that the handler
    raised: the text REPORT of such an attempt names no status either."""
    function_error: bool = False
    """The caller saw X-Amz-Function-Error."""
    kind: str = "RequestResponse"
    """RequestResponse or Event."""
    qualifier: str = ""
    """What the caller wrote after the name; empty when nothing."""
    trace: str | None = None
    """The trace header as the function saw it ("Root=1-...;Parent=...;Sampled=1"), when the request was sampled."""
    request_units: int = 1
    """Billed requests: 1, or for an asynchronous event `request_units(payload_bytes)`."""
    produced_bytes: int = 0
    """Size of the function's result; of a streamed response what came of it."""
    lines: list[LogLine] = field(default_factory=list)
    """What was printed between START and END, oldest first, without what went out before in an `AttemptPart`."""
    is_begun: bool = False
    """An `AttemptPart` was written before this record: START is in the log already."""
    is_streamed: bool = False
    """The response was streamed to its caller: what exceeds the first 6 MB of it is billed."""

    @property
    def prelude_us(self) -> int | None:
        """What is billed beside the duration: the init, or the billed part of the restoration; None: there was neither."""
        return self.init_us if self.restore_us is None else self.restore_billed_ms * 1_000

    @property
    def billed_ms(self) -> int:
        return billed_ms(self.duration_us, self.prelude_us)

    @property
    def streamed_bytes(self) -> int:
        """Bytes that are billed as streamed."""
        return streamed_bytes(self.produced_bytes) if self.is_streamed else 0

    @property
    def ended_ms(self) -> int:
        return self.started_ms + self.duration_us // 1_000


@dataclass(slots=True)
class AttemptPart:
    """Lines of an attempt that still runs, written early so that memory stays bounded and a follower sees them."""

    origin: Origin
    request_id: str
    started_ms: int
    lines: list[LogLine]
    is_first: bool
    """The first part of its attempt: START is rendered in front of its lines."""


@dataclass(slots=True)
class InitRecord:
    """The output of an init phase, outside any attempt: INIT_START, the init's lines, INIT_REPORT when it is due.

    A suppressed init (the second try inside an invocation) has no record; its lines belong to the attempt.
    """

    origin: Origin
    started_ms: int
    duration_us: int
    runtime_version: str = ""
    """Such as python:3.11.v1; an environment of an OS-only runtime has one too."""
    runtime_version_arn: str = ""
    status: str = "success"
    """success, error or timeout."""
    error_type: str | None = None
    phase: str = INIT
    """`init`, or `restore`: RESTORE_START and RESTORE_REPORT then, of an environment that was copied from a template."""
    is_reported: bool = False
    """Print INIT_REPORT although the init succeeded (provisioned concurrency). Failures are always reported."""
    lines: list[LogLine] = field(default_factory=list)

    @property
    def ended_ms(self) -> int:
        return self.started_ms + self.duration_us // 1_000


@dataclass(slots=True)
class UserEvents:
    """Log events that a user put into a stream of their own (PutLogEvents), oldest first."""

    account: str
    region: str
    log_group: str
    log_stream: str
    lines: list[LogLine]
    ingested_ms: int


Record = Attempt | AttemptPart | InitRecord | UserEvents


def hundredths(duration_us: int) -> int:
    """A duration in the unit REPORT prints, hundredths of a millisecond, rounded up."""
    return -(-duration_us // 10)


def billed_ms(duration_us: int, init_us: int | None) -> int:
    """Billed Duration in whole milliseconds: Duration plus the Init Duration the report carries, rounded up once.

    Both are taken as printed, so that everybody can check the bill against the line: 2.46 + 413.61 is 417.
    Raises ValueError for a negative duration (a clock went backwards: do not bill, investigate).
    Source: AWS Lambda pricing, "Duration": rounded up to the next millisecond; init is part of it since August 2025.
    """
    if duration_us < 0 or (init_us is not None and init_us < 0):
        raise ValueError(f"negative duration: {duration_us} us, init {init_us} us")
    printed = hundredths(duration_us) + (hundredths(init_us) if init_us is not None else 0)
    return -(-printed // 100)


def streamed_bytes(produced_bytes: int) -> int:
    """What of a streamed response is billed by the byte: all but its first 6 MB.

    Source: AWS Lambda pricing, "HTTP response stream".
    """
    return max(0, produced_bytes - STREAM_FREE_BYTES)


def request_units(payload_bytes: int) -> int:
    """Billed requests of an asynchronous event: one for the first 256 KB, one more per further 64 KB begun.

    Source: AWS Lambda pricing, "Requests".
    """
    return 1 + max(0, -(-(payload_bytes - 262_144) // 65_536))
