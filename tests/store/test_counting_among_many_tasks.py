"""What rules by step names withhold is counted among so many tasks of their lanes, and no more.

A lane is of all steps with one handler, and each task's name is compared: a pattern that matches
none would go through a whole backlog, for each rule.
"""

from __future__ import annotations

import pytest
from hot.explained import explained

from zart_server.domain.commands import Caller, Pause, Resume, StartExecution
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.model import IfExists, PauseScope, StepSpec
from zart_server.engine.operations.pause import count_paused, pause
from zart_server.engine.operations.resume import plan_resume
from zart_server.engine.operations.start import start_executions
from zart_server.store.db import Database
from zart_server.store.pausing.counting import Withheld, withheld_steps
from zart_server.store.pausing.matching import LOOKED_AT, find_matching, looked_at_of_each
from zart_server.store.reads.blast_radius import count_matched_now

_RULES = 1_000
_EACH = looked_at_of_each(_RULES)
_TASKS = 5 * _EACH
# One execution with a step each of two names, of one handler, and many more tasks in their lane.
_MORE = """
    INSERT INTO zart.{table} (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, step_name{columns})
    SELECT -n, 0, (SELECT lane FROM zart.lanes WHERE step_name IS NULL), 1, 0, 0, 3, 600, -n,
        now() - interval '1 hour', now(), 'pack'{values}
    FROM generate_series(1, $1) n
"""
_RULES_OF_NONE = """
    WITH rules AS (
        INSERT INTO zart.pause_rules (rule_id, task_name, step_pattern, step_regex, everything,
            reason, created_by, epoch)
        SELECT 'pr-' || n, 't', 'ship-' || n, '^ship-' || n || '$', false, '', '', 1
        FROM generate_series(1, $1) n
        RETURNING rule_key
    ), work AS (
        INSERT INTO zart.pause_work (rule_key, work)
        SELECT rule_key, 'settle' FROM rules WHERE $2
    )
    SELECT rule_key FROM rules
"""


async def _started(store: Database) -> None:
    graph = WrittenGraph.of([StepSpec("pack", (), "h"), StepSpec("ship", (), "h")])
    async with store.transaction() as tx:
        await start_executions(tx, [StartExecution("x", "t", "1", graph, IfExists.FAIL, Caller())])


@pytest.mark.parametrize(
    ("table", "columns", "values"), [("queue", "", ""), ("held", ", rule_key", ", 0")]
)
async def test_many_rules_look_at_so_many_tasks_together(
    store: Database, table: str, columns: str, values: str
) -> None:
    await _started(store)
    async with explained(store) as tx:
        await tx.sql.execute(_MORE.format(table=table, columns=columns, values=values), _TASKS)
        rows = await tx.sql.fetch(_RULES_OF_NONE, _RULES, True)
        keys = [row[0] for row in rows]
        withheld = await withheld_steps(tx.tx, keys)
        found = await find_matching(tx.tx, keys, 10_001)

        assert withheld == dict.fromkeys(keys, Withheld(0, True))
        assert found == ([], True)
        for plan in tx.plans:
            assert plan.looked_at(table) <= 3 * _RULES * _EACH


async def test_rules_of_whole_lanes_are_exact_however_many_they_are(store: Database) -> None:
    await _started(store)
    async with store.transaction() as tx:
        await tx.execute(_MORE.format(table="queue", columns="", values=""), _TASKS)
        await tx.execute(
            "INSERT INTO zart.pause_rules (rule_id, task_name, everything, reason, created_by,"
            " epoch) SELECT 'pr-' || n, 't', false, '', '', 1 FROM generate_series(1, $1) n",
            _RULES,
        )
        await tx.execute(
            "INSERT INTO zart.pause_work (rule_key, work)"
            " SELECT rule_key, 'settle' FROM zart.pause_rules"
        )
        rows = await tx.fetch("SELECT rule_key FROM zart.pause_rules")
        found = await find_matching(tx, [row[0] for row in rows], 10_001)

    # The others are of no run, and what has no names is left out.
    assert (len(found.steps), found.is_look_cut) == (2, False)


async def test_a_rule_that_has_settled_looks_at_nothing_queued(store: Database) -> None:
    await _started(store)
    async with explained(store) as tx:
        await tx.sql.execute(_MORE.format(table="queue", columns="", values=""), _TASKS)
        keys = [row[0] for row in await tx.sql.fetch(_RULES_OF_NONE, _RULES, False)]
        withheld = await withheld_steps(tx.tx, keys)
        found = await find_matching(tx.tx, keys, 10_001)

        assert withheld == dict.fromkeys(keys, Withheld(0, False))
        assert found == ([], False)
        assert [plan.looked_at("queue") for plan in tx.plans] == [0, 0]


async def test_a_pause_counts_among_so_many_and_says_that_there_may_be_more(
    store: Database,
) -> None:
    await _started(store)
    scope = PauseScope(None, "t", "ship")
    async with store.transaction() as tx:
        await tx.execute(_MORE.format(table="queue", columns="", values=""), LOOKED_AT)
    async with store.autocommit() as connection:
        planned = await count_matched_now(connection, scope, "^ship$", 10_001)
        _, paused = await pause(connection, Pause(scope, None, None), Caller(), 1.0)
    async with store.autocommit() as connection:
        counted = await count_paused(connection, paused.rule.rule_id)
    async with store.autocommit() as connection:
        would = await plan_resume(connection, Resume(paused.rule.rule_id, scope), Caller())

    # The one that it matches comes after so many that it does not.
    assert (planned.ready, planned.is_lower_bound, planned.oldest_ready_at) == (0, True, None)
    assert (counted.paused_steps, counted.is_lower_bound) == (0, True)
    assert (would.released_steps, would.is_lower_bound) == (0, True)
