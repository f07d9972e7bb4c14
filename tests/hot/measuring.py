"""What metrics show of the database: a part of each large table, and what operators have set up."""

from __future__ import annotations

from hot.explained import Explained
from hot.scenario import scenario
from hot.states import MANY
from zart_server.store.reads.backlog import (
    estimate_dead,
    estimate_leased,
    estimate_paused,
    estimate_queued,
    read_parts,
)
from zart_server.store.reads.standing import (
    count_breakers,
    count_in_doubt,
    read_lanes,
    read_oldest_ended,
    read_standing_batches,
    read_standing_rules,
)

SAMPLED = MANY // 4  # rows of the pages that are read of any table


@scenario(SAMPLED)
async def reading_the_backlog(tx: Explained) -> None:
    parts = await read_parts(tx.tx)
    queued = await estimate_queued(tx.tx, parts.queue)
    assert sum(queued.values()) > 0
    await estimate_leased(tx.tx, parts.leases)
    await estimate_paused(tx.tx, parts.held)
    await estimate_dead(tx.tx, parts.dead_steps)
    paused = await estimate_paused(tx.tx, 1e-6, [1])  # of no page: the rule is looked up
    assert paused.by_rule.keys() == {1}


@scenario(10)
async def reading_what_stands(tx: Explained) -> None:
    assert await read_lanes(tx.tx, 0)
    await read_standing_rules(tx.tx)
    await read_oldest_ended(tx.tx)
    await count_breakers(tx.tx)
    await read_standing_batches(tx.tx)


@scenario(10_000)
async def counting_doubts(tx: Explained) -> None:
    await count_in_doubt(tx.tx)
