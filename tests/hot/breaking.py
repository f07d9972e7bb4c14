"""Breakers: what ended badly is found by its time, and who counts it by the task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hot.explained import Explained
from hot.pausing import paused
from hot.scenario import scenario
from zart_server.domain.breakers import BreakerSettings
from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.domain.operations import OperationKind
from zart_server.store.breaking.counts import (
    count_completed,
    count_failed,
    find_counting,
    find_counting_ratios,
    find_failed,
    find_reached,
    find_updated,
    has_breakers,
    purge_counts,
    read_error,
    take_look,
)
from zart_server.store.breaking.probes import (
    error_of_probes,
    find_probes,
    find_probes_of_rules,
    take_back,
)
from zart_server.store.breaking.rows import (
    drop_breaker,
    find_breaker,
    insert_breaker,
    list_breakers,
    lock_breaker,
    record,
    update_settings,
)
from zart_server.store.breaking.run_names import read_run_names
from zart_server.store.breaking.states import (
    close_before_its_rule,
    find_due,
    half_open,
    is_to_try,
    open_breaker,
    reopen,
)

_YOUNG = 50
_NOW = datetime.now(UTC)


async def breakers(tx: Explained, count: int, task: str = "b") -> list[int]:
    """Make breakers of as many tasks and return their keys."""
    for n in range(count):
        settings = BreakerSettings(
            f"{task}-{n}", None, 2, timedelta(minutes=1), 0.5, None, timedelta(0), 1, None
        )
        await insert_breaker(tx.tx, f"br-{task}-{n}", settings, Caller())
    rows = await tx.sql.fetch("SELECT breaker_key FROM zart.breakers ORDER BY breaker_key")
    return [row[0] for row in rows]


@scenario(_YOUNG)
async def finding_what_ended_badly(tx: Explained) -> None:
    """Not what ended by a clock that was ahead."""
    since = await tx.sql.fetchval("SELECT clock_timestamp()")
    for attempt, ahead in ((7, "0"), (8, "1 day")):
        await tx.sql.execute(
            "INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,"
            " lease_token, started_at, completed_at)"
            f" SELECT n, 0, {attempt}, 'failed', false, 'd', n, now(),"
            f" clock_timestamp() + interval '{ahead}' FROM generate_series(1, {_YOUNG}) n"
        )
    failed = await find_failed(tx.tx, since)
    assert len(failed) == _YOUNG
    await read_error(tx.tx, failed[0])
    assert all(plan.looked_at("attempts") <= _YOUNG for plan in tx.plans)


@scenario(_YOUNG)
async def reading_how_runs_are_called(tx: Explained) -> None:
    keys = await tx.sql.fetch(f"SELECT run_key FROM zart.runs ORDER BY 1 LIMIT {_YOUNG}")
    assert len(await read_run_names(tx.tx, [row[0] for row in keys])) == _YOUNG


@scenario(20)
async def finding_who_counts(tx: Explained) -> None:
    await breakers(tx, 20)
    assert len(await find_counting(tx.tx, [f"b-{n}" for n in range(5)])) == 5
    assert len(await find_counting_ratios(tx.tx)) == 20
    await take_look(tx.tx)
    assert await has_breakers(tx.tx)


# Whatever is counted is looked at once a minute.
@scenario(40, whole="breaker_counts")
async def counting(tx: Explained) -> None:
    keys = await breakers(tx, 20)
    now = await tx.sql.fetchval("SELECT date_trunc('second', statement_timestamp())")
    await count_failed(
        tx.tx, {(key, 1, now): 2 for key in keys}, {(keys[0], 1, now): 1, (keys[1], 2, now): 1}
    )
    await count_completed(tx.tx, {(key, 1): 1 for key in keys})
    await tx.sql.execute("UPDATE zart.breakers SET closed_at = closed_at - interval '1 hour'")
    assert len(await find_reached(tx.tx, dict.fromkeys(keys, 0))) == 20
    await purge_counts(tx.tx)


@scenario(20)
async def reading_breakers(tx: Explained) -> None:
    await breakers(tx, 20)
    assert await find_breaker(tx.tx, "br-b-0")
    assert len((await list_breakers(tx.tx, None, 10)).items) == 10


@scenario(20)
async def probing(tx: Explained) -> None:
    keys = await breakers(tx, 20)
    await tx.sql.execute(
        "UPDATE zart.breakers SET status = 'open', opened_at = now(), rule_key = -breaker_key"
    )
    assert len(await find_due(tx.tx)) == 20
    assert await is_to_try(tx.tx, "br-b-0")
    assert await half_open(tx.tx, keys[0])
    # Before it was half open its rule let go many more, which were leased.
    await tx.sql.execute(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from,"
        " token_until, released_at) SELECT $1, n, 0, 1, 0, CASE WHEN n > 20 THEN 0 END,"
        " now() + CASE WHEN n > 20 THEN -1 ELSE 1 END * interval '1 day'"
        " FROM generate_series(1, 1000) n",
        -keys[0],
    )
    found = await find_probes(tx.tx, "br-b-0")
    assert found is not None
    assert found.missing == 1 - min(found.good, 1)
    assert await find_probes_of_rules(tx.tx, [-key for key in keys]) == [found]
    await error_of_probes(tx.tx, keys[0])
    await take_back(tx.tx, -keys[0])


# The rule is that of no breaker yet, so that all rules are looked through once, by their key.
@scenario(20)
async def changing_one_breaker(tx: Explained) -> None:
    keys = await breakers(tx, 20)
    rule_key = await paused(tx, PauseScope(None, "b-0", None))
    rule_id = await tx.sql.fetchval(
        "SELECT rule_id FROM zart.pause_rules WHERE rule_key = $1", rule_key
    )
    row = await lock_breaker(tx.tx, "br-b-0")
    assert row is not None
    await update_settings(tx.tx, keys[0], row.breaker.settings, anew=True)
    assert await find_updated(tx.tx, _NOW - timedelta(hours=1)) == [keys[0]]
    await record(tx.tx, OperationKind.CREATE_BREAKER, row.breaker, Caller())
    await open_breaker(tx.tx, keys[0], rule_id, None, None)
    assert await reopen(tx.tx, keys[0], None, None, times=2)
    await close_before_its_rule(tx.tx, keys[0], Caller())
    row = await lock_breaker(tx.tx, "br-b-0")
    assert row is not None
    await drop_breaker(tx.tx, row)
    assert await find_breaker(tx.tx, "br-b-0") is None
