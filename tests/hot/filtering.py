"""Filters: each way to what they match, for lists and for batches."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hot.explained import Explained
from hot.scenario import BATCH, scenario
from hot.states import GROUPS, MANY
from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.errors import FilterTooBroad
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.fingerprint import NEWEST
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.dead_steps import find_untold, has_untold, tell_kinds
from zart_server.store.grouping_version import do_all_know, find_version, use_version
from zart_server.store.reads.error_groups import list_error_groups
from zart_server.store.reads.execution_counts import count_executions
from zart_server.store.reads.filtered import find_filtered
from zart_server.store.reads.selected import select_page
from zart_server.store.regrouping import (
    Regrouped,
    delete_kinds_with_former,
    find_dead_of,
    find_kinds_with_former,
    find_live_kinds,
    has_regrouping_to_itself,
    move_dead,
)

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_MIDDLE = 20_000
_LOOKED_AT = 1_000  # runs for a page, where no index has all that is asked
_KINDS = 10_001  # one more than are looked at without a task's name
_DEAD = ExecutionFilter(step_statuses=(StepStatus.DEAD,))


async def _found(tx: Explained, *filters: ExecutionFilter) -> None:
    for wanted, task_name in itertools.product(filters, ("", "many")):
        of_task = replace(wanted, task_name=task_name)
        await find_filtered(tx.tx, of_task, _MIDDLE, BATCH)


@scenario()
async def filtering_by_statuses(tx: Explained) -> None:
    await _found(tx, ExecutionFilter(), ExecutionFilter(statuses=(RunStatus.FAILED,)), _DEAD)


@scenario(2 * GROUPS * BATCH)
async def filtering_by_groups(tx: Explained) -> None:
    by_group = ExecutionFilter(error_group_id="eg-1")
    await _found(
        tx, by_group, ExecutionFilter(step_pattern="b*"), replace(by_group, step_pattern="b")
    )


# Where very many kinds are live, those of a task are found by its name.
@scenario(_KINDS)
async def filtering_beside_very_many_kinds(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type,"
        " template) SELECT 1000 + n, 'eg-' || 1000 + n, 'other', 'b', 'Broken', 'no'"
        f" FROM generate_series(1, {_KINDS}) n"
    )
    await tx.sql.execute(
        "INSERT INTO zart.dead_steps (run_key, step_no, execution_key, group_key, listed_at,"
        " died_at) SELECT -n, 0, -n, 1000 + n, now(), now()"
        f" FROM generate_series(1, {_KINDS}) n"
    )
    for wanted in (ExecutionFilter("many"), ExecutionFilter("many", step_pattern="b*")):
        page = await list_error_groups(tx.tx, wanted, None, BATCH)
        assert len(page.items) == GROUPS
        await find_filtered(tx.tx, replace(wanted, step_pattern="b"), _MIDDLE, BATCH)
    of_task = [plan for plan in tx.plans if "(task_name, group_key)" in plan.sql]
    assert all("error_groups_by_task" in plan.indexes for plan in of_task)
    assert all(plan.looked_at("error_groups") <= 2 * GROUPS for plan in of_task)
    with pytest.raises(FilterTooBroad):
        await list_error_groups(tx.tx, ExecutionFilter(step_pattern="b*"), None, BATCH)


@scenario(_LOOKED_AT)
async def filtering_by_what_no_index_has(tx: Explained) -> None:
    recent = ExecutionFilter(created_after=_LONG_AGO)
    await _found(
        tx,
        replace(recent, triggered_by="nobody"),
        replace(recent, triggered_by="nobody", step_statuses=(StepStatus.DEAD,)),
        ExecutionFilter(execution_id_prefix="x-"),
        ExecutionFilter(execution_id_prefix="x-1234"),
        ExecutionFilter(batch_id="ba-many"),
        ExecutionFilter(batch_id="ba-many", error_group_id="eg-1"),
        ExecutionFilter(batch_id="ba-many", step_pattern="b", dead_after=_LONG_AGO),
        ExecutionFilter(execution_id_prefix="x-1234", step_pattern="b"),
        ExecutionFilter(error_group_id="eg-1", error_contains="yes"),
        ExecutionFilter(step_pattern="b", dead_after=_LONG_AGO),
        ExecutionFilter(dead_before=_LONG_AGO),
    )


@scenario(10_001)
async def filtering_by_states_of_steps(tx: Explained) -> None:
    paused = ExecutionFilter("many", step_statuses=(StepStatus.PAUSED,))
    await find_filtered(tx.tx, paused, None, BATCH)
    await find_filtered(tx.tx, replace(paused, execution_id_prefix="x-3"), None, BATCH)
    of_batch = replace(paused, batch_id="ba-many")
    await find_filtered(tx.tx, of_batch, None, BATCH)
    states = (StepStatus.DEAD, StepStatus.PENDING)
    await find_filtered(tx.tx, replace(of_batch, step_statuses=states), _MIDDLE, BATCH)
    for rest in (
        ExecutionFilter(),
        ExecutionFilter(dead_after=_LONG_AGO),
        ExecutionFilter(batch_id="ba-many"),
        ExecutionFilter(execution_id_prefix="x-"),
    ):
        await find_filtered(tx.tx, replace(rest, error_contains="yes"), None, BATCH)
    with contextlib.suppress(FilterTooBroad):
        await find_filtered(tx.tx, replace(paused, task_name=""), None, BATCH)


@scenario()
async def selecting_for_a_batch(tx: Explained) -> None:
    for wanted in (
        ExecutionFilter(),
        _DEAD,
        ExecutionFilter(error_group_id="eg-1"),
    ):
        await select_page(tx.tx, wanted, None, BATCH)


@scenario(1000)
async def selecting_steps_by_their_states(tx: Explained) -> None:
    wanted = ExecutionFilter("many", step_statuses=(StepStatus.PAUSED, StepStatus.PENDING))
    await select_page(tx.tx, wanted, None, BATCH)


@scenario()
async def telling_untold_deaths(tx: Explained) -> None:
    await tx.sql.execute("UPDATE zart.dead_steps SET group_key = NULL WHERE run_key <= 10000")
    assert await has_untold(tx.tx)
    untold = await find_untold(tx.tx, BATCH)
    assert len(untold) == BATCH
    kind = ErrorKind.of("many", "b", untold[0].dead.error, NEWEST)
    assert await tell_kinds(tx.tx, [one.dead for one in untold], [kind] * BATCH) == BATCH


@scenario()
async def regrouping(tx: Explained) -> None:
    assert await has_regrouping_to_itself(tx.tx)
    assert await find_version(tx.tx)
    assert await do_all_know(tx.tx, NEWEST)
    kinds = await find_live_kinds(tx.tx, -1, BATCH)
    old = kinds[0].kind
    dead = await find_dead_of(tx.tx, [one.key for one in kinds], BATCH)
    assert len(dead) == BATCH
    found = ErrorKind.of(old.task_name, old.step_name, dead[0].error, NEWEST)
    kind = found._replace(former_id=old.error_group_id, former_template=old.template)
    moved = [Regrouped(one, kind, kinds[0].first_seen) for one in dead]
    assert await move_dead(tx.tx, moved) == BATCH
    assert [one.kind for one in await find_kinds_with_former(tx.tx, BATCH)] == [kind]
    assert await delete_kinds_with_former(tx.tx, [kind.key]) == 0
    assert await use_version(tx.tx, NEWEST)


@scenario(_LOOKED_AT)
async def filtering_by_a_rule(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.pause_rules (rule_id, task_name, everything, reason, created_by)"
        " VALUES ('pr-many', 'many', false, '', ''), ('pr-none', 'none', false, '', '')"
    )
    await tx.sql.execute(
        "UPDATE zart.held SET rule_key = (SELECT max(rule_key) - 1 FROM zart.pause_rules)"
    )
    for rule_id, batch_id in itertools.product(("pr-many", "pr-none"), ("", "ba-many")):
        wanted = ExecutionFilter(rule_id=rule_id, batch_id=batch_id)
        await select_page(tx.tx, wanted, None, BATCH)


@scenario(MANY // 5)
async def counting_errors(tx: Explained) -> None:
    for wanted in (
        ExecutionFilter(),
        ExecutionFilter("many", error_group_id="eg-1"),
        ExecutionFilter(dead_after=_LONG_AGO),
        ExecutionFilter(statuses=(RunStatus.FAILED,), error_contains="no"),
        ExecutionFilter(execution_id_prefix="x-1234"),
        ExecutionFilter(batch_id="ba-many"),
        ExecutionFilter(dead_after=_LONG_AGO, created_after=_LONG_AGO),
    ):
        await list_error_groups(tx.tx, wanted, None, BATCH)


# Each is counted by an index, or looked at as far as there is time.
@scenario(2 * MANY)
async def counting_executions(tx: Explained) -> None:
    for wanted in (
        ExecutionFilter(),
        ExecutionFilter("many"),
        _DEAD,
        ExecutionFilter("many", step_statuses=(StepStatus.DEAD,)),
    ):
        await count_executions(tx.tx, wanted)
