"""What happens now and then: tasks registered, rules looked after, old requests deleted."""

from __future__ import annotations

from hot.explained import Explained
from hot.pausing import QUEUED, paused
from hot.scenario import scenario
from hot.states import MANY
from zart_server.domain.commands import Caller, RegisterTask
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.model import PauseScope, StepSpec
from zart_server.engine.operations.expire import expire
from zart_server.engine.operations.register_task import register_task
from zart_server.store.definitions import touch_asked
from zart_server.store.handler_inputs import measure, read_large
from zart_server.store.pausing.rules import find_rule, pauses_due
from zart_server.store.pausing.work import has_rule_to_itself, pause_work
from zart_server.store.reads.definitions import get_task_definition
from zart_server.store.requests import purge_requests
from zart_server.store.runs import start_runs
from zart_server.store.steps import RerunSteps, insert_rerun_steps


@scenario(1)
async def registering(tx: Explained) -> None:
    """A task that is new, and one that has many inline graphs."""
    steps = (StepSpec("a", (), "new"), StepSpec("b", ("a",), "new"))
    for name, graph in (("new", steps), ("new", steps[:1]), ("many", steps)):
        await register_task(tx.tx, RegisterTask(name, WrittenGraph.of(graph)), Caller())
    for version in (None, 1, 2):
        found = await get_task_definition(tx.tx, "many", version)
        assert found.version == (version or 2)
    await touch_asked(tx.tx, ["new", "other"], 2.5)


@scenario(1)
async def looking_after_rules(tx: Explained) -> None:
    key = await paused(tx, PauseScope(QUEUED, None, None))
    rule_id = await tx.sql.fetchval("SELECT rule_id FROM zart.pause_rules WHERE rule_key = $1", key)
    assert await find_rule(tx.tx, rule_id)
    assert await has_rule_to_itself(tx.tx, key)
    assert [work[:2] for work in await pause_work(tx.tx)] == [(key, "settle")]
    await tx.sql.execute("UPDATE zart.pause_rules SET expires_at = now()")
    assert await pauses_due(tx.tx)
    assert await expire(tx.alone) == 1


@scenario()
async def purging_requests(tx: Explained) -> None:
    """Of old ones among those that came later into the room of what was removed."""
    await tx.sql.execute(
        "UPDATE zart.requests SET created_at = now() - interval '8 days'"
        " WHERE ctid >= '(2,0)' AND ctid < '(3,0)'"
    )
    now = await tx.sql.fetchval("SELECT now()")
    assert await purge_requests(tx.tx, now, 2, 1)
    assert not await purge_requests(tx.tx, now, 10**6, 1)


@scenario(2)
async def reading_what_is_large(tx: Explained) -> None:
    assert len(await read_large(tx.tx, [1, 2], [(1, 0), (2, 1)])) == 4
    assert len(await measure(tx.tx, [(1, 0), (2, 1)], 10**6)) == 2


@scenario(20)
async def starting_runs(tx: Explained) -> None:
    await start_runs(tx.tx, list(range(MANY + 1, MANY + 21)))


@scenario(20)
async def inserting_steps_of_reruns(tx: Explained) -> None:
    new = 10**9  # a run that nobody has
    steps = RerunSteps(
        [(new + n, n, 0) for n in range(1, 21)], [(new + n, 1, 0) for n in range(1, 21)]
    )
    await insert_rerun_steps(tx.tx, steps)
    count = await tx.sql.fetchval("SELECT count(*) FROM zart.steps WHERE run_key > $1", new)
    assert count == 40
