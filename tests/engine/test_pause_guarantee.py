"""Once Pause has returned no matching step is leased, on any server, by any path.

Judged by commit order in the database: with ``track_commit_timestamp`` PostgreSQL tells when each
transaction committed, and a row tells which transaction wrote it.
"""

from __future__ import annotations

import asyncio
import functools
import random

import asyncpg
import pytest
from engine.on_record import dispatch, record_claims, served
from rig import Rig, deafen, eventually, specs
from standing_still import standing_still, until_standing_still

import zart
from zart.testing.server import ServerUnderTest, serving

GRAPH = {f"s{n}": (f"s{n - 1}",) if n % 4 else () for n in range(12)}
ROUNDS = 25

VIOLATIONS = """
WITH times AS (
    SELECT rule_key,
        min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE NOT deleted) AS paused_at,
        min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE deleted) AS resumed_at
    FROM public.rule_changes GROUP BY rule_key
)
SELECT c.run_key, c.step_no, p.rule_id
FROM public.claims c
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key)
JOIN zart.pause_rules p ON p.execution_id = e.execution_id
    AND (p.step_regex IS NULL OR d.step_names[c.step_no + 1] ~ p.step_regex)
JOIN times t ON t.rule_key = p.rule_key
WHERE pg_xact_commit_timestamp(c.xid::xid) > t.paused_at
  AND pg_xact_commit_timestamp(c.xid::xid) < COALESCE(t.resumed_at, 'infinity')
"""


@pytest.fixture
async def watched(zart_database: str) -> str:
    """A database that tells of every claim when it committed."""
    return await record_claims(zart_database)


async def test_no_claim_commits_between_pause_and_resume_on_three_servers(watched: str) -> None:
    chance = random.Random(7)
    with serving(watched) as one, serving(watched) as two, serving(watched) as three:
        servers = (one, two, three)
        clients = [zart.connect(s.address) for s in servers]
        stop = asyncio.Event()
        workers = [asyncio.create_task(dispatch(clients[n % 3], stop, n)) for n in range(9)]
        retry = zart.Retry(1000, 0.0)
        for number in range(ROUNDS):
            client = clients[number % 3]
            execution_id = f"x{number % 5}"
            if number < 5:
                await client.start("t", execution_id=execution_id, steps=specs(GRAPH, retry=retry))
            pattern = chance.choice([None, "s*", "s[02468]"])
            paused = await served(
                functools.partial(
                    client.pause,
                    execution_id=execution_id,
                    step_pattern=pattern,
                    request_id=f"pause-{number}",
                )
            )
            if chance.random() < 0.5:
                await served(functools.partial(clients[(number + 1) % 3].restart, execution_id))
            await asyncio.sleep(chance.random() * 0.05)
            resume = functools.partial(clients[(number + 2) % 3].resume, rule_id=paused.rule_id)
            await served(resume)
            if chance.random() < 0.3:
                await served(functools.partial(client.restart, execution_id))
        stop.set()
        await asyncio.gather(*workers)
        for client in clients:
            await client.close()
    db = await asyncpg.connect(watched)
    claims = await db.fetchval("SELECT count(*) FROM public.claims")
    rules = await db.fetchval("SELECT count(*) FROM public.rule_changes")
    violations = await db.fetch(VIOLATIONS)
    await db.close()

    assert claims > ROUNDS / 4
    assert rules == 2 * ROUNDS
    assert violations == []


async def test_a_report_that_read_no_rule_queues_nothing_after_pause(rig: Rig) -> None:
    """A report holds the pause lock shared from before it reads the rules to its commit."""
    await rig.start("x", {"a": (), "b": ("a",)})
    task = await rig.lease_one("a")
    # Let the report stop after it has decided, at the queue row of the dependant.
    async with standing_still(rig, "INSERT ON zart.queue"):
        reporting = asyncio.create_task(rig.complete(task))
        await until_standing_still(rig)
        pausing = asyncio.create_task(rig.client.pause(execution_id="x"))
        await rig.until_waiting()
        assert not pausing.done()
    assert await reporting == ["RECORDED"]
    paused = await pausing
    assert await rig.lease() == []
    assert paused.paused_steps == 1
    assert await rig.statuses() == {"a": "COMPLETED", "b": "PAUSED"}


async def test_a_claim_that_is_under_way_is_waited_for(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.db.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_advisory_xact_lock(4242); RETURN NULL; END$$;"
        "CREATE TRIGGER slow AFTER DELETE ON zart.queue EXECUTE FUNCTION slow()"
    )
    await rig.db.execute("SELECT pg_advisory_lock(4242)")
    leasing = asyncio.create_task(rig.lease())
    await rig.until_waiting(1)
    pausing = asyncio.create_task(rig.client.pause(execution_id="x"))
    await rig.until_waiting(2)
    await rig.db.execute("SELECT pg_advisory_unlock(4242)")

    assert len(await leasing) == 1
    assert (await pausing).running_steps == 1


async def test_pause_holds_on_a_server_that_has_just_missed_every_hint(
    zart_database: str, zart_server: ServerUnderTest, rig: Rig
) -> None:
    """NOTIFY is a hint: a server whose cache of rules is old reads the epoch after the lock."""
    with serving(zart_database) as other:
        async with zart.connect(other.address) as elsewhere:
            # It judges steps, and so has the rules at hand that there are.
            await Rig(elsewhere, rig.db).start("x", {"a": (), "b": ("a",)})
            (task,) = await elsewhere.lease_tasks("d", ["t"])
            await deafen(other)
            await rig.client.pause(execution_id="x")
            done = zart.Outcome(task.task_id, task.lease_token, zart.Completed())
            await elsewhere.report_tasks("d", [done])
            assert await elsewhere.lease_tasks("d", ["t"], max_tasks=10) == ()
            assert await rig.statuses() == {"a": "COMPLETED", "b": "PAUSED"}


async def test_a_resume_releases_in_small_transactions_that_harm_no_other_dispatch(
    rig: Rig,
) -> None:
    rule = await rig.client.pause(execution_id="big")
    await rig.start("big", {f"n{n}": () for n in range(2500)})
    await rig.start("other", {f"o{n}": () for n in range(50)}, task="other")
    sizes = """
        CREATE TABLE public.sizes (n bigint, xid xid8 DEFAULT pg_current_xact_id());
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO public.sizes (n) SELECT count(*) FROM new_rows; RETURN NULL; END $$;
        CREATE TRIGGER note AFTER INSERT ON zart.queue REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION note()"""
    await rig.db.execute(sizes)
    await rig.client.resume(rule_id=rule.rule_id)
    tasks = await rig.lease(50, task="other")  # whatever is released before it
    await rig.complete(*tasks)

    async def released() -> bool:
        return bool(await rig.db.fetchval("SELECT count(*) FROM zart.held") == 0)

    await eventually(released)
    largest = await rig.db.fetchval(
        "SELECT max(s) FROM (SELECT sum(n) s FROM public.sizes GROUP BY xid) t"
    )
    assert len(tasks) == 50
    assert 0 < largest <= 1000


async def test_a_release_is_finished_by_another_server_when_one_dies(
    zart_database: str, rig: Rig, zart_server: ServerUnderTest
) -> None:
    """What is left to release is in the database, with no window of time."""
    rule = await rig.client.pause(execution_id="x")
    await rig.start("x", {f"n{n}": () for n in range(3000)})
    # As a server leaves it that dies right after Resume's commit.
    async with rig.db.transaction():
        await rig.db.execute(
            "UPDATE zart.pause_rules SET deleted_at = now(), deleted_by = 'x',"
            " epoch = (SELECT epoch + 1 FROM zart.pause_epoch) WHERE rule_id = $1",
            rule.rule_id,
        )
        await rig.db.execute(
            "INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'release'"
            " FROM zart.pause_rules ON CONFLICT DO NOTHING"
        )
        await rig.db.execute("UPDATE zart.pause_epoch SET epoch = epoch + 1")

    async def released() -> bool:
        return bool(await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 3000)

    await eventually(released)
