"""An exemption that was removed has Pause's guarantee, on any server, by any path.

Judged twice: by the order in which claims and changes committed, and by the lease tokens that were
written with them; both judgements have to find the same, which is nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random

import asyncpg
import pytest
from engine.on_record import dispatch, record_claims, served
from rig import eventually, specs

import zart
from zart import errors
from zart.testing.server import serving

GRAPH = {f"s{n}": (f"s{n - 1}",) if n % 4 else () for n in range(12)}
ROUNDS = 60
NAMES = [f"x{n}" for n in range(5)]

# A claim under a rule that matches it, and the last change of its exemption before it.
BY_COMMITS = """
WITH changes AS (
    SELECT rule_key, execution_id, is_exempt, pg_xact_commit_timestamp(xid::xid) AS at
    FROM public.exemption_changes
), rules AS (
    SELECT rule_key,
        min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE NOT deleted) AS paused_at,
        min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE deleted) AS resumed_at
    FROM public.rule_changes GROUP BY rule_key
), claims AS (
    SELECT c.token, e.execution_id, pg_xact_commit_timestamp(c.xid::xid) AS at
    FROM public.claims c JOIN zart.runs USING (run_key) JOIN zart.executions e USING (execution_key)
)
SELECT c.token, COALESCE((
        SELECT is_exempt FROM changes x
        WHERE x.rule_key = r.rule_key AND x.execution_id = c.execution_id AND x.at < c.at
        ORDER BY x.at DESC LIMIT 1), false) AS is_exempt
FROM claims c JOIN rules r ON c.at > r.paused_at AND c.at < COALESCE(r.resumed_at, 'infinity')
"""
BY_TOKENS = """
SELECT c.token, EXISTS (
    SELECT FROM zart.pause_exemptions x
    WHERE x.rule_key = r.rule_key AND x.execution_id = e.execution_id
      AND x.token_from < c.token AND c.token <= COALESCE(x.token_until, c.token)) AS is_exempt
FROM public.claims c JOIN zart.runs USING (run_key) JOIN zart.executions e USING (execution_key)
JOIN zart.pause_rules r ON r.token_from < c.token AND c.token <= COALESCE(r.token_until, c.token)
"""


@pytest.fixture
async def watched(zart_database: str) -> str:
    """A database that tells of every claim when it committed."""
    return await record_claims(zart_database)


async def test_no_claim_commits_that_is_exempt_no_longer_on_three_servers(watched: str) -> None:
    chance = random.Random(5)
    db = await asyncpg.connect(watched)

    async def is_settled() -> bool:
        return not await db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")

    with serving(watched) as one, serving(watched) as two, serving(watched) as three:
        clients = [zart.connect(s.address) for s in (one, two, three)]
        retry = zart.Retry(1000, 0.0)
        for name in NAMES:
            await clients[0].start("t", execution_id=name, steps=specs(GRAPH, retry=retry))
        stop = asyncio.Event()
        workers = [asyncio.create_task(dispatch(clients[n % 3], stop, n)) for n in range(6)]
        pause = functools.partial(clients[0].pause, task_name="t", request_id="once")
        rule_id = (await served(pause)).rule_id
        exempt: set[str] = set()
        for number in range(ROUNDS):
            client = clients[number % 3]
            flipped = set(chance.sample(NAMES, chance.randint(1, 3)))
            await served(
                functools.partial(
                    client.update_pause_rule,
                    rule_id,
                    exempt=flipped - exempt,
                    unexempt=flipped & exempt,
                )
            )
            exempt ^= flipped
            if chance.random() < 0.5:
                await served(
                    functools.partial(clients[(number + 1) % 3].restart, chance.choice(NAMES))
                )
            if chance.random() < 0.3:
                with contextlib.suppress(errors.NothingToRerun):
                    name = chance.choice(NAMES)
                    await served(functools.partial(client.rerun, name, force_rerun=["s0"]))
            if chance.random() < 0.5:
                await eventually(is_settled)
        await eventually(is_settled)
        held = await db.fetch(
            "SELECT DISTINCT execution_id FROM zart.held JOIN zart.runs USING (run_key)"
            " JOIN zart.executions USING (execution_key)"
        )
        await served(functools.partial(clients[0].resume, rule_id=rule_id))
        stop.set()
        await asyncio.gather(*workers)
        for client in clients:
            await client.close()
    by_commits = {tuple(row) for row in await db.fetch(BY_COMMITS)}
    by_tokens = {tuple(row) for row in await db.fetch(BY_TOKENS)}
    await db.close()

    assert {row[0] for row in held}.isdisjoint(exempt)
    assert len(by_commits) > ROUNDS / 4
    assert {token for token, is_exempt in by_commits if not is_exempt} == set()
    assert by_tokens == by_commits
