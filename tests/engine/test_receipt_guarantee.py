"""A receipt agrees with what is on record of commits, whatever goes on, and is caught lying.

Judged by the order in which claims and changes of the rule committed, and by the names of steps
alone: nothing of that is what the receipt is judged from. CI plays a part of the cycles;
``ZART_RECEIPT_CYCLES=2000`` plays all, in one run or in several with another ``ZART_SEED`` each.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import asyncpg
import pytest
from engine.on_record import dispatch, record_claims, served
from rig import CHAIN, LONG, Rig, eventually, specs

import zart
from zart import errors
from zart.models import RuleAttempt
from zart.testing.server import serving
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart_server.store.pausing.rules import PAUSE_LOCK

SEED = int(os.environ.get("ZART_SEED", "11"))
CYCLES = int(os.environ.get("ZART_RECEIPT_CYCLES", "30"))
GRAPH = {f"s{n}": (f"s{n - 1}",) if n % 4 else () for n in range(12)}
NAMES = [f"x{n}" for n in range(5)]
PATTERNS = ("s*", "s[02468]", "s[1357]", "s1?")

# Every claim, with what the rule was when it committed: 0 to come, 1 there, 2 ended. A run that ended
# five minutes before the rule came is not looked at any more.
BY_COMMITS = """
WITH rule AS (
    SELECT min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE NOT deleted) AS paused_at,
        min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE deleted) AS resumed_at
    FROM public.rule_changes
    WHERE rule_key = (SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1)
), changes AS (
    SELECT execution_id, is_exempt, pg_xact_commit_timestamp(xid::xid) AS at
    FROM public.exemption_changes
    WHERE rule_key = (SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1)
), claims AS (
    SELECT c.token, e.execution_id, r.run_number, d.step_names[c.step_no + 1] AS step_name,
        pg_xact_commit_timestamp(c.xid::xid) AS at
    FROM public.claims c JOIN zart.runs r USING (run_key)
    JOIN zart.executions e USING (execution_key) JOIN zart.definitions d USING (definition_key)
)
SELECT execution_id, run_number, step_name, (at > paused_at)::int + (at > resumed_at)::int AS age,
    COALESCE((
        SELECT is_exempt FROM changes x
        WHERE x.execution_id = c.execution_id AND x.at < c.at
        ORDER BY x.at DESC LIMIT 1), false) AS is_exempt,
    at > paused_at - interval '4 minutes' AS is_recent, at < $2 AS was_there
FROM claims c CROSS JOIN rule ORDER BY token
"""
# What no receipt to come looks at; else each cycle would take longer than the one before.
FORGET_OLD = """
    DELETE FROM public.claims
    WHERE pg_xact_commit_timestamp(xid::xid) < statement_timestamp() - interval '10 minutes'
"""
# A completed attempt that was leased after the rule's end now says that it was leased before.
PLANT = """
    UPDATE zart.steps SET lease_token = (
        SELECT token_from + 1 FROM zart.pause_rules WHERE rule_id = $1)
    WHERE (run_key, step_no) = (
        SELECT run_key, step_no FROM zart.steps s
        JOIN zart.runs r USING (run_key) JOIN zart.executions e USING (execution_key)
        WHERE s.status = 'completed' AND s.source_run_key IS NULL AND execution_id = $2
          AND lease_token > (SELECT token_until FROM zart.pause_rules WHERE rule_id = $1)
        ORDER BY lease_token LIMIT 1)
"""


@dataclass
class Scope:
    """What a rule matches, as the test says."""

    execution_id: str | None
    step_pattern: str | None

    def matches(self, claim: asyncpg.Record) -> bool:
        """Return whether a claim is of a step that it matches."""
        return (self.execution_id in (None, claim["execution_id"])) and fnmatchcase(
            claim["step_name"], self.step_pattern or "*"
        )


def names(attempt: RuleAttempt | None) -> tuple[Any, ...] | None:
    """Return what tells an attempt's step from others."""
    if attempt is None:
        return None
    return (attempt.execution_id, attempt.run_number, attempt.step_name)


def of_age(claims: Sequence[asyncpg.Record], age: int) -> list[asyncpg.Record]:
    """Return the claims before, in or after the window, in order."""
    return [claim for claim in claims if claim["age"] == age]


async def judged(
    client: zart.Client, db: asyncpg.Connection[asyncpg.Record], rule_id: str, scope: Scope
) -> int:
    """Compare the receipt of an ended rule with the commits; return how many were exempt."""
    asked_at = await db.fetchval("SELECT clock_timestamp()")
    receipt = await served(functools.partial(client.verify_pause_rule, rule_id))
    claims = [c for c in await db.fetch(BY_COMMITS, rule_id, asked_at) if scope.matches(c)]
    before, inside, after = (of_age(claims, age) for age in range(3))
    exempt = [claim for claim in inside if claim["is_exempt"]]
    assert len(inside) == len(exempt)
    assert (receipt.clean, receipt.violations) == (True, ())
    assert (receipt.exempt_attempts, receipt.released_attempts) == (len(exempt), 0)
    if receipt.last_before is None:
        assert not before or not before[-1]["is_recent"]
    else:
        assert names(receipt.last_before) == tuple(before[-1][:3])
    # Of those that were leased meanwhile the receipt may have seen any, or none.
    was_there = [claim["was_there"] for claim in after]
    first = after[: was_there.index(True) + 1] if any(was_there) else [*after, None]
    assert names(receipt.first_after) in [claim and tuple(claim[:3]) for claim in first]
    recent = [claim for claim in before if claim["is_recent"]]
    assert len(recent) + len(inside) <= receipt.checked_attempts <= len(claims)
    return len(exempt)


async def is_completed(client: zart.Client, execution_id: str) -> bool:
    """Return whether the current run of an execution is completed."""
    return (await client.get_execution(execution_id)).run.status == "COMPLETED"


async def test_a_receipt_agrees_with_the_commits_on_three_servers(zart_database: str) -> None:
    chance = random.Random(SEED)
    url = await record_claims(zart_database)
    db = await asyncpg.connect(url)
    exempt_claims = 0
    with serving(url) as one, serving(url) as two, serving(url) as three:
        clients = [zart.connect(server.address) for server in (one, two, three)]
        retry = zart.Retry(1000, 0.0)
        for name in NAMES:
            await clients[0].start("t", execution_id=name, steps=specs(GRAPH, retry=retry))
        stop = asyncio.Event()
        workers = [asyncio.create_task(dispatch(clients[n % 3], stop, n)) for n in range(6)]
        for number in range(CYCLES):
            client, other, third = (clients[(number + n) % 3] for n in range(3))
            scope = Scope(chance.choice([None, *NAMES]), chance.choice([None, *PATTERNS]))
            pause = functools.partial(
                client.pause,
                task_name="t",
                execution_id=scope.execution_id,
                step_pattern=scope.step_pattern,
                request_id=f"pause-{number}",
            )
            rule_id = (await served(pause)).rule_id
            exempt = set(chance.sample(NAMES, chance.randint(0, 3)))
            if exempt:
                await served(functools.partial(other.update_pause_rule, rule_id, exempt=exempt))
            await served(functools.partial(third.restart, chance.choice(NAMES)))
            with contextlib.suppress(errors.NothingToRerun):
                name = chance.choice(NAMES)
                await served(functools.partial(other.rerun, name, force_rerun=["s0", "s4"]))
            if len(exempt) > 1:
                again = [exempt.pop()]
                await served(functools.partial(third.update_pause_rule, rule_id, unexempt=again))
            assert (await served(functools.partial(other.verify_pause_rule, rule_id))).clean
            await served(functools.partial(third.resume, rule_id=rule_id))
            await served(functools.partial(other.restart, chance.choice(NAMES)))
            exempt_claims += await judged(client, db, rule_id, scope)
            if number % 50 == 49:
                await db.execute(FORGET_OLD)
        assert exempt_claims

        everything = (await clients[0].pause(task_name="t")).rule_id
        await db.execute("SELECT nextval('zart.lease_tokens')")  # one that nobody has
        await clients[0].resume(rule_id=everything)
        await clients[0].restart("x0")
        await eventually(lambda: is_completed(clients[0], "x0"))
        stop.set()
        await asyncio.gather(*workers)
        assert (await clients[0].verify_pause_rule(everything)).clean
        async with db.transaction():
            await db.execute("SET LOCAL zart.purge = 'on'")
            assert await db.execute(PLANT, everything, "x0") == "UPDATE 1"
        (caught,) = (await clients[0].verify_pause_rule(everything)).violations
        assert caught.execution_id == "x0"
        for client in clients:
            await client.close()
    await db.close()


@pytest.mark.parametrize("is_registered", [True, False])
async def test_no_token_is_given_out_while_a_rule_may_change(rig: Rig, is_registered: bool) -> None:  # noqa: FBT001
    """What a receipt rests on: by each path a token is drawn under the shared pause lock."""
    rig.registers = is_registered
    await rig.start("reported", CHAIN)
    task = await rig.lease_one("a", "reported")
    await rig.dead("retried", {"b": ()}, step="b")
    await rig.start("queued", {"a": ()}, task="queued")
    await rig.db.execute("SELECT pg_advisory_lock($1)", PAUSE_LOCK)
    last = await rig.db.fetchval("SELECT zart.last_token()")
    request = pb.ReportTasksRequest(dispatcher_id="d")
    zart.Completed(1).into(request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token))
    request.lease_next.task_names.append("t")
    request.lease_next.max_tasks = 5
    report: Any = DispatchServiceStub(rig.client.channel).ReportTasks(request)
    leases = [
        asyncio.create_task(rig.lease(task="queued")),
        asyncio.create_task(rig.lease(task="started", wait=LONG)),
    ]
    calls: list[asyncio.Task[Any]] = [
        asyncio.create_task(rig.client.retry_step("retried", "b")),
        asyncio.create_task(rig.start("started", CHAIN, task="started")),
    ]
    await rig.until_waiting(4)
    assert await rig.db.fetchval("SELECT zart.last_token()") == last
    await rig.db.execute("SELECT pg_advisory_unlock($1)", PAUSE_LOCK)
    await asyncio.gather(*calls)
    reported = await report
    assert [len(await leasing) for leasing in leases] == [1, 1]
    assert len(reported.tasks) == 1
    assert await rig.db.fetchval("SELECT zart.last_token()") == last + 3
