"""Rules: what they match is found by index, and moved piece by piece."""

from __future__ import annotations

from hot.explained import Explained
from hot.scenario import scenario
from hot.states import MANY, OTHERS
from zart_server.domain.commands import Caller, Pause, Resume
from zart_server.domain.model import PauseScope
from zart_server.domain.plans import Planning
from zart_server.domain.rule_set import Judgement
from zart_server.engine.operations.pause import count_paused, pause
from zart_server.engine.operations.plan_pause import plan_pause
from zart_server.engine.operations.resume import resume
from zart_server.engine.operations.settle_rule import settle_rule_of_execution
from zart_server.store.pausing.active import read_changed
from zart_server.store.pausing.counting import in_flight, undrained_rules, withheld_steps
from zart_server.store.pausing.drains import forget_drains, undrain, write_drained
from zart_server.store.pausing.matching import find_matching
from zart_server.store.pausing.paused import paused_by_rule, paused_in_runs, release
from zart_server.store.pausing.settling import lanes_to_settle, settle_lane
from zart_server.store.pausing.work import PauseWork, end_releasing
from zart_server.store.reads.rules import find_rules
from zart_server.store.runs import lock_runs

QUEUED = f"x-{MANY + 2}"
ALL = 10_001  # what is counted at most


async def paused(tx: Explained, scope: PauseScope) -> int:
    """Add a rule; gives its key."""
    _, paused = await pause(tx.alone, Pause(scope, None, None), Caller(), 1.0)
    key: int = await tx.sql.fetchval(
        "SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1", paused.rule.rule_id
    )
    return key


async def counted(tx: Explained, scope: PauseScope) -> int:
    """Add a rule and count what it matches."""
    _, paused = await pause(tx.alone, Pause(scope, None, None), Caller(), 1.0)
    return (await count_paused(tx.alone, paused.rule.rule_id)).paused_steps


# Whatever is in flight is counted.
@scenario(ALL, whole="leases")
async def counting_a_task(tx: Explained) -> None:
    assert await counted(tx, PauseScope(None, "many", None)) == ALL - 1


# Whatever is in flight is counted.
@scenario(ALL, whole="leases")
async def counting_some_steps(tx: Explained) -> None:
    assert await counted(tx, PauseScope(None, None, "a*")) == ALL - 1


# Likewise; and executions are counted page by page.
@scenario(ALL, whole="leases")
async def planning_a_pause(tx: Explained) -> None:
    command = Pause(
        PauseScope(None, "many", "a*"), None, None, planning=Planning(validate_only=True)
    )
    plan = (await plan_pause(tx.alone, command, Caller())).plan
    assert plan is not None
    assert plan.radius.counts.paused_steps == ALL - 1


@scenario(OTHERS, whole="leases")
async def counting_nothing(tx: Explained) -> None:
    assert await counted(tx, PauseScope(None, "other", None)) == 0
    assert await counted(tx, PauseScope(None, None, "b")) == 0


# A rule of more than an execution would count all that is in flight.
@scenario(1, whole="leases")
async def pausing_an_execution(tx: Explained) -> None:
    assert await counted(tx, PauseScope(QUEUED, None, None)) == 1


# Whatever is in flight is counted.
@scenario(ALL, whole="leases")
async def counting_everything(tx: Explained) -> None:
    assert await counted(tx, PauseScope(None, None, None, everything=True)) == ALL - 1


@scenario(100)
async def settling(tx: Explained) -> None:
    key = await paused(tx, PauseScope(None, None, "a*"))
    lanes = await lanes_to_settle(tx.tx, key)
    assert lanes is not None
    assert len(lanes) == 1
    first = await settle_lane(tx.tx, key, lanes[0], None, 100)
    second = await settle_lane(tx.tx, key, lanes[0], first.end, 100)
    assert first.end is not None
    assert second.end is not None
    assert first.end < second.end


@scenario(1)
async def settling_an_execution(tx: Explained) -> None:
    key = await paused(tx, PauseScope(QUEUED, None, None))
    await settle_rule_of_execution(tx.tx, PauseWork(key, "settle"))
    assert not await tx.sql.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")


@scenario(100)
async def releasing(tx: Explained) -> None:
    first = await paused_by_rule(tx.tx, 1, None, 100)
    second = await paused_by_rule(tx.tx, 1, first[-1], 100)
    runs = await lock_runs(tx.tx, [at.run_key for at in second], wait=False)
    steps = await paused_in_runs(tx.tx, 1, list(runs), 100)
    rules = [7 if n % 2 else None for n in range(len(steps))]
    assert await release(tx.tx, steps, Judgement(rules, 0)) == 100


@scenario(1)
async def ending_releases(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.pause_work (rule_key, work)"
        " SELECT n, 'release' FROM generate_series(1, 500) n"
    )
    for rule_key in (1, 2):
        await end_releasing(tx.tx, PauseWork(rule_key, "release"))
    found = "SELECT array_agg(rule_key ORDER BY rule_key) FROM zart.pause_work WHERE rule_key < 4"
    assert await tx.sql.fetchval(found) == [1, 3]


@scenario(1)
async def resuming_an_execution(tx: Explained) -> None:
    await paused(tx, PauseScope(QUEUED, None, None))
    _, resumed = await resume(tx.alone, Resume(None, PauseScope(None, None, None)), Caller(), 1.0)
    assert (resumed.rules_deleted, resumed.released_steps) == (1, 1)


@scenario(20)
async def finding_some(tx: Explained) -> None:
    keys = [
        await paused(tx, PauseScope(None, "many", None)),
        await paused(tx, PauseScope(QUEUED, None, None)),
    ]
    assert len((await find_matching(tx.tx, keys, 20)).steps) == 20


# Half of its queued steps: it goes past what the rule has let go, and exempts.
@scenario(MANY // 2)
async def finding_some_behind_what_went(tx: Explained) -> None:
    key = await paused(tx, PauseScope(None, "many", None))
    await tx.sql.execute(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)"
        " SELECT $1, run_key, step_no, attempt, 0 FROM zart.queue"
        " ORDER BY not_before, queue_no LIMIT 50",
        key,
    )
    await tx.sql.execute(
        "INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)"
        " SELECT $1, 'x-' || n, 0 FROM generate_series($2::int, $2 + 149) n",
        key,
        MANY + 1,
    )
    found, _ = await find_matching(tx.tx, [key], 20)
    assert len({execution_id for execution_id, *_ in found}) == 20
    assert min(int(execution_id[2:]) for execution_id, *_ in found) > MANY + 150


@scenario(10)
async def reading_what_changed_of_the_rules(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.pause_rules (rule_id, execution_id, everything, reason, created_by,"
        " epoch) SELECT 'pr-' || n, 'y-' || n, false, '', '', n FROM generate_series(1, 10000) n"
    )
    changed = await read_changed(tx.tx, 9_990)
    assert changed is not None
    assert len(changed.put) == 10
    assert all(plan.looked_at("pause_rules") == 10 for plan in tx.plans)


# Whatever is in flight is counted.
@scenario(OTHERS, whole="leases")
async def looking_for_drained_rules(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.pause_rules (rule_id, task_name, everything, reason, created_by, epoch)"
        " SELECT 'pr-' || n, 't-' || n, false, '', '', n FROM generate_series(1, 1000) n"
    )
    await tx.sql.execute("UPDATE zart.pause_drains SET drained_at = now()")
    some = await paused(tx, PauseScope(None, None, "b"))
    none = await paused(tx, PauseScope(None, None, "c"))
    own = await paused(tx, PauseScope(QUEUED, None, None))
    seen = await undrained_rules(tx.tx)
    assert [(rule.rule_key, rule.running) for rule in seen] == [(some, OTHERS), (none, 0), (own, 0)]
    assert [rule.rule_key for rule in await in_flight(tx.tx, [some, own])] == [some, own]
    assert len(await write_drained(tx.tx, seen[1:])) == 2
    await undrain(tx.tx, none)
    await forget_drains(tx.tx, [none])
    assert [rule.rule_key for rule in await undrained_rules(tx.tx)] == [some]


@scenario(ALL, whole="leases")
async def counting_what_is_withheld(tx: Explained) -> None:
    keys = [
        await paused(tx, PauseScope(None, "many", None)),
        await paused(tx, PauseScope(QUEUED, None, None)),
    ]
    await tx.sql.execute(
        "INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)"
        " SELECT $1, 'x-' || n, 0 FROM generate_series($2::int, $2 + 99) n",
        keys[0],
        MANY + 1,
    )
    found = await withheld_steps(tx.tx, keys)
    assert found == {keys[0]: (ALL - 1, True), keys[1]: (1, False)}


@scenario(100)
async def reading_rules_by_their_ids(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.pause_rules (rule_id, task_name, everything, reason, created_by, epoch)"
        " SELECT 'pr-' || n, 't-' || n, false, '', '', n FROM generate_series(1, 1000) n"
    )
    assert len(await find_rules(tx.tx, [f"pr-{n}" for n in range(1, 101)])) == 100
