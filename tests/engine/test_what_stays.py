"""What is left of an execution that was removed is what docs/retention.md says, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest
from batching import until_batch
from breaking import breaker, until
from retaining import make_old, sweep
from rig import Rig

import zart
from zart.models import LeasedTask, StepError
from zart.testing.server import ServerUnderTest

STAYS = {
    "Payload": set(),
    "Result": set(),
    "ByHand": set(),
    "Input": {"definitions"},
    "Message": {"operations", "error_groups", "pause_rules", "breakers"},
    "Details": {"operations", "breakers"},
    "OfBatch": {"batches"},
    "NoExecution": {"operations", "pause_exemptions"},
}


async def _named(db: asyncpg.Connection[asyncpg.Record], word: str) -> set[str]:
    """Return the tables that have a word in any column."""
    tables = await db.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'zart'::regnamespace AND relkind = 'r'"
    )
    return {
        table
        for (table,) in tables
        if await db.fetchval(
            f"SELECT EXISTS (SELECT FROM zart.{table} t WHERE t::text LIKE $1)", f"%{word}%"
        )
    }


async def _fail(rig: Rig, task: LeasedTask) -> None:
    error = StepError("Broken", "no Message", "Details")
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Failed(error, False)))


async def test_it_is_what_the_page_says(rig: Rig, zart_server: ServerUnderTest) -> None:
    breaker_id = await breaker(rig.client, failure_threshold=1)
    steps = [zart.StepSpec("charge", input="Input"), zart.StepSpec("send")]
    await rig.client.start("t", "Payload", execution_id="x", steps=steps)
    charge, send = await rig.lease()
    await _fail(rig, charge)
    opened = await until(rig.client, breaker_id, "OPEN")
    await rig.complete(send, result="Result")
    await rig.client.retry_step("x", "charge")
    await rig.client.update_pause_rule(opened.rule_id, exempt=["x", "NoExecution"])
    await rig.client.complete_step("x", "charge", "ByHand")
    await rig.client.reset_breaker(breaker_id)
    batch = await rig.client.create_batch(zart.Restart("OfBatch"), execution_ids=["x"])
    await until_batch(rig.client, batch.batch_id, "COMPLETED")
    await rig.work()
    for word in STAYS:
        assert await _named(rig.db, word), f"{word} was nowhere"

    await make_old(rig.db)
    await rig.client.set_retention("t", timedelta(days=30))
    await sweep(zart_server)

    with pytest.raises(zart.errors.ExecutionNotFound):
        await rig.client.get_execution("x")
    assert {word: await _named(rig.db, word) for word in STAYS} == STAYS
