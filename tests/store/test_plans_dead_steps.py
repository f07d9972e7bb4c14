"""The dead steps of a page are found by what went wrong, however long its runs are."""

from __future__ import annotations

from typing import Any, cast

from plans import MANY, check, explained

from zart_server.store.reads.dead_steps import read_dead_steps

# Each dead step of the fixture gets the attempt that it died of.
_DIED = """
    UPDATE zart.steps SET attempt = 1 WHERE status = 'dead';
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id, principal,
        lease_token, error, started_at, completed_at)
    SELECT run_key, step_no, 1, 'failed', false, 'd', '', 1,
        '{"type": "Broken", "message": "no", "details": "at length"}', now(), now()
    FROM zart.steps WHERE status = 'dead'
"""


async def test_dead_steps_of_a_page(many: str) -> None:
    async with explained(many) as tx:
        for statement in _DIED.split(";\n"):
            await tx.tx.execute(statement)
        keys = [
            row["run_key"]
            for row in await tx.tx.fetch(
                "SELECT run_key FROM zart.runs ORDER BY run_key LIMIT 100 OFFSET $1", MANY // 2
            )
        ]

        found = await read_dead_steps(cast("Any", tx), keys)

        assert len(found) == 20
        ((step,),) = set(found.values())
        assert step.step_name == "b"
        assert step.error is not None
        assert (step.error.type, step.error.message, step.error.details) == ("Broken", "no", "")
        check(tx.plans, 200, "attempts")
        assert sum(plan.read("steps") for plan in tx.plans) == 20  # none of those that are done
