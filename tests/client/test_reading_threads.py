"""The threads in which plain code's streams are read: one has many streams, one after another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest
from waiting import GIVE_UP, block_until

from zart import reading_threads
from zart.next_messages import SyncMessages
from zart.reading_threads import call_in_thread


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Have no thread that another test has left."""
    found: list[object] = []
    monkeypatch.setattr(reading_threads, "_idle", found)
    return found


def called_in() -> threading.Thread:
    """Return the thread in which something is called."""
    told: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
    call_in_thread(lambda: told.put(threading.current_thread()))
    return told.get(timeout=GIVE_UP)


def test_a_thread_that_is_idle_is_had_again(idle: list[object]) -> None:
    first = called_in()
    block_until(lambda: idle)
    assert called_in() is first
    assert first.daemon


def test_no_more_are_kept_than_a_bound(idle: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_threads, "_MOST_IDLE", 1)
    (held, other) = threading.Event(), threading.Event()
    begun: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()

    def hold(until: threading.Event) -> None:
        begun.put(threading.current_thread())
        until.wait(GIVE_UP)

    call_in_thread(lambda: hold(held))
    call_in_thread(lambda: hold(other))
    threads = [begun.get(timeout=GIVE_UP) for _ in range(2)]
    held.set()
    block_until(lambda: idle)
    other.set()
    block_until(lambda: sum(thread.is_alive() for thread in threads) == 1)


def test_one_that_nobody_has_for_long_ends(
    idle: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_threads, "_PATIENCE", 0.05)
    thread = called_in()
    thread.join(GIVE_UP)
    assert not thread.is_alive()
    assert not idle
    assert called_in() is not thread


def test_what_nothing_could_end_is_read_by_who_waits_for_it(idle: list[object]) -> None:
    """As a generator that an interceptor makes of a call: once left, it would be read for ever."""
    read_in: list[threading.Thread] = []
    ended: list[bool] = []

    def generator() -> Iterator[int]:
        try:
            while True:
                read_in.append(threading.current_thread())
                yield 1
        finally:
            ended.append(True)

    messages = SyncMessages(generator())
    assert [next(messages), next(messages)] == [1, 1]
    messages.close()
    assert read_in == [threading.current_thread()] * 2
    assert ended == [True]
    assert not idle
