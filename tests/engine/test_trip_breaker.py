"""A breaker opens: by itself, once, for what it counts; and by hand."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from breaking import (
    BAD,
    ONE,
    breaker,
    count_by_now,
    count_not_yet,
    fail,
    until,
    until_counted,
)
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.models import StepError
from zart.testing.server import ServerUnderTest, serving
from zart_server.domain.fingerprint import NEWEST, OLDEST, fingerprint
from zart_server.engine.background import breakers
from zart_server.store.breaking import counts

NOTE_LOOKS = """
    CREATE TABLE public.looks (looked_at timestamptz);
    CREATE FUNCTION note_look() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN INSERT INTO public.looks VALUES (NEW.looked_at); RETURN NULL; END$$;
    CREATE TRIGGER note_look AFTER UPDATE ON zart.breaker_looks
        FOR EACH ROW EXECUTE FUNCTION note_look()
"""


async def test_it_opens_when_enough_has_ended_badly(rig: Rig) -> None:
    await rig.db.execute(NOTE_LOOKS)
    breaker_id = await breaker(rig.client, incident="INC-7")
    await fail(rig, 2)
    assert (await until_counted(rig.client, breaker_id, 2)).status == "CLOSED"

    await fail(rig, 1, "y")
    recorded = await rig.db.fetchval("SELECT clock_timestamp()")
    found = await until(rig.client, breaker_id, "OPEN")

    assert (found.trip_count, found.last_error, found.failures_in_window) == (1, BAD, 0)
    (rule,) = await rig.client.list_pause_rules()
    assert rule.rule_id == found.rule_id
    assert (rule.task_name, rule.step_pattern) == ("t", "charge*")
    assert rule.created_by == f"breaker {breaker_id}"
    assert rule.reason == "CardError: card 4711 was declined"
    assert (rule.breaker_id, rule.incident) == (breaker_id, "INC-7")
    await rig.start("later", ONE)
    assert await rig.lease() == []
    assert await rig.statuses("later") == {"charge": "PAUSED"}
    # By the first look that began after it, of those that begin each half second.
    looks = await rig.db.fetchval(
        "SELECT count(*) FROM public.looks WHERE looked_at BETWEEN $1 AND $2",
        recorded,
        found.opened_at,
    )
    assert looks <= 1
    assert breakers._TICK + counts._RARELY < 2


async def test_a_clock_that_went_back_blinds_no_breaker(rig: Rig) -> None:
    """As that of a replica which is promoted, and was minutes behind."""
    breaker_id = await breaker(rig.client)
    await rig.db.execute(
        "UPDATE zart.breaker_looks SET looked_at = statement_timestamp() + interval '10 minutes'"
    )
    await fail(rig, 3)
    assert (await until(rig.client, breaker_id, "OPEN")).last_error == BAD


async def test_lost_and_timed_out_attempts_count_and_others_do_not(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, failure_threshold=2)
    for name in ("lost", "given-back", "cancelled"):
        await rig.start(name, ONE)
    await rig.start("other", {"ship": ()})
    leased = {t.execution_id: t for t in await rig.lease(lease_duration=3600)}
    await rig.client.cancel_execution("cancelled")
    for name, ending in (
        ("given-back", zart.Released()),
        ("other", zart.Failed(BAD, retryable=False)),
        ("lost", zart.Failed(BAD, retryable=False)),
    ):
        task = leased[name]
        await rig.report(zart.Outcome(task.task_id, task.lease_token, ending))
    await until_counted(rig.client, breaker_id, 1)

    await rig.lease(lease_duration=3600)
    await rig.db.execute("UPDATE zart.leases SET lease_expires_at = now() - interval '1 second'")
    await until(rig.client, breaker_id, "OPEN")
    assert await rig.db.fetchval("SELECT count(*) FROM zart.attempts WHERE status = 'lost'") == 1


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
async def test_only_errors_of_its_group_count(rig: Rig, version: int) -> None:
    """Of whichever version its id is, and whichever is in use."""
    error = StepError("CardError", "card 1 of 01ARZ3NDEKTSV4RRFFQ69G5FAV was declined", "")
    group = fingerprint(error.type, error.message, version).error_group_id
    breaker_id = await breaker(rig.client, error_group_id=group)
    await fail(rig, 3, "other", error=StepError("CardError", "no route to host", ""))
    await fail(rig, 2, error=error)
    assert (await until_counted(rig.client, breaker_id, 2)).status == "CLOSED"
    await fail(rig, 1, "y", error=error, retryable=True)  # which makes no step dead
    assert (await until(rig.client, breaker_id, "OPEN")).last_error == error


async def test_an_id_that_only_newer_servers_tell_disturbs_no_other_breaker(rig: Rig) -> None:
    group = fingerprint("CardError", "no", NEWEST).error_group_id
    newer = await breaker(rig.client, error_group_id=group)
    await rig.db.execute(
        "UPDATE zart.breakers SET error_group_id = 'eg-9' || substr(error_group_id, 5)"
        " WHERE breaker_id = $1",
        newer,
    )
    breaker_id = await breaker(rig.client)
    await fail(rig, 5, error=StepError("CardError", "no", ""))
    await until(rig.client, breaker_id, "OPEN")
    assert (await rig.client.get_breaker(newer)).status == "CLOSED"


async def test_a_ratio_is_of_what_ended(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, failure_threshold=2, min_failure_ratio=0.5)
    await count_by_now(rig, breaker_id)
    without = await breaker(rig.client, failure_threshold=100)

    async def completed() -> int:
        found = await rig.db.fetchval("SELECT COALESCE(sum(completed), 0) FROM zart.breaker_counts")
        return int(found)

    # Each server learns of the breaker by itself: until then nothing is counted for it.
    done = 0
    async with asyncio.timeout(GIVE_UP):
        while await completed() < 5:
            await rig.start(f"good-{done}", ONE)
            await rig.complete(*await rig.lease())
            done += 1
    await fail(rig, 2)
    assert (await until_counted(rig.client, breaker_id, 2)).status == "CLOSED"

    await fail(rig, done + 2, "y")
    await until(rig.client, breaker_id, "OPEN")
    counted = await rig.db.fetchval(
        "SELECT sum(completed) FROM zart.breaker_counts JOIN zart.breakers USING (breaker_key)"
        " WHERE breaker_id = $1",
        without,
    )
    assert counted == 0


async def test_with_a_ratio_it_opens_only_once_each_server_has_told_what_it_completed(
    rig: Rig,
) -> None:
    long = 3600.0  # none of what is counted goes meanwhile
    breaker_id = await breaker(rig.client, failure_threshold=2, min_failure_ratio=0.5, window=long)
    without = await breaker(rig.client, failure_threshold=100, window=long)
    await count_not_yet(rig, breaker_id)
    await fail(rig, 5)
    await until_counted(rig.client, without, 5)
    found = await rig.client.get_breaker(breaker_id)
    assert (found.status, found.failures_in_window) == ("CLOSED", 5)

    await count_by_now(rig, breaker_id)
    await fail(rig, 1, "y")
    await until(rig.client, breaker_id, "OPEN")


async def test_what_was_leased_before_it_closed_does_not_count(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, failure_threshold=1)
    await rig.start("before", ONE)
    (before,) = await rig.lease()
    await rig.client.trip_breaker(breaker_id)
    await rig.client.reset_breaker(breaker_id)
    second = await breaker(rig.client, failure_threshold=1, step_pattern=None)

    await rig.fail(before)
    counting = await breaker(rig.client, failure_threshold=2)
    await fail(rig, 1)

    # Both have seen the attempt of before when they open for the one after it.
    for each in (breaker_id, second):
        assert (await until(rig.client, each, "OPEN")).trip_count == (
            2 if each == breaker_id else 1
        )
    assert (await until_counted(rig.client, counting, 1)).status == "CLOSED"


async def test_exempt_executions_do_not_count_and_stay_exempt(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, failure_threshold=2)
    first = (await rig.client.trip_breaker(breaker_id)).rule_id
    await rig.client.update_pause_rule(first, exempt=["x-0", "y-0"])
    await rig.client.update_pause_rule(first, unexempt=["y-0"])
    await rig.client.reset_breaker(breaker_id)

    await fail(rig, 2)
    await until_counted(rig.client, breaker_id, 1)
    await fail(rig, 1, "y")
    opened = await until(rig.client, breaker_id, "OPEN")

    rule = await rig.client.get_pause_rule(opened.rule_id)
    assert opened.rule_id != first
    assert rule.exempt_execution_ids == ("x-0",)
    await rig.client.retry_step("x-0", "charge")
    assert [t.execution_id for t in await rig.lease()] == ["x-0"]


async def test_tripping_an_open_one_does_nothing(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    first = await rig.client.trip_breaker(breaker_id, reason="by hand", triggered_by="bob")
    again = await rig.client.trip_breaker(breaker_id)

    assert (first.status, again.rule_id, again.breaker.trip_count) == ("OPEN", first.rule_id, 1)
    (rule,) = await rig.client.list_pause_rules()
    assert (rule.reason, rule.created_by) == ("by hand", f"breaker {breaker_id}")


async def test_all_who_trip_and_reset_at_once_make_one_rule_a_trip(
    zart_database: str, zart_server: ServerUnderTest, rig: Rig
) -> None:
    with serving(zart_database) as other:
        async with zart.connect(other.address, triggered_by="other") as second:
            breaker_id = await breaker(rig.client, failure_threshold=1)
            for n in range(12):
                clients = rig.client, second
                await asyncio.gather(
                    fail_if_there(rig, f"x-{n}"),
                    *(client.trip_breaker(breaker_id) for client in clients),
                    *(client.reset_breaker(breaker_id) for client in clients),
                )
    # No look is to open it once more behind the last reset.
    stopping = zart_server.running.runtime.breakers.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))
    await rig.client.reset_breaker(breaker_id)
    found = await rig.client.get_breaker(breaker_id)
    rules = await rig.db.fetch("SELECT * FROM zart.pause_rules WHERE breaker_id = $1", breaker_id)
    kinds = await rig.db.fetch(
        "SELECT kind, count(*), count(DISTINCT rule_id) AS rules FROM zart.operations"
        " WHERE breaker_id = $1 GROUP BY kind ORDER BY kind",
        breaker_id,
    )
    records = {row["kind"]: (row["count"], row["rules"]) for row in kinds}
    assert found.trip_count == len(rules) > 0
    assert records["breaker_opened"] == records["breaker_closed"] == (len(rules), len(rules))
    assert all(row["deleted_at"] is not None for row in rules)
    assert not await overlapping(rig.db)


async def fail_if_there(rig: Rig, execution_id: str) -> None:
    """Let an attempt end badly, unless the step is paused."""
    await rig.start(execution_id, ONE)
    for task in await rig.lease():
        await rig.fail(task)


async def overlapping(db: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Return whether two rules of one breaker ever stood at once."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM zart.pause_rules a JOIN zart.pause_rules b USING (breaker_id)"
        " WHERE a.rule_key < b.rule_key AND breaker_id <> ''"
        " AND tstzrange(a.created_at, a.deleted_at) && tstzrange(b.created_at, b.deleted_at))"
    )
    return found
