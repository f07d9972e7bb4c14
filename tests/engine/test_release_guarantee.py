"""StopRelease has Pause's guarantee: what is withheld again is leased by nobody, on any server.

Cycles of pause, release, stop and resume on three servers, in every way that there is, while
dispatchers lease and report. Judged by the order in which claims and changes committed, by the lease tokens
that were written with them, and by VerifyPauseRule; all three have to find nothing.
``ZART_RELEASE_CYCLES`` is how many there are: 2,000 in full, in one run or in several with another
``ZART_SEED`` each.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random

import asyncpg
import pytest
from engine.cycling import GRAPH, NAMES, RETRY, WAYS, Cycles
from engine.on_record import dispatch, record_claims, served
from rig import specs

import zart
from zart.testing.server import serving

SEED = int(os.environ.get("ZART_SEED", "11"))
CYCLES = int(os.environ.get("ZART_RELEASE_CYCLES", "8"))

WATCH_RELEASES = """
CREATE TABLE public.let_go (rule_key bigint, run_key bigint, step_no integer, attempt integer,
    stands boolean, xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION note_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.let_go (rule_key, run_key, step_no, attempt, stands)
    VALUES (NEW.rule_key, NEW.run_key, NEW.step_no, NEW.attempt, NEW.token_until IS NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER note_release AFTER INSERT OR UPDATE ON zart.released_steps
    FOR EACH ROW EXECUTE FUNCTION note_release();
CREATE INDEX ON public.let_go (run_key, step_no, attempt);
"""
# Each claim under a rule that matches it, and whether the rule had let it go by then, or exempted it.
BY_COMMITS = """
WITH rules AS MATERIALIZED (
    SELECT rule_key,
        min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE NOT deleted) AS paused_at,
        min(pg_xact_commit_timestamp(xid::xid)) FILTER (WHERE deleted) AS resumed_at
    FROM public.rule_changes GROUP BY rule_key
), claims AS MATERIALIZED (
    SELECT c.*, e.execution_id, pg_xact_commit_timestamp(c.xid::xid) AS at
    FROM public.claims c JOIN zart.runs USING (run_key) JOIN zart.executions e USING (execution_key)
)
SELECT r.rule_key, c.token, COALESCE((
        SELECT stands FROM public.let_go x
        WHERE x.run_key = c.run_key AND x.step_no = c.step_no AND x.attempt = c.attempt
          AND x.rule_key = r.rule_key AND pg_xact_commit_timestamp(x.xid::xid) < c.at
        ORDER BY pg_xact_commit_timestamp(x.xid::xid) DESC LIMIT 1), false)
    OR COALESCE((
        SELECT is_exempt FROM public.exemption_changes x
        WHERE x.execution_id = c.execution_id AND x.rule_key = r.rule_key
          AND pg_xact_commit_timestamp(x.xid::xid) < c.at
        ORDER BY pg_xact_commit_timestamp(x.xid::xid) DESC LIMIT 1), false) AS is_let_go
FROM claims c
JOIN rules r ON c.at > r.paused_at AND c.at < COALESCE(r.resumed_at, 'infinity')
JOIN zart.pause_rules p ON p.rule_key = r.rule_key
    AND COALESCE(p.execution_id, c.execution_id) = c.execution_id
"""
BY_TOKENS = """
SELECT p.rule_key, c.token, EXISTS (
    SELECT FROM zart.released_steps x
    WHERE x.run_key = c.run_key AND x.step_no = c.step_no AND x.attempt = c.attempt
      AND x.rule_key = p.rule_key
      AND x.token_from < c.token AND c.token <= COALESCE(x.token_until, c.token))
    OR EXISTS (
    SELECT FROM zart.pause_exemptions x
    WHERE x.execution_id = e.execution_id AND x.rule_key = p.rule_key
      AND x.token_from < c.token AND c.token <= COALESCE(x.token_until, c.token)) AS is_let_go
FROM public.claims c JOIN zart.runs USING (run_key) JOIN zart.executions e USING (execution_key)
JOIN zart.pause_rules p ON p.token_from < c.token AND c.token <= COALESCE(p.token_until, c.token)
    AND COALESCE(p.execution_id, e.execution_id) = e.execution_id
"""


@pytest.fixture
async def watched(zart_database: str) -> str:
    """A database that tells of every claim and every release when it committed."""
    db = await asyncpg.connect(zart_database)
    await db.execute(WATCH_RELEASES)
    await db.close()
    return await record_claims(zart_database)


async def test_no_claim_commits_of_what_was_taken_back_on_three_servers(watched: str) -> None:
    chance = random.Random(SEED)
    db = await asyncpg.connect(watched)
    with serving(watched) as first, serving(watched) as two, serving(watched) as three:
        clients = [zart.connect(s.address) for s in (first, two, three)]
        for name in NAMES:
            await clients[0].start("t", execution_id=name, steps=specs(GRAPH, retry=RETRY))
        stop = asyncio.Event()
        workers = [asyncio.create_task(dispatch(clients[n % 3], stop, n)) for n in range(6)]
        receipts = []
        cycles = Cycles(clients, db, chance)
        for _ in range(CYCLES):
            for rule_id in await cycles.play():
                one_of = chance.choice(clients)
                receipts.append(await served(functools.partial(one_of.verify_pause_rule, rule_id)))
        stop.set()
        await asyncio.gather(*workers)
        for client in clients:
            await client.close()
    by_commits = {tuple(row) for row in await db.fetch(BY_COMMITS)}
    by_tokens = {tuple(row) for row in await db.fetch(BY_TOKENS)}
    await db.close()

    assert cycles.taken >= WAYS - {"retry"}  # for which a step must just have failed
    assert sum(is_let_go for *_, is_let_go in by_commits) > CYCLES / 8
    assert {row for row in by_commits if not row[2]} == set()
    assert by_tokens == by_commits
    assert all(receipt.clean for receipt in receipts)
    assert sum(receipt.released_attempts for receipt in receipts) > CYCLES / 8
