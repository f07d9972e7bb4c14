"""VerifyPauseRule: the receipt of a rule, whatever ran before, meanwhile and after."""

from __future__ import annotations

import asyncio

import pytest
from rig import CHAIN, LONG, Rig, eventually
from waiting import GIVE_UP

import zart
from zart.errors import PauseRuleNotFound, PauseUnproven, PauseViolated
from zart.testing.server import ServerUnderTest

MOVED = """
    BEGIN; SET LOCAL zart.purge = 'on';
    UPDATE zart.steps SET lease_token = (
        SELECT token_from + 1 FROM zart.pause_rules WHERE rule_id = '{rule_id}')
    WHERE status = 'completed' AND step_no = 0;
    COMMIT
"""

UNTIL = "BEGIN; SET LOCAL zart.purge = 'on'; UPDATE zart.pause_rules SET token_until = {}; COMMIT"

# Verifications: what a server does by itself may wait for the same lock.
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
        AND query LIKE '%next AS MATERIALIZED%'
"""


async def test_a_receipt_tells_what_was_in_flight_and_what_came_before_and_after(rig: Rig) -> None:
    await rig.start("before", {"a": ()})
    await rig.work()
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    paused = await rig.client.pause(task_name="t")
    await rig.complete(task)

    standing = await rig.client.verify_pause_rule(paused.rule_id)
    assert (standing.clean, standing.is_complete) == (True, True)
    assert standing.window_started_at == paused.rule.created_at
    assert standing.window_ended_at is None
    assert (standing.checked_attempts, standing.in_flight_at_start) == (2, 1)
    assert standing.last_before is not None
    assert (standing.last_before.execution_id, standing.last_before.step_name) == ("x", "a")
    assert standing.last_before.dispatcher_id == "d"
    assert standing.last_before.ended_at is not None
    assert standing.first_after is None
    standing.raise_if_violated()
    standing.raise_unless_clean()

    resumed = await rig.client.resume(rule_id=paused.rule_id)
    await rig.complete(await rig.lease_one("b"))
    await rig.work()
    ended = await rig.client.verify_pause_rule(paused.rule_id)
    assert (ended.clean, ended.checked_attempts, ended.in_flight_at_start) == (True, 4, 1)
    assert ended.window_ended_at == resumed.rules[0].deleted_at
    assert ended.first_after is not None
    assert (ended.first_after.step_name, ended.first_after.attempt) == ("b", 1)
    assert (ended.exempt_attempts, ended.released_attempts) == (0, 0)


async def test_a_step_that_is_in_flight_still_is_known_by_its_lease(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.lease_one("a")
    paused = await rig.client.pause(execution_id="x")
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    assert (receipt.clean, receipt.checked_attempts, receipt.in_flight_at_start) == (True, 1, 1)
    assert receipt.last_before is not None
    assert receipt.last_before.ended_at is None


async def test_it_is_caught_if_something_was_leased_meanwhile(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()})
    await rig.start("y", {"a": (), "b": ()})
    paused = await rig.client.pause(execution_id="x", step_pattern="a")
    await rig.start("others", {"a": ()}, task="others")
    await rig.work(task="others")
    await rig.work()
    await rig.client.resume(rule_id=paused.rule_id)
    await rig.complete(await rig.lease_one("a"))
    assert (await rig.client.verify_pause_rule(paused.rule_id)).clean

    await rig.db.execute(MOVED.format(rule_id=paused.rule_id))
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    assert (receipt.clean, receipt.is_complete) == (False, True)
    (violation,) = receipt.violations
    assert (violation.execution_id, violation.step_name) == ("x", "a")
    assert not receipt.violations_is_lower_bound
    with pytest.raises(PauseViolated, match=r"attempt 1 of x:run:0/a, by d") as caught:
        receipt.raise_if_violated()
    assert caught.value.attempts == (violation,)
    with pytest.raises(PauseViolated, match=r"attempt 1 of x:run:0/a, by d"):
        receipt.raise_unless_clean()


async def test_what_was_exempt_or_released_when_it_was_leased_is_no_violation(rig: Rig) -> None:
    """By tokens: what was let go later, or taken back before, is one all the same."""
    names = [f"n{n}" for n in range(6)]
    paused = await rig.client.pause(task_name="t")
    for name in names:
        await rig.start(name, {"a": ()})
    await rig.client.resume(rule_id=paused.rule_id)
    while tasks := await rig.lease(1, wait=LONG if len(rig.leased) < len(names) else 0):
        await rig.complete(*tasks)
    await rig.db.execute(UNTIL.format("(SELECT max(lease_token) FROM zart.steps)"))
    rows = await rig.db.fetch(
        "SELECT rule_key, token_from, run_key, e.execution_id, lease_token FROM zart.pause_rules,"
        " zart.steps JOIN zart.runs USING (run_key) JOIN zart.executions e USING (execution_key)"
        " ORDER BY lease_token"
    )
    rule_key = rows[0]["rule_key"]
    # After so many leases: a claim that is begun anew leaves a gap.
    token = [rows[0]["token_from"], *(row["lease_token"] for row in rows)]
    for n, since, until in [(0, 0, None), (1, 0, 2), (2, 0, 2), (3, 4, None)]:
        await rig.db.execute(
            "INSERT INTO zart.pause_exemptions VALUES ($1, $2, $3, $4)",
            rule_key, rows[n]["execution_id"], token[since], None if until is None else token[until],
        )  # fmt: skip
    for n, since, until in [(0, 0, None), (4, 4, 5), (5, 6, None)]:
        await rig.db.execute(
            "INSERT INTO zart.released_steps VALUES ($1, $2, 0, 1, $3, $4)",
            rule_key, rows[n]["run_key"], token[since], None if until is None else token[until],
        )  # fmt: skip
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    assert (receipt.exempt_attempts, receipt.released_attempts) == (2, 1)
    assert [v.execution_id for v in receipt.violations] == [
        rows[n]["execution_id"] for n in (2, 3, 5)
    ]


async def test_at_most_a_thousand_violations_are_listed_the_first_ones(rig: Rig) -> None:
    paused = await rig.client.pause(execution_id="x")
    await rig.start("x", {f"n{n}": () for n in range(1100)})
    await rig.client.resume(rule_id=paused.rule_id)
    async with asyncio.timeout(GIVE_UP):
        while await rig.run_status() != "COMPLETED":
            await rig.complete(*await rig.lease(1000, wait=LONG))
    await rig.db.execute(UNTIL.format("token_from + 1000000"))
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    assert (len(receipt.violations), receipt.violations_is_lower_bound) == (1000, True)
    first = await rig.db.fetch(
        "SELECT step_name FROM zart.steps JOIN zart.runs USING (run_key)"
        " JOIN zart.definitions USING (definition_key)"
        " CROSS JOIN LATERAL (SELECT step_names[step_no + 1] AS step_name) s"
        " ORDER BY lease_token LIMIT 1000"
    )
    assert [v.step_name for v in receipt.violations] == [row[0] for row in first]


async def test_a_preserved_step_counts_once_where_it_was_run(rig: Rig) -> None:
    await rig.dead("x", CHAIN, step="b")
    paused = await rig.client.pause(execution_id="x")
    await rig.client.rerun("x")
    assert await rig.statuses() == {"a": "COMPLETED", "b": "PAUSED", "c": "PENDING"}
    await rig.client.resume(rule_id=paused.rule_id)
    await rig.complete(await rig.lease_one("b"))
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    assert (receipt.clean, receipt.checked_attempts) == (True, 3)  # a and b of run 0, b of run 1
    assert receipt.first_after is not None
    assert (receipt.first_after.run_number, receipt.first_after.step_name) == (1, "b")


async def test_what_was_purged_makes_a_receipt_incomplete(rig: Rig) -> None:
    early = await rig.client.pause(task_name="t")
    await rig.client.resume(rule_id=early.rule_id)
    await rig.start("x", {"a": ()})
    await rig.work()
    await rig.start("elsewhere", {"a": ()}, task="elsewhere")
    await rig.work(task="elsewhere")
    others = await rig.client.pause(task_name="other")
    rule = await rig.client.pause(task_name="t")
    await rig.client.resume(rule_id=rule.rule_id)
    everything = await rig.client.pause(step_pattern="*")
    await rig.start("long", {"a": ()}, task="long")
    await rig.client.cancel_execution("long")
    await rig.db.execute(
        "BEGIN; SET LOCAL zart.purge = 'on';"
        "DELETE FROM zart.steps; DELETE FROM zart.runs; DELETE FROM zart.executions; COMMIT"
    )
    late = await rig.client.pause(task_name="t")
    await rig.db.execute("UPDATE zart.history SET joined_at = joined_at - interval '2 hours'")
    found = {
        name: await rig.client.verify_pause_rule(each.rule_id)
        for name, each in {
            "early": early, "others": others, "rule": rule, "everything": everything, "late": late,
        }.items()
    }  # fmt: skip
    assert {name: receipt.is_complete for name, receipt in found.items()} == {
        "early": True,  # before x was started
        "others": True,
        "rule": True,  # x had ended by then
        "everything": False,
        "late": True,
    }
    assert (found["everything"].clean, found["everything"].gaps) == (False, ("RUNS_PURGED",))
    found["everything"].raise_if_violated()
    with pytest.raises(PauseUnproven, match=r"not complete: runs of that time were purged$"):
        found["everything"].raise_unless_clean()


async def test_what_is_left_of_what_was_purged_is_told(rig: Rig) -> None:
    await rig.start("left", {"a": ()})
    await rig.work()
    paused = await rig.client.pause(task_name="t")
    await rig.start("gone", {"a": ()})
    await rig.client.cancel_execution("gone")
    purged = "IN (SELECT execution_key FROM zart.executions WHERE execution_id = 'gone')"
    await rig.db.execute(
        "BEGIN; SET LOCAL zart.purge = 'on'; DELETE FROM zart.steps WHERE run_key IN"
        f" (SELECT run_key FROM zart.runs WHERE execution_key {purged});"
        f"DELETE FROM zart.runs WHERE execution_key {purged};"
        "DELETE FROM zart.executions WHERE execution_id = 'gone'; COMMIT"
    )
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    receipt.raise_if_violated()
    with pytest.raises(PauseUnproven, match=r"were purged; the 1 attempts that are left violate"):
        receipt.raise_unless_clean()


def test_a_receipt_that_is_not_clean_for_a_reason_of_the_future_proves_nothing() -> None:
    receipt = zart.PauseReceipt(
        clean=False,
        window_started_at=None,
        window_ended_at=None,
        checked_attempts=1,
        in_flight_at_start=0,
        exempt_attempts=0,
        released_attempts=0,
        last_before=None,
        first_after=None,
        violations=(),
        violations_is_lower_bound=False,
        is_complete=True,
    )
    with pytest.raises(PauseUnproven, match="does not call the receipt clean"):
        receipt.raise_unless_clean()


async def test_a_rule_of_an_older_server_cannot_be_judged(rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t")
    await rig.db.execute("UPDATE zart.pause_rules SET token_from = NULL")
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    assert (receipt.clean, receipt.gaps, receipt.checked_attempts) == (False, ("OLDER_SERVER",), 0)
    assert receipt.window_started_at == paused.rule.created_at
    receipt.raise_if_violated()
    with pytest.raises(
        PauseUnproven, match=r"a server older than receipts added or ended the rule"
    ):
        receipt.raise_unless_clean()

    ended = await rig.client.pause(task_name="t")
    await rig.db.execute(
        "UPDATE zart.pause_rules SET deleted_at = now() WHERE rule_id = $1", ended.rule_id
    )
    receipt = await rig.client.verify_pause_rule(ended.rule_id)
    assert (receipt.clean, receipt.is_complete) == (False, False)


async def test_an_unknown_rule_is_not_found(rig: Rig) -> None:
    with pytest.raises(PauseRuleNotFound):
        await rig.client.verify_pause_rule("pr-none")


async def test_verifications_take_turns_and_end_when_their_callers_leave(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Ten of them have one connection, and leave it as soon as nobody waits for them."""
    await rig.start("x", CHAIN)
    paused = await rig.client.pause(task_name="t")
    async with rig.locked("LOCK TABLE zart.steps IN ACCESS EXCLUSIVE MODE"):
        calls = [
            asyncio.create_task(rig.client.verify_pause_rule(paused.rule_id)) for _ in range(10)
        ]

        async def waiting() -> int:
            await rig.db.execute("SELECT pg_stat_clear_snapshot()")
            found: int = await rig.db.fetchval(WAITING)
            return found

        await eventually(waiting)
        assert await rig.client.list_pause_rules()
        assert await waiting() == 1
        for call in calls[:9]:
            call.cancel()
        ended = await asyncio.gather(*calls[:9], return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)
        await eventually(waiting)  # the tenth
    assert (await calls[9]).clean


def test_a_receipt_by_the_synchronous_client(zart_server: ServerUnderTest) -> None:
    with zart.connect_sync(zart_server.address) as client:
        paused = client.pause(task_name="t")
        receipt = client.verify_pause_rule(paused.rule_id)
        assert receipt.clean
        assert isinstance(receipt, zart.PauseReceipt)
