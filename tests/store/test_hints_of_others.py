"""Hints between servers: as many as there are, in messages that PostgreSQL takes, and none lost unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from silence import Silence
from waiting import until

from zart_server.store.changes import Changes
from zart_server.store.notifications import Notifications

LATER = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Heard:
    """What one server has heard of the others."""

    changes: list[Changes] = field(default_factory=list)
    gaps: int = 0
    watches: bool = False

    def gap(self) -> None:
        self.gaps += 1


def unconnected(heard: Heard) -> Notifications:
    """Return what one server sends and hears with, without a database."""
    return Notifications(
        "postgresql://localhost/zart", heard.changes.append, heard.gap, lambda: heard.watches
    )


def told(changes: Changes) -> tuple[list[str], Heard]:
    """Return the messages of one server, and what another one makes of them."""
    heard = Heard()
    one, other = unconnected(Heard()), unconnected(heard)
    payloads = one._payloads(changes)
    for payload in payloads:
        other._hear(None, 0, "", payload)
    return payloads, heard


def put_back(lanes: int) -> Changes:
    changes = Changes()
    for number in range(lanes):
        changes.queued("t", f"h{number}", count=number + 1)
        changes.put_back("t", f"h{number}", number, (LATER, number))
    return changes


def all_of(heard: list[Changes]) -> Changes:
    together = Changes()
    for each in heard:
        assert not each.lanes.keys() & together.lanes.keys()
        assert each.cursors.keys() <= each.lanes.keys()  # put back before they are woken for
        assert each.at_once <= each.runs
        together.lanes |= each.lanes
        together.cursors |= each.cursors
        together.runs |= each.runs
        together.at_once |= each.at_once
        together.rules |= each.rules
        together.breakers |= each.breakers
        together.due_in = each.due_in if together.due_in is None else together.due_in
    return together


@pytest.mark.parametrize(
    "payload",
    ["", "{", "7", "{}", '{"from": "a", "lanes": []}', '{"from": "a", "lanes": 1, "runs": 1}',
     '{"from": "a", "much": true}'],
)  # fmt: skip
async def test_what_is_told_otherwise_is_looked_for(payload: str) -> None:
    """As by a server of another version; seldom, however often it tells it."""
    heard = Heard()
    one = unconnected(heard)
    for _ in range(100):
        one._hear(None, 0, "", payload)
    assert (heard.changes, heard.gaps) == ([], 1)

    await until(lambda: heard.gaps == 2)
    one._hear(None, 0, "", payload)
    assert heard.gaps == 2
    await one.stop()


@pytest.mark.parametrize("lanes", [1, 60, 200, 5000])
def test_all_lanes_are_told_in_messages_that_are_short_enough(lanes: int) -> None:
    changes = put_back(lanes)
    changes.changed(range(10**9, 10**9 + 3 * lanes), at_once=False)
    changes.changed(range(10**9, 10**9 + lanes), at_once=True)
    changes.rules, changes.breakers, changes.due_in = True, True, 1.5

    payloads, heard = told(changes)

    assert max(len(payload.encode()) for payload in payloads) <= 7900
    assert all_of(heard.changes) == changes
    assert heard.gaps == 0


def test_the_longest_names_are_told() -> None:
    changes = Changes()
    for task in ("\x01" * 255, "\x02" * 255):
        changes.queued(task, "\x03" * 255)
        changes.put_back(task, "\x03" * 255, 1, (LATER, 1))

    _, heard = told(changes)

    assert all_of(heard.changes) == changes


def test_what_is_too_much_is_looked_for_everywhere() -> None:
    _, heard = told(put_back(20_000))

    assert (heard.changes, heard.gaps) == ([], 1)


def test_who_says_anything_is_not_forgotten() -> None:
    one, other = unconnected(Heard()), unconnected(Heard())
    for payload in one._take_payloads():
        other._hear(None, 0, "", payload)
    other._peers[one._me].heard_at -= 3600
    for payload in one._payloads(put_back(1)):
        other._hear(None, 0, "", payload)
    other._take_payloads()  # with an announcement, since it has met one
    assert one._me in other._peers

    other._peers[one._me].heard_at -= 3600
    other.announce()
    other._take_payloads()
    assert not other._peers


def test_only_who_is_new_is_to_look_at_everything() -> None:
    """Each that meets it says so: all would look once for each of them."""
    of_known, of_new = Heard(), Heard()
    one, known, new = unconnected(Heard()), unconnected(of_known), unconnected(of_new)
    for other in (known, new):
        one._take_payloads()  # for those who came before
        for payload in other._take_payloads():
            one._hear(None, 0, "", payload)
    for payload in one._take_payloads():
        for other in (known, new):
            other._hear(None, 0, "", payload)
    assert (of_known.gaps, of_new.gaps) == (0, 1)


def test_hints_that_cannot_be_sent_for_long_are_few() -> None:
    """Where its connection is lost and no other to be had: they were kept, and encoded, all."""
    heard = Heard()
    one, other = unconnected(Heard()), unconnected(heard)
    one._meet("other", watches=True)
    for number in range(100):
        one.publish(Changes(runs=set(range(1_000 * number, 1_000 * (number + 1)))))
    assert len(one._pending.runs) <= 51_000

    for payload in one._take_payloads():
        other._hear(None, 0, "", payload)
    assert heard.gaps == 1


@asynccontextmanager
async def connected(
    url: str, here_every: float = 5.0
) -> AsyncIterator[tuple[Notifications, Heard]]:
    heard = Heard()
    notifications = Notifications(
        url, heard.changes.append, heard.gap, lambda: heard.watches, here_every=here_every
    )
    notifications.start()
    try:
        yield notifications, heard
    finally:
        await notifications.stop()


async def until_heard(one: Notifications, other: Notifications, heard: Heard) -> None:
    """Wait until two know each other, and the other has heard all that this led to."""
    await until(lambda: one._peers and other._peers)
    one.publish(put_back(1))
    await until(lambda: heard.changes)
    heard.changes.clear()
    heard.gaps = 0


async def test_where_a_notify_fails_the_others_look_for_what_it_told(zart_database: str) -> None:
    async with (
        Silence(zart_database) as silence,
        connected(silence.url) as (one, _),
        connected(zart_database) as (other, heard),
    ):
        await until_heard(one, other, heard)
        silence.fall()
        one.publish(put_back(2))
        await until(lambda: heard.gaps)
        assert heard.changes == []


async def test_who_is_never_idle_says_that_it_is_there_all_the_same(zart_database: str) -> None:
    """Its peers would forget it, and tell it nothing until it is idle."""
    async with (
        connected(zart_database, here_every=0.5) as (one, of_one),
        connected(zart_database) as (other, heard),
    ):
        await until_heard(one, other, heard)
        of_one.watches = True  # which an announcement tells, and nothing else

        def is_known() -> bool:
            one.publish(put_back(1))
            return other._peers[one._me].watches

        await until(is_known)


async def test_who_begins_to_watch_missed_hints_of_runs_only(zart_database: str) -> None:
    """To have looked for tasks everywhere is dear while a snapshot is held open."""
    async with (
        connected(zart_database) as (one, _),
        connected(zart_database) as (other, heard),
    ):
        await until_heard(one, other, heard)
        heard.watches = True
        other.begins_to_watch()
        await until(lambda: any(changes.any_run for changes in heard.changes))
        assert heard.gaps == 0
