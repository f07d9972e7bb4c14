"""What a rule matches is found by index, and moved piece by piece."""

from __future__ import annotations

from typing import Any, cast

import pytest
from plans import MANY, Explained, check, explained

from zart_server.domain.commands import Caller, Pause, Resume
from zart_server.domain.model import PauseScope
from zart_server.domain.rule_set import Judgement
from zart_server.engine.operations.pause import count_paused, pause
from zart_server.engine.operations.resume import resume
from zart_server.engine.operations.settle_rule import settle_rule_of_execution
from zart_server.store.claims import Claim, claim_past_settling
from zart_server.store.due import Begin
from zart_server.store.pausing.paused import paused_by_rule, paused_in_runs, release
from zart_server.store.pausing.rules import read_changed
from zart_server.store.pausing.settling import lanes_to_settle, settle_lane
from zart_server.store.pausing.work import end_releases

QUEUED = MANY // 2
LIMIT = 10_001


async def paused(tx: Explained, scope: PauseScope) -> int:
    """Add a rule; gives its key."""
    _, rule = await pause(cast("Any", tx), Pause(scope, None, None), Caller(), 1.0)
    key: int = await tx.tx.fetchval(
        "SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1", rule.rule_id
    )
    return key


@pytest.mark.parametrize(
    ("scope", "count", "most"),
    [
        (PauseScope(None, "many", None), LIMIT - 1, LIMIT),
        (PauseScope(None, None, "a*"), LIMIT - 1, LIMIT),
        (PauseScope(None, None, "b"), 0, 0),
        (PauseScope(None, "other", None), 0, 0),
        (PauseScope(f"x-{MANY + 2}", None, None), 1, 5),
        (PauseScope(None, None, None, everything=True), LIMIT - 1, LIMIT),
    ],
    ids=lambda value: str(value) if isinstance(value, PauseScope) else "",
)
async def test_counting(many: str, scope: PauseScope, count: int, most: int) -> None:
    async with explained(many) as tx:
        _, rule = await pause(cast("Any", tx), Pause(scope, None, None), Caller(), 1.0)
        tx.plans.clear()
        counts = await count_paused(cast("Any", tx), rule.rule_id)

        assert counts.paused_steps == count
        check(tx.plans, most)


async def test_settling(many: str) -> None:
    async with explained(many) as tx:
        key = await paused(tx, PauseScope(None, None, "a*"))
        tx.plans.clear()
        lanes = await lanes_to_settle(cast("Any", tx), key)
        assert lanes is not None
        assert len(lanes) == 1
        first = await settle_lane(cast("Any", tx), key, lanes[0], None, 100)
        second = await settle_lane(cast("Any", tx), key, lanes[0], first.end, 100)

        assert first.end is not None
        assert second.end is not None
        assert first.end < second.end
        check(tx.plans, 300)


async def test_settling_an_execution(many: str) -> None:
    async with explained(many) as tx:
        key = await paused(tx, PauseScope(f"x-{MANY + 2}", None, None))
        tx.plans.clear()
        await settle_rule_of_execution(cast("Any", tx), key)

        assert not await tx.tx.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")
        check(tx.plans, 5)


@pytest.mark.parametrize(
    ("scope", "most"),
    [
        (PauseScope(None, "many", None), 0),  # the lane is passed over
        (PauseScope(None, None, "b"), 50),  # the lane is not concerned
        (PauseScope("x-1", None, None), 0),  # that execution is finished
        (PauseScope(f"x-{MANY + 2}", None, None), 250),
    ],
)
async def test_claiming_while_rules_settle(many: str, scope: PauseScope, most: int) -> None:
    async with explained(many) as tx:
        await paused(tx, scope)
        tx.plans.clear()
        wanted = Claim(["many"], None, 50, "d", "", 30)
        claimed, moved = await claim_past_settling(cast("Any", tx), wanted, Begin())

        assert len(claimed) == (50 if scope.task_name is None else 0)
        assert moved == (scope.execution_id == f"x-{MANY + 2}")
        check(tx.plans, (max(most, 50) + 1) * 2)  # and the first of each lane


async def test_releasing(many: str) -> None:
    async with explained(many) as tx:
        first = await paused_by_rule(cast("Any", tx), 1, None, 100)
        second = await paused_by_rule(cast("Any", tx), 1, first[-1], 100)
        steps = await paused_in_runs(cast("Any", tx), 1, [at.run_key for at in second], 100)

        assert await release(cast("Any", tx), steps, Judgement([], 0)) == 100
        check(tx.plans, 300)


async def test_ending_releases(many: str) -> None:
    async with explained(many) as tx:
        await tx.tx.execute(
            "INSERT INTO zart.pause_work (rule_key, work)"
            " SELECT n, 'release' FROM generate_series(1, 500) n"
        )
        await end_releases(cast("Any", tx))

        assert await tx.tx.fetchval("SELECT array_agg(rule_key) FROM zart.pause_work") == [1]
        check(tx.plans, 500)


async def test_resuming_counts_by_index(many: str) -> None:
    async with explained(many) as tx:
        await paused(tx, PauseScope(f"x-{MANY + 2}", None, None))
        tx.plans.clear()
        _, resumed = await resume(
            cast("Any", tx), Resume(None, PauseScope(None, None, None)), Caller(), 1.0
        )

        assert (resumed.rules_deleted, resumed.released_steps) == (1, 1)
        check(tx.plans, 5)


async def test_reading_what_changed_of_the_rules(many: str) -> None:
    async with explained(many) as tx:
        await tx.tx.execute(
            "INSERT INTO zart.pause_rules (rule_id, execution_id, everything, reason, created_by,"
            " epoch) SELECT 'pr-' || n, 'y-' || n, false, '', '', n FROM generate_series(1, 10000) n"
        )
        await tx.tx.execute("ANALYZE zart.pause_rules")
        changed = await read_changed(cast("Any", tx), 9_990)

        assert changed is not None
        assert len(changed.added) == 10
        assert tx.plans[0].read("pause_rules") == 10
