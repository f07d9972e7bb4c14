"""History cannot be changed: the database refuses, whoever asks."""

from __future__ import annotations

import asyncpg
import pytest
from rig import CHAIN, Rig

COMPLETED_IN_A_CURRENT_RUN = """
    UPDATE zart.steps s SET result = '1' FROM zart.runs r
    WHERE r.run_key = s.run_key AND r.is_current AND s.status = 'completed'
"""


@pytest.fixture
async def history(rig: Rig) -> Rig:
    """Archived runs, a completed step of a current one, ended attempts, a deleted rule, and so on."""
    await rig.start("x", CHAIN)
    await rig.fail(await rig.lease_one("a"), retryable=True)
    await rig.work()
    await rig.client.restart("x")
    await rig.work(fail=["a"])
    await rig.client.retry_step("x", "a", input=1)
    rule = await rig.client.pause(task_name="t")
    await rig.client.resume(rule_id=rule.rule_id)
    await rig.start("y", task="u")  # what the rule withheld is queued again in its own time
    await rig.complete(*await rig.lease(task="u"))
    return rig


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE zart.runs SET error = 'x' WHERE run_number = 0",
        "DELETE FROM zart.runs WHERE run_number = 0",
        "UPDATE zart.steps SET result = '1' WHERE run_key = (SELECT min(run_key) FROM zart.runs)",
        "DELETE FROM zart.steps WHERE run_key = (SELECT min(run_key) FROM zart.runs)",
        COMPLETED_IN_A_CURRENT_RUN,
        "UPDATE zart.attempts SET status = 'failed'",
        "DELETE FROM zart.attempts",
        "UPDATE zart.operations SET triggered_by = 'nobody'",
        "DELETE FROM zart.operations",
        "UPDATE zart.pause_rules SET reason = 'x'",
        "DELETE FROM zart.pause_rules",
        "UPDATE zart.step_inputs SET input = '2'",
        "DELETE FROM zart.step_inputs",
        "TRUNCATE zart.step_inputs",
        "TRUNCATE zart.operations",
        "TRUNCATE zart.attempts",
        "TRUNCATE zart.steps",
        "TRUNCATE zart.runs CASCADE",
        "TRUNCATE zart.pause_rules",
    ],
)
async def test_the_database_refuses(history: Rig, statement: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match="cannot be changed or deleted"):
        await history.db.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE zart.executions SET task_name = 'other'",
        "DELETE FROM zart.executions",
        "TRUNCATE zart.executions",
    ],
)
async def test_the_database_keeps_executions(history: Rig, statement: str) -> None:
    """Whatever else there is of them."""
    with pytest.raises(asyncpg.PostgresError, match=r"executions? cannot be changed or deleted"):
        await history.db.execute(statement)


async def test_what_allows_a_purge_is_local_to_its_transaction(history: Rig) -> None:
    async with history.db.transaction():
        await history.db.execute("SET LOCAL zart.purge = 'on'")
        await history.db.execute("DELETE FROM zart.operations")
    await history.client.restart("x")
    with pytest.raises(asyncpg.PostgresError, match="cannot be changed or deleted"):
        await history.db.execute("DELETE FROM zart.operations")


@pytest.mark.parametrize(
    "view",
    [
        "zart_executions",
        "zart_execution_runs",
        "zart_steps",
        "zart_step_attempts",
        "zart_tasks",
        "zart_pause_rules",
        "zart_task_definitions",
        "zart_operations",
        "zart_requests",
    ],
)
async def test_operators_read_every_relation_of_the_contract(history: Rig, view: str) -> None:
    await history.client.register_task("reg", [__import__("zart").StepSpec("a")])
    rows = await history.db.fetch(f"SELECT * FROM public.{view}")
    assert rows
    for name in ("status", "trigger"):
        assert all(row[name] == row[name].lower() for row in rows if name in row.keys())


async def test_the_views_show_what_the_api_shows(history: Rig) -> None:
    run = (await history.client.list_runs("x"))[0]
    row = await history.db.fetchrow(
        "SELECT * FROM zart_execution_runs WHERE execution_id = 'x' AND run_number = 0"
    )
    assert row is not None
    assert (row["status"], row["trigger"], row["triggered_by"]) == (
        "completed",
        "initial",
        "tester",
    )
    assert row["created_at"] == run.created_at
    steps = await history.db.fetch(
        "SELECT step_name, status FROM zart_steps WHERE execution_id = 'x' AND run_number = 1"
    )
    assert {r["step_name"]: r["status"] for r in steps} == {
        "a": "scheduled",
        "b": "pending",
        "c": "pending",
    }
