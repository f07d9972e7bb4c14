"""Short results that this server has recorded of late are at hand: as few as memory allows."""

from __future__ import annotations

import contextlib
import sys

from zart_server.store.caches.results import _BESIDE, ResultCache
from zart_server.store.db import Database
from zart_server.store.handler_inputs import (
    READ_AT_ONCE,
    Upstream,
    keep_short,
    read_short,
    read_upstream,
)

LONG = f'"{"ä" * (READ_AT_ONCE // 2)}"'  # in bytes; half as many letters


class _Undone(Exception):
    pass


async def test_results_are_at_hand_once_they_are_committed_if_they_are_short(
    store: Database,
) -> None:
    """What this database has not at all tells what is read, and what is not."""
    steps = [(1, 0), (1, 1)]
    with contextlib.suppress(_Undone):
        async with store.transaction() as tx:
            keep_short(tx, {(1, 0): '"undone"'})
            raise _Undone
    async with store.transaction() as tx:
        keep_short(tx, {(1, 0): '"ä"', (1, 1): LONG})
        assert await read_short(tx, steps) == {}
    async with store.transaction() as tx:
        assert await read_short(tx, steps) == {(1, 0): '"ä"'}
        found = await read_upstream(tx, steps)
        assert found == {(1, 0): Upstream('"ä"', 4, is_skipped=False)}


async def test_no_result_is_at_hand_in_another_history(store: Database) -> None:
    """A failover that loses some runs gives their keys to others."""
    async with store.transaction() as tx:
        keep_short(tx, {(1, 0): "1"})
        store._forget()
    async with store.transaction() as tx:
        assert await read_short(tx, [(1, 0)]) == {}


def test_the_results_that_were_recorded_longest_ago_make_room() -> None:
    one = sys.getsizeof("1") + _BESIDE
    cache = ResultCache(most=3 * one)
    keys = [(1, n) for n in range(5)]
    for key in keys[:3] * 2:
        cache.add({key: "1"})
    assert list(cache.at_hand(keys)) == keys[:3]

    cache.add({keys[3]: "1"})
    assert list(cache.at_hand(keys)) == keys[1:4]
    cache.add({keys[4]: "1" * one})
    assert list(cache.at_hand(keys)) == keys[3:]
    cache.add({(2, 0): "1" * 3 * one})
    assert cache.at_hand([*keys, (2, 0)]) == {}
    assert cache._size == 0
