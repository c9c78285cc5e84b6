"""Published bounds that the service's model or somebody else's client keeps, and the constants that name them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.unit.api.doubles import Reply, Someone, request_of
from tests.unit.limits.test_request_limits import Versions

from lambent.api.resources.invoke import InvokeDoor
from lambent.api.table import load_table
from lambent.domain.clock import ManualClock
from lambent.domain.limits import EPHEMERAL_MB_MIN, EVENT_AGE_S_MAX, EVENT_AGE_S_MIN, MEMORY_MB_MIN, TIMEOUT_S_MIN
from lambent.invocations.payload import INLINE_BYTES_MAX
from lambent.packages import source


def test_what_the_model_bounds() -> None:
    shape = load_table().shape
    assert shape("MemorySize").min == MEMORY_MB_MIN == 128
    assert shape("Timeout").min == TIMEOUT_S_MIN == 1
    assert shape("EphemeralStorageSize").min == EPHEMERAL_MB_MIN == 512
    age = shape("MaximumEventAgeInSeconds")
    assert (age.min, age.max) == (EVENT_AGE_S_MIN, EVENT_AGE_S_MAX)


def test_a_payload_beyond_a_megabyte_is_checked_beside_the_loop() -> None:
    handed_over: list[str] = []

    def supervise(work: Any, name: str) -> None:
        work.close()
        handed_over.append(name)

    nobody: Any = None
    door = InvokeDoor(versions=Versions(), invocations=nobody, events=nobody, clock=ManualClock(), supervise=supervise)
    for size in (INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1):
        reply: Any = Reply(request_of("POST", "/", {}, b'"' + b"x" * (size - 2) + b'"'))
        reply.context = SimpleNamespace(request_id="id")
        caller: Any = Someone("lambda")
        door.handle(reply, caller, "Invoke", {"FunctionName": "f", "InvocationType": "DryRun"})
        assert reply.status == (204 if size == INLINE_BYTES_MAX else 0)
    assert handed_over == ["invoke id"]


def test_a_fetch_keeps_its_time_outs_and_tries(tmp_path: Path) -> None:
    made = source.S3Source("http://127.0.0.1:1", tmp_path)
    config = made._connect(source._botocore()).meta.config
    made.close()
    assert (config.connect_timeout, config.read_timeout) == (source.CONNECT_TIMEOUT_S, source.READ_TIMEOUT_S) == (5, 30)
    assert config.retries["total_max_attempts"] == source.ATTEMPTS_MAX == 3
