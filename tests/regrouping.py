"""What tests of the fingerprint's versions do: make what is there as a server before it made it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import asyncpg
from rig import Rig

from zart.testing.server import ServerUnderTest
from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.errors import StoreConflict, StoreUnavailable
from zart_server.domain.fingerprint import NEWEST, fingerprint
from zart_server.domain.model import StepError

T = TypeVar("T")
ONE_STEP = {"a": ()}
_INSERT = """
    INSERT INTO zart.error_groups (group_key, task_name, step_name, error_group_id, type, template,
        former_id, former_template)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


def message(order: str) -> str:
    """Return a message of which each is a group of its own by version 1."""
    return f"order 01{order}RZ3NDEKTSV4RRFFQ69G5FAV is gone"


def group(order: str, version: int) -> str:
    """Return the group of the error with the message, by a version."""
    return fingerprint("Broken", message(order), version).error_group_id


def new_kind(order: str) -> tuple[Any, ...]:
    """Return a statement, and its arguments, that inserts the kind into which it is regrouped."""
    old = ErrorKind.of("t", "a", StepError("Broken", message(order)), 1)
    kind = ErrorKind.of("t", "a", StepError("Broken", message(order)), NEWEST)._replace(
        former_id=old.error_group_id, former_template=old.template
    )
    return _INSERT, kind.key, *kind


async def on(server: ServerUnderTest, deed: Coroutine[Any, Any, T]) -> T:
    """Have a server do something in its own loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(deed, server.loop))


async def turn(server: ServerUnderTest) -> float:
    """Have a server do now what it would do by itself, and return the seconds until the next.

    What has to wait, for the transaction of a server that had no turn for seconds, is done again.
    """
    regrouping = server.running.runtime.regrouping
    for _ in range(3):
        with contextlib.suppress(StoreConflict, StoreUnavailable):
            return await on(server, regrouping.turn())
    return await on(server, regrouping.turn())


async def turns(server: ServerUnderTest, over: asyncio.Event) -> None:
    """Have a server take turns until it is over.

    One may come to nothing: as where what it would move, or its own turn, is held for a moment.
    """
    while not over.is_set():
        await turn(server)


async def begin_with_the_first(rig: Rig, server: ServerUnderTest) -> None:
    """Have deaths told by version 1, as if no other had been known, until the server's turn."""
    regrouping = server.running.runtime.regrouping
    await on(server, regrouping.stop())  # what it does by itself would be in the way
    await rig.db.execute("UPDATE zart.fingerprint_version SET version = 1, since = '-infinity'")
    regrouping._db.fingerprint.number = 1


async def die(rig: Rig, execution_id: str, order: str) -> None:
    """Let the step of an execution die."""
    await rig.start(execution_id, ONE_STEP)
    (leased,) = await rig.lease()
    await rig.fail(leased, message=message(order))


@contextlib.asynccontextmanager
async def older_server(url: str) -> AsyncIterator[None]:
    """Be connected as a server that knows version 1 only: it says nothing of versions."""
    connection = await asyncpg.connect(
        url, server_settings={"application_name": "zart-watch elsewhere/7"}
    )
    try:
        yield
    finally:
        await connection.close()


async def make_older(rig: Rig, days: int) -> None:
    """Have the version in use be in use for so many days already."""
    await rig.db.execute(
        "UPDATE zart.fingerprint_version SET since = since - $1 * interval '1 day'", days
    )
