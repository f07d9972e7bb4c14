"""Counts look at so many steps at once, however many the runs have."""

from __future__ import annotations

import pytest
from hot.explained import explained
from lanes import queue

from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.db import Database
from zart_server.store.reads import execution_counts
from zart_server.store.reads.execution_counts import count_executions

RUNS, STEPS = 60, 200


async def test_so_many_steps_are_looked_at_and_no_more(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_counts, "_LOOKING", 3600.0)  # all pieces, on any machine
    await queue(store, lanes=STEPS, tasks=RUNS)
    async with explained(store) as tx:
        found = await count_executions(tx.tx, ExecutionFilter("t"))

        assert (found.total, found.total_is_lower_bound) == (RUNS, False)
        assert (found.by_status, found.by_step_status) == (
            {RunStatus.SCHEDULED: RUNS},
            {StepStatus.SCHEDULED: RUNS},
        )
        looks = [plan for plan in tx.plans if plan.function.endswith("execution_counts._states_of")]
        assert len(looks) == 3
        # Whether one is completed, and whether one is pending.
        most = 2 * (execution_counts._STEPS + STEPS) + RUNS
        assert max(plan.looked_at("steps") for plan in looks) <= most


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.CANCELLED])
async def test_what_all_runs_of_a_status_have_is_not_looked_for(
    store: Database, status: RunStatus
) -> None:
    await queue(store, lanes=STEPS, tasks=10)
    async with explained(store) as tx:
        await tx.sql.execute("DELETE FROM zart.queue")
        for table in ("steps", "runs"):
            await tx.sql.execute(
                f"UPDATE zart.{table} SET status = $1, completed_at = now()", status.value
            )
        found = await count_executions(tx.tx, ExecutionFilter("t"))

        state = StepStatus(status.value)
        assert (found.by_status, found.by_step_status) == ({status: 10}, {state: 10})
        if status is RunStatus.COMPLETED:
            [look] = [one for one in tx.plans if one.function.endswith("._states_of")]
            assert look.looked_at("steps") == 10
