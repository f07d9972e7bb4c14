"""Errors are searched for a text where any of the other conditions alone says that they are few."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from api.test_many_errors import LOAD
from batching import batch_of
from rig import Rig

import zart
from zart import ExecutionFilter, errors

# Of 32,000 dead steps 1,111 are of other executions: more than are read as a whole.
_OTHERS = "e.execution_id LIKE 'x-5%'"
_DIED_LONG_AGO = f"""
    UPDATE zart.dead_steps SET died_at = '2020-01-01Z' FROM zart.executions e
    WHERE e.execution_key = dead_steps.execution_key AND {_OTHERS}
"""
_CANCELLED = f"""
    UPDATE zart.runs SET status = 'cancelled' FROM zart.executions e
    WHERE e.execution_key = runs.execution_key AND {_OTHERS}
"""
_BATCH = batch_of("ba-some", _OTHERS)
_ERRORS = """
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, attempt, completed_at, error)
    SELECT r.run_key, 0, 'dead', 0, 1, now(), '{"type": "Broken", "message": "card 4711"}'
    FROM zart.runs r JOIN zart.executions e USING (execution_key)
    WHERE e.execution_id IN ('x-5000', 'x-5', 'x-31000')
"""
_TEXT = ExecutionFilter(error_contains="card 4711")


@pytest.mark.parametrize(
    "rest",
    [
        {"dead_before": datetime(2021, 1, 1, tzinfo=UTC)},
        {"execution_id_prefix": "x-5"},
        {"batch_id": "ba-some"},
        {"statuses": ["CANCELLED"]},
    ],
    ids=lambda rest: next(iter(rest)),
)
async def test_few_errors_are_searched_whatever_says_so(rig: Rig, rest: dict[str, Any]) -> None:
    await rig.client.register_task("order", [zart.StepSpec("pay")])
    for statement in (LOAD, _DIED_LONG_AGO, _CANCELLED, _BATCH, _ERRORS):
        await rig.db.execute(statement)

    found = rig.client.list_executions(replace(_TEXT, **rest), page_size=1000)
    assert [one.execution_id async for one in found] == ["x-5000", "x-5"]


async def test_many_errors_are_not_searched(rig: Rig) -> None:
    await rig.client.register_task("order", [zart.StepSpec("pay")])
    await rig.db.execute(LOAD)
    after = datetime(2021, 1, 1, tzinfo=UTC)
    for wanted in (_TEXT, replace(_TEXT, dead_after=after, execution_id_prefix="x-")):
        with pytest.raises(errors.FilterTooBroad) as refused:
            await rig.client.list_executions(wanted)
        assert refused.value.metadata["field"] == "filter.error_group_id"
