"""Groups, streams and events over records: paging, order, deletion, retention, users' events, following."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.domain.clock import ManualClock
from lambent.domain.names import Scope
from lambent.telemetry.attempt import Attempt, AttemptPart, Origin
from lambent.telemetry.errors import LogsAlreadyExists, LogsError, LogsInvalidParameter, LogsNotFound
from lambent.telemetry.logs import DAY_MS, Logs
from lambent.telemetry.query import LogEvent
from lambent.telemetry.records import MemoryRecords, Records, Retention
from lambent.telemetry.segments import FileRecords

T0 = 1_764_100_000_000
SCOPE = Scope("123456789012", "us-east-1")
GROUP = "/aws/lambda/hello"


def origin(environment: str = "0a", group: str = GROUP) -> Origin:
    stream = f"2025/11/25/[$LATEST]{environment}"
    return Origin(SCOPE.account, SCOPE.region, "hello", "$LATEST", environment, group, stream, 128)


STREAM = origin().log_stream


def attempt(of: Origin, number: int, *lines: bytes, apart_ms: int = 10) -> Attempt:
    at_ms = T0 + number * apart_ms
    return Attempt(of, f"r{number:04d}", at_ms, 2_000, lines=[(at_ms + 1, line) for line in lines])


class Shop:
    def __init__(self, records: Records) -> None:
        self.records = records
        self.clock = ManualClock(T0 + 1_000_000)
        self.logs = Logs(records, self.clock)

    def groups(self) -> list[str]:
        rows, token = self.logs.describe_groups(SCOPE, prefix=None, pattern=None, limit=None, token=None)
        assert token is None
        return [row.name for row in rows]

    def streams(self, group: str = GROUP, **options: object) -> list[str]:
        given: dict[str, object] = {
            "prefix": None, "order_by": "LogStreamName", "descending": False, "limit": None, "token": None,
        }  # fmt: skip
        rows, _ = self.logs.describe_streams(SCOPE, group, **(given | options))  # type: ignore[arg-type]
        return [row.name for row in rows]

    def filter(self, group: str = GROUP, **options: object) -> list[LogEvent]:
        events: list[LogEvent] = []
        token = None
        while True:
            page = self.logs.filter_events(SCOPE, group, token=token, **options)  # type: ignore[arg-type]
            events += page.events
            token = page.next_token
            if token is None:
                return events


@pytest.fixture(params=["memory", "file"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    records: Records
    if request.param == "memory":
        records = MemoryRecords(segment_records_max=8)
    else:
        records = FileRecords(tmp_path / "records", fsync_ms=0, segment_bytes_max=4_096)
    yield Shop(records)
    records.close()


def texts(events: list[LogEvent]) -> list[str]:
    return [event.message.decode() for event in events]


def test_an_attempt_appears_as_its_lines(shop: Shop) -> None:
    shop.records.append(attempt(origin(), 0, b"hello\n"))
    page = shop.logs.get_events(SCOPE, GROUP, STREAM)
    assert [text.split(" ")[0] for text in texts(page.events)] == ["START", "hello\n", "END", "REPORT"]
    assert [event.at_ms - T0 for event in page.events] == [0, 1, 2, 2]
    assert shop.groups() == [GROUP]
    assert shop.streams() == [STREAM]


def test_paging_forward_sees_every_event_once_and_ends_with_the_same_token(shop: Shop) -> None:
    of = origin()
    for number in range(40):
        shop.records.append(attempt(of, number, b"x\n"))
    seen: list[LogEvent] = []
    token = None
    while True:
        page = shop.logs.get_events(SCOPE, GROUP, STREAM, limit=7, from_head=True, token=token)
        seen += page.events
        if page.forward == token:
            break
        token = page.forward
    assert len(seen) == len({event.place for event in seen}) == 160
    assert seen == sorted(seen, key=lambda event: event.place)
    shop.records.append(attempt(of, 40))
    assert len(shop.logs.get_events(SCOPE, GROUP, STREAM, token=token).events) == 3


def test_paging_backward_begins_at_the_end(shop: Shop) -> None:
    of = origin()
    for number in range(40):
        shop.records.append(attempt(of, number, f"{number}\n".encode()))
    page = shop.logs.get_events(SCOPE, GROUP, STREAM, limit=6)
    assert texts(page.events)[3] == "39\n"
    seen = page.events
    while page.events:
        page = shop.logs.get_events(SCOPE, GROUP, STREAM, limit=6, token=page.backward)
        seen = page.events + seen
    assert len(seen) == 160
    assert seen == sorted(seen, key=lambda event: event.place)


def test_a_time_range_ends_before_its_end(shop: Shop) -> None:
    of = origin()
    for number in range(10):
        shop.records.append(attempt(of, number, b"x\n"))
    page = shop.logs.get_events(SCOPE, GROUP, STREAM, start_ms=T0 + 50, end_ms=T0 + 60)
    assert [event.at_ms - T0 for event in page.events] == [50, 51, 52, 52]


def test_filtering_interleaves_streams_by_time(shop: Shop) -> None:
    ours, theirs = origin("0a"), origin("0b")
    for number in range(30):
        shop.records.append(attempt(ours if number % 2 else theirs, number, f"ERROR {number}\n".encode()))
    found = shop.filter(pattern="ERROR", limit=4)
    assert texts(found) == [f"ERROR {number}\n" for number in range(30)]
    assert {event.stream for event in found} == {ours.log_stream, theirs.log_stream}
    only = shop.filter(pattern="ERROR", streams=[ours.log_stream])
    assert len(only) == 15
    assert len(shop.filter(prefix="2025/11/25/[$LATEST]0b", pattern="ERROR")) == 15
    newest = shop.logs.filter_events(SCOPE, GROUP, pattern="ERROR", descending=True, limit=3)
    assert texts(newest.events) == ["ERROR 29\n", "ERROR 28\n", "ERROR 27\n"]
    assert newest.next_token is not None
    older = shop.logs.filter_events(SCOPE, GROUP, pattern="ERROR", limit=1, token=newest.next_token)
    assert texts(older.events) == ["ERROR 26\n"]


def test_a_page_examines_a_bounded_number_of_records(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.telemetry.logs.PAGE_FRAMES_MAX", 5)
    of = origin()
    for number in range(30):
        shop.records.append(attempt(of, number, b"needle\n" if number == 29 else b"hay\n"))
    page = shop.logs.filter_events(SCOPE, GROUP, pattern="needle")
    assert page.events == []
    assert page.next_token is not None
    assert texts(shop.filter(pattern="needle")) == ["needle\n"]


def test_a_page_is_bounded_in_bytes(shop: Shop) -> None:
    of = origin()
    for number in range(3):
        shop.records.append(attempt(of, number, b"x" * 600_000))
    page = shop.logs.filter_events(SCOPE, GROUP, pattern="xxx")
    assert len(page.events) == 1
    assert len(shop.filter(pattern="xxx")) == 3
    assert len(shop.logs.get_events(SCOPE, GROUP, STREAM, from_head=True).events) == 5


def test_wrong_tokens_limits_and_mixtures_are_refused(shop: Shop) -> None:
    shop.records.append(attempt(origin(), 0))
    with pytest.raises(LogsInvalidParameter, match="nextToken is invalid"):
        shop.logs.get_events(SCOPE, GROUP, STREAM, token="f/1")
    with pytest.raises(LogsInvalidParameter, match="less than or equal to 10000"):
        shop.logs.filter_events(SCOPE, GROUP, limit=10_001)
    with pytest.raises(LogsInvalidParameter, match="greater than or equal to 1"):
        shop.logs.get_events(SCOPE, GROUP, STREAM, limit=0)
    with pytest.raises(LogsInvalidParameter, match="mutually exclusive"):
        shop.logs.filter_events(SCOPE, GROUP, streams=[STREAM], prefix="2")
    with pytest.raises(LogsInvalidParameter, match="Cannot order by LastEventTime"):
        shop.streams(order_by="LastEventTime", prefix="2")
    with pytest.raises(LogsInvalidParameter, match="enum value set"):
        shop.streams(order_by="Size")
    with pytest.raises(LogsInvalidParameter, match="mutually exclusive"):
        shop.logs.describe_groups(SCOPE, prefix="/", pattern="x", limit=None, token=None)
    with pytest.raises(LogsInvalidParameter, match="nextToken is invalid"):
        shop.logs.describe_groups(SCOPE, prefix=None, pattern=None, limit=None, token="!")


def test_what_does_not_exist_is_named(shop: Shop) -> None:
    with pytest.raises(LogsNotFound, match=r"The specified log group does not exist\."):
        shop.logs.get_events(SCOPE, "/none", STREAM)
    shop.records.append(attempt(origin(), 0))
    for act in (shop.logs.get_events, shop.logs.delete_stream):
        with pytest.raises(LogsNotFound, match=r"The specified log stream does not exist\."):
            act(SCOPE, GROUP, "none")
    with pytest.raises(LogsNotFound, match="group"):
        shop.logs.get_events(Scope("210987654321", "us-east-1"), GROUP, STREAM)


def test_groups_and_streams_are_listed_in_pages(shop: Shop) -> None:
    for number in range(5):
        shop.records.append(attempt(origin(group=f"/aws/lambda/f{number}"), number))
    rows, token = shop.logs.describe_groups(SCOPE, prefix="/aws", pattern=None, limit=3, token=None)
    assert [row.name[-2:] for row in rows] == ["f0", "f1", "f2"]
    assert all(row.stored_bytes > 0 for row in rows)
    rows, token = shop.logs.describe_groups(SCOPE, prefix="/aws", pattern=None, limit=3, token=token)
    assert [row.name[-2:] for row in rows] == ["f3", "f4"]
    assert token is None
    rows, _ = shop.logs.describe_groups(SCOPE, prefix=None, pattern="da/f3", limit=None, token=None)
    assert [row.name for row in rows] == ["/aws/lambda/f3"]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order_by", ["LogStreamName", "LastEventTime"])
def test_streams_are_listed_by_name_or_last_event(shop: Shop, order_by: str, descending: bool) -> None:
    names = ["c", "a", "d", "b"]
    for number, name in enumerate(names):
        shop.records.append(attempt(origin(name), number))
    found: list[str] = []
    token = None
    while True:
        rows, token = shop.logs.describe_streams(
            SCOPE, GROUP, prefix=None, order_by=order_by, descending=descending, limit=3, token=token
        )
        found += [row.name[-1] for row in rows]
        if token is None:
            break
    expected = sorted(names) if order_by == "LogStreamName" else names
    assert found == (expected[::-1] if descending else expected)


def test_deleting_hides_at_once_and_what_comes_later_is_new(shop: Shop) -> None:
    ours, theirs = origin("0a"), origin("0b")
    for number in range(20):
        shop.records.append(attempt(ours, number, b"old\n"))
        shop.records.append(attempt(theirs, number, b"old\n"))
    shop.logs.delete_stream(SCOPE, GROUP, ours.log_stream)
    assert shop.streams() == [theirs.log_stream]
    assert {event.stream for event in shop.filter()} == {theirs.log_stream}
    shop.records.append(attempt(ours, 30, b"new\n"))
    assert texts(shop.filter(streams=[ours.log_stream]))[1] == "new\n"
    shop.logs.delete_group(SCOPE, GROUP)
    assert shop.groups() == []
    with pytest.raises(LogsNotFound):
        shop.filter()
    shop.records.append(attempt(theirs, 40, b"again\n"))
    assert shop.groups() == [GROUP]
    assert len(shop.filter()) == 4
    assert shop.streams() == [theirs.log_stream]


def test_a_retention_policy_hides_what_is_older(shop: Shop) -> None:
    of = origin()
    shop.records.append(attempt(of, 0))
    with pytest.raises(LogsInvalidParameter, match="enum value set"):
        shop.logs.put_retention(SCOPE, GROUP, 2)
    shop.logs.put_retention(SCOPE, GROUP, 1)
    assert len(shop.filter()) == 3
    shop.clock.advance(DAY_MS / 1_000)
    assert shop.filter() == []
    assert shop.streams() == []
    shop.logs.put_retention(SCOPE, GROUP, None)
    assert len(shop.filter()) == 3


def test_users_keep_groups_streams_and_tags_of_their_own(shop: Shop) -> None:
    logs = shop.logs
    logs.create_group(SCOPE, "own", {"team": "a", "cost": "b"})
    with pytest.raises(LogsAlreadyExists, match="The specified log group already exists"):
        logs.create_group(SCOPE, "own")
    logs.change_tags(SCOPE, "own", {"team": "c"}, ["cost"])
    assert logs.tags(SCOPE, "own") == {"team": "c"}
    with pytest.raises(LogsInvalidParameter, match="tags"):
        logs.change_tags(SCOPE, "own", {str(number): "" for number in range(51)})
    with pytest.raises(LogsInvalidParameter, match="regular expression"):
        logs.create_group(SCOPE, "white space")
    with pytest.raises(LogsInvalidParameter, match="reserved for AWS"):
        logs.create_group(SCOPE, "aws/x")
    logs.create_stream(SCOPE, "own", "mine")
    with pytest.raises(LogsAlreadyExists, match="The specified log stream already exists"):
        logs.create_stream(SCOPE, "own", "mine")
    with pytest.raises(LogsInvalidParameter, match="regular expression"):
        logs.create_stream(SCOPE, "own", "a:b")
    now_ms = shop.clock.wall_ms()
    logs.put_events(SCOPE, "own", "mine", [(now_ms - 5, b"one"), (now_ms, b"two")])
    logs.put_events(SCOPE, "own", "mine", [(now_ms - 3, b"between")])
    assert texts(shop.filter("own")) == ["one", "between", "two"]
    assert texts(logs.get_events(SCOPE, "own", "mine", limit=2).events) == ["between", "two"]
    assert shop.streams("own") == ["mine"]
    logs.delete_stream(SCOPE, "own", "mine")
    assert shop.streams("own") == []


def test_batches_are_checked_and_strays_rejected(shop: Shop) -> None:
    logs, now_ms = shop.logs, shop.clock.wall_ms()
    logs.create_group(SCOPE, "own")
    logs.create_stream(SCOPE, "own", "mine")
    for events, word in [
        ([], "between 1 and 10000"),
        ([(now_ms, b"b"), (now_ms - 1, b"a")], "chronological order"),
        ([(now_ms - DAY_MS - 1, b"a"), (now_ms, b"b")], "more than 24 hours"),
        ([(now_ms, b"x" * 1_048_576)], "Upload too large: 1048602 bytes exceeds limit of 1048576"),
    ]:
        with pytest.raises(LogsInvalidParameter, match=word):
            logs.put_events(SCOPE, "own", "mine", events)
    late = now_ms + 3 * 3_600_000
    assert logs.put_events(SCOPE, "own", "mine", [(now_ms, b"a"), (late, b"b")]).too_new_start == 1
    old = now_ms - 14 * DAY_MS
    assert logs.put_events(SCOPE, "own", "mine", [(old - 1, b"c"), (old, b"d")]).too_old_end == 1
    logs.put_retention(SCOPE, "own", 3)
    assert logs.put_events(SCOPE, "own", "mine", [(now_ms - 4 * DAY_MS, b"e")]).expired_end == 1
    logs.put_retention(SCOPE, "own", None)
    assert texts(shop.filter("own")) == ["d", "a"]


def test_the_catalog_survives_a_restart(tmp_path: Path) -> None:
    records = FileRecords(tmp_path, fsync_ms=0)
    shop = Shop(records)
    for number in range(3):
        records.append(attempt(origin(), number))
    shop.logs.put_retention(SCOPE, GROUP, 30)
    shop.logs.delete_stream(SCOPE, GROUP, STREAM)
    shop.logs.create_group(SCOPE, "own", {"a": "b"})
    shop.logs.create_stream(SCOPE, "own", "mine")
    records.append(attempt(origin("0b"), 5))
    records.close()
    again = Shop(FileRecords(tmp_path, fsync_ms=0))
    assert again.groups() == [GROUP, "own"]
    assert again.logs.tags(SCOPE, "own") == {"a": "b"}
    assert again.streams("own") == ["mine"]
    assert again.streams() == [origin("0b").log_stream]
    rows, _ = again.logs.describe_groups(SCOPE, prefix=GROUP, pattern=None, limit=None, token=None)
    assert rows[0].retention_days == 30
    again.records.close()


STARTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 30), st.integers(0, 3)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(STARTS, st.integers(1, 9), st.booleans())
def test_pages_are_the_sorted_whole_however_attempts_overlap(
    starts: list[tuple[int, int, int, int]], limit: int, descending: bool
) -> None:
    """Clocks that jump, attempts that overlap, segments that interleave: pages add up to everything, in order, once."""
    records = MemoryRecords(segment_records_max=3)
    shop = Shop(records)
    origins = [origin(str(number)) for number in range(3)]
    for number, (which, at, lasted, lines) in enumerate(starts):
        printed = [(T0 + at + line, b"x\n") for line in range(lines)]
        records.append(Attempt(origins[which], f"r{number}", T0 + at, lasted * 1_000, lines=printed))
    if not starts:
        return
    events = shop.filter(limit=limit, descending=descending)
    assert len(events) == sum(3 + lines for *_, lines in starts)
    assert events == sorted(events, key=lambda event: event.place, reverse=descending)
    assert len({event.place for event in events}) == len(events)


def test_a_follower_hears_what_it_asked_for() -> None:
    async def scenario() -> None:
        records = MemoryRecords()
        logs = Logs(records, ManualClock(T0))
        ours, theirs = origin("0a"), origin("0b")
        async with logs.follow(SCOPE, GROUP, streams=[ours.log_stream], pattern="-REPORT -END") as follower:
            waiting = asyncio.create_task(follower.__anext__())
            await asyncio.sleep(0)
            records.append(attempt(theirs, 0, b"theirs\n"))
            records.append_other(AttemptPart(ours, "r1", T0, [(T0 + 1, b"early\n")], True))
            assert (await waiting)[2].startswith(b"START")
            assert await follower.__anext__() == (T0 + 1, ours.log_stream, b"early\n")
        records.append(attempt(ours, 1))
        with pytest.raises(StopAsyncIteration):
            await follower.__anext__()

    asyncio.run(scenario())


def test_a_slow_follower_loses_the_oldest_and_is_told_how_many() -> None:
    async def scenario() -> None:
        records = MemoryRecords()
        logs = Logs(records, ManualClock(T0))
        async with logs.follow(SCOPE, GROUP, events_max=4) as follower:
            records.append(attempt(origin(), 0))
            records.append(attempt(origin(), 1))
            assert follower.dropped == 2
            assert (await follower.__anext__())[2].startswith(b"REPORT RequestId: r0000")

    asyncio.run(scenario())


def test_bounds_are_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Retention(total_bytes_max=0)
    with pytest.raises(ValueError, match="at least one"):
        Logs(MemoryRecords(), ManualClock()).follow(SCOPE, GROUP, events_max=0)
    with pytest.raises(ValueError, match="fsync_ms"):
        FileRecords(Path("unused"), fsync_ms=-1)


def test_every_error_carries_its_code() -> None:
    assert {kind.code for kind in LogsError.__subclasses__()} == {
        "InvalidParameterException",
        "ResourceNotFoundException",
        "ResourceAlreadyExistsException",
        "UnknownOperationException",
        "ServiceUnavailableException",
    }
