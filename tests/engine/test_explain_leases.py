"""ExplainStep tells of leases: of other steps, while no slot is free, and of one that has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from explaining import asked, kinds, why
from rig import Rig, eventually

import zart
from zart.models import ExplainedStep
from zart.testing.server import ServerUnderTest


async def test_dispatchers_that_are_at_work_for_long_and_do_not_ask(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()})
    [task] = await rig.client.lease_tasks("d", ["t"], max_tasks=1, lease_duration=3600)
    other = "b" if task.step_name == "a" else "a"
    found: list[tuple[ExplainedStep, datetime]] = []

    async def is_noted() -> bool:
        await asked(rig, timedelta(hours=1))
        since = await rig.db.fetchval("SELECT last_asked_at FROM zart.task_names")
        found.append((await why(rig, other), since))
        return " at work on " in found[-1][0].causes[0].text

    await eventually(is_noted)
    step, since = found[-1]
    assert kinds(step) == ["QUEUED_BEHIND"]
    assert step.causes[0].text == (
        f"the first in line for handler {other}:"
        " its dispatchers are at work on 1 step, and none has asked for more since"
        f" {since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    )
    assert step.next == "The next dispatcher with a free slot takes it."

    await rig.db.execute("UPDATE zart.leases SET lease_expires_at = now()")
    assert kinds(await why(rig, other))[0] == "NO_DISPATCHER"


@pytest.mark.parametrize(
    ("options", "then"),
    [
        ({"retry": zart.Retry(max_attempts=2)}, "repeated"),
        ({"retry": zart.Retry(max_attempts=1)}, "the step is then dead: it was the last one"),
        ({"if_in_doubt": zart.IfInDoubt.STOP}, "is then in doubt: it is not repeated"),
    ],
)
async def test_a_lease_that_has_ended(
    rig: Rig, zart_server: ServerUnderTest, options: dict[str, Any], then: str
) -> None:
    await rig.start("x", {"a": ()}, **options)
    await rig.lease_one("a")
    db = await asyncpg.connect(zart_server.database_url)
    try:
        async with rig.locked("SELECT FROM zart.runs FOR UPDATE"):  # so that no sweep comes before
            await db.execute("UPDATE zart.leases SET lease_expires_at = now()")
            step = await why(rig, "a")
    finally:
        await db.close()
    ended = "Its lease has ended: the attempt is about to be taken for lost"
    assert step.next == f"{ended}, and {then}."
