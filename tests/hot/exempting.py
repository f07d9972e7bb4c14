"""What rules exempt and take back: found by the execution and by the attempt, among a thousand."""

from __future__ import annotations

from hot.claiming import WANTED
from hot.explained import Explained
from hot.pausing import QUEUED, paused
from hot.scenario import BATCH, scenario
from hot.states import MANY
from zart_server.domain.commands import Caller, Expiry, UpdatePauseRule
from zart_server.domain.model import PauseScope
from zart_server.engine.background.release_pieces import release_exempt
from zart_server.engine.operations.settle_rule import settle_rule_of_execution
from zart_server.engine.operations.update_pause_rule import update_pause_rule
from zart_server.store.claims import claim_past_settling
from zart_server.store.due import Begin
from zart_server.store.pausing.active import read_active
from zart_server.store.pausing.settling import (
    is_any_queued,
    lanes_to_settle,
    settle_lane,
    settle_released,
)
from zart_server.store.pausing.work import PauseWork, end_releasing
from zart_server.store.reads import get_pause_rule

HELD = f"x-{MANY + 1}"
_OF_MANY = PauseScope(None, "many", None)
_ALL_SETTLED = "DELETE FROM zart.pause_work"


async def exempting(tx: Explained, *others: str) -> int:
    """Add a rule that exempts a thousand executions which there are not, and others."""
    key = await paused(tx, _OF_MANY)
    await tx.sql.execute(
        "INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)"
        " SELECT $1, id, 0 FROM ("
        "    SELECT 'y-' || n AS id FROM generate_series(1, 1000) n"
        "    UNION ALL SELECT * FROM unnest($2::text[])) i",
        key,
        list(others),
    )
    return key


async def taken_back(tx: Explained) -> int:
    """Add a settled rule that had released what is queued, and took back each second of it."""
    key = await paused(tx, _OF_MANY)
    await tx.sql.execute(_ALL_SETTLED)
    await tx.sql.execute(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from,"
        " token_until) SELECT $1, run_key, step_no, attempt, 0, CASE run_key % 4 WHEN 0 THEN 1 END"
        " FROM zart.queue",
        key,
    )
    await tx.sql.execute(
        "INSERT INTO zart.pause_work (rule_key, work, of_released) VALUES ($1, 'settle', true)", key
    )
    return key


# The answer has the rule's counts, which read all that it matches up to a bound.
_COUNTS = ("pausing.counting.withheld_steps", "pausing.counting.in_flight")


@scenario(500, whole="pause_exemptions", apart=_COUNTS)
async def exempting_many(tx: Explained) -> None:
    key = await paused(tx, _OF_MANY)
    rule_id = await tx.sql.fetchval("SELECT rule_id FROM zart.pause_rules WHERE rule_key = $1", key)
    ids = tuple(f"x-{MANY + n}" for n in range(1, 501))
    command = UpdatePauseRule(rule_id, ids, (), None)
    _, updated = await update_pause_rule(tx.alone, command, Caller(), 1.0)
    assert (updated.released_steps, updated.withheld_again_steps) == (500, 0)
    assert len(updated.rule.exempt_execution_ids) == 500
    command = UpdatePauseRule(rule_id, (), ids, Expiry())
    _, updated = await update_pause_rule(tx.alone, command, Caller(), 1.0)
    assert (updated.released_steps, updated.withheld_again_steps) == (0, 500)
    read = await get_pause_rule(tx.tx, rule_id)
    assert (read.rule_id, read.exempt_execution_ids) == (updated.rule.rule_id, ())


@scenario(1)
async def settling_what_is_exempt_no_longer(tx: Explained) -> None:
    key = await exempting(tx)
    await tx.sql.execute(_ALL_SETTLED)
    await settle_rule_of_execution(tx.tx, PauseWork(key, "settle", QUEUED))
    found = await tx.sql.fetchval("SELECT count(*) FROM zart.held WHERE rule_key = $1", key)
    assert found == 1


@scenario(100)
async def settling_around_what_is_exempt(tx: Explained) -> None:
    key = await exempting(tx, QUEUED)
    lanes = await lanes_to_settle(tx.tx, key)
    assert lanes is not None
    await settle_lane(tx.tx, key, lanes[0], None, 100)
    found = await tx.sql.fetchval("SELECT count(*) FROM zart.held WHERE rule_key = $1", key)
    assert found == 99


@scenario(100)
async def settling_what_was_taken_back(tx: Explained) -> None:
    key = await taken_back(tx)
    is_any, end = await is_any_queued(tx.tx, key, None, 100)
    _, first = await settle_released(tx.tx, key, None, 100)
    assert (is_any, end) == (True, first)
    await settle_released(tx.tx, key, first, 100)
    found = await tx.sql.fetchval("SELECT count(*) FROM zart.held WHERE rule_key = $1", key)
    assert found == 100


@scenario(5 * BATCH)
async def claiming_while_what_was_taken_back_settles(tx: Explained) -> None:
    await taken_back(tx)
    claimed, moved = await claim_past_settling(tx.tx, WANTED, Begin())
    assert len(claimed) == BATCH
    assert 100 < moved < 150


@scenario(5 * BATCH)
async def claiming_while_a_rule_settles_around_what_is_exempt(tx: Explained) -> None:
    await exempting(tx, QUEUED)
    claimed, moved = await claim_past_settling(tx.tx, WANTED, Begin())
    assert (len(claimed), moved) == (1, 5 * BATCH - 1)


@scenario(1)
async def releasing_what_is_exempt(tx: Explained) -> None:
    assert not await release_exempt(tx.tx, 1, HELD)
    assert not await tx.sql.fetchval("SELECT EXISTS (SELECT FROM zart.held WHERE run_key = $1)", 1)


@scenario(1)
async def ending_releases_of_what_is_exempt(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.pause_work (rule_key, work, execution_id)"
        f" SELECT 1, 'release', 'x-' || {MANY} + n FROM generate_series(1, 100) n"
    )
    for name in (HELD, QUEUED):
        await end_releasing(tx.tx, PauseWork(1, "release", name))
    left = "SELECT execution_id FROM zart.pause_work WHERE execution_id = ANY($1::text[])"
    assert [row[0] for row in await tx.sql.fetch(left, [HELD, QUEUED])] == [HELD]


@scenario(1_001, whole="pause_exemptions")
async def reading_the_rules_and_what_they_exempt(tx: Explained) -> None:
    await exempting(tx)
    _, active = await read_active(tx.tx)
    assert [len(rule.exempt) for rule in active] == [1000]
