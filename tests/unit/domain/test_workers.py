"""Threads that are there before they are needed."""

from __future__ import annotations

import threading

import pytest

from lambent.domain.workers import full_pool


def test_a_full_pool_starts_no_thread_when_work_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    pool = full_pool(4, "test")
    try:
        assert threading.active_count() == before + 4
        monkeypatch.setattr(threading.Thread, "start", None)
        work = [pool.submit(pow, 2, number) for number in range(100)]
        assert [one.result() for one in work] == [2**number for number in range(100)]
    finally:
        monkeypatch.undo()
        pool.shutdown()
    assert threading.active_count() == before


def test_a_machine_without_threads_says_so_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    real, started = threading.Thread.start, []

    def two_and_no_more(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", two_and_no_more)
    with pytest.raises(RuntimeError, match="can't start"):
        full_pool(4, "test")
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()
