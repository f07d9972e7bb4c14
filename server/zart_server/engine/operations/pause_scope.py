"""Finds out whether a scope names what there is, or what a rule withholds already."""

from __future__ import annotations

from zart_server.domain.errors import ScopeMatchesNothing
from zart_server.domain.globs import matches, to_regex
from zart_server.domain.model import PauseScope
from zart_server.domain.nearest import nearest, nearest_to_glob
from zart_server.domain.pause_plans import PauseWarnings
from zart_server.store.connection import Connection
from zart_server.store.pausing.equal_rules import equal_rules
from zart_server.store.reads.named import (
    find_execution,
    is_named,
    read_neighbours,
    read_step_names,
    read_task_names,
)

_MOST_EQUAL = 100  # rules that are told, each of which may have a reason of 1,000 bytes
_COST = 100  # of a name that is compared with another one, as bytes that are decoded


async def find_warnings(
    connection: Connection, scope: PauseScope, rule_id: str | None = None
) -> PauseWarnings:
    """Return what may not be meant by a scope; the rule that has it itself is left out."""
    found = await equal_rules(connection, scope, _MOST_EQUAL + 1)
    equal = [rule for rule in found if rule.rule_id != rule_id][:_MOST_EQUAL]
    return PauseWarnings(await find_mistake(connection, scope), tuple(equal))


async def find_mistake(connection: Connection, scope: PauseScope) -> ScopeMatchesNothing | None:
    """Return what a scope names that no definition and no unfinished execution has."""
    if scope.everything:
        return None
    if scope.execution_id is not None:
        return await _mistake_of_execution(connection, scope, scope.execution_id)
    task, pattern = scope.task_name, scope.step_pattern
    regex = None if pattern is None else to_regex(pattern)
    if await is_named(connection, task, regex):
        return None
    if task is not None and (pattern is None or not await is_named(connection, task, None)):
        names = await read_task_names(connection)
        near = await connection.aside(_COST * len(names), nearest, task, names)
        why = f"no task {task!r} is registered, or has an unfinished execution"
        return ScopeMatchesNothing("task_name", why, near)
    whose = "of any task" if task is None else f"of task {task!r}"
    names = await read_step_names(connection, task)
    near = await connection.aside(_COST * len(names), nearest_to_glob, pattern or "", names)
    return ScopeMatchesNothing("step_pattern", f"no step {whose} matches {pattern!r}", near)


async def _mistake_of_execution(
    connection: Connection, scope: PauseScope, execution_id: str
) -> ScopeMatchesNothing | None:
    found = await find_execution(connection, execution_id)
    if found is None:
        near = nearest(execution_id, await read_neighbours(connection, execution_id))
        return ScopeMatchesNothing("execution_id", f"no execution {execution_id!r}", near)
    whose = f"execution {execution_id!r}"
    if found.status.is_finished:
        why = f"{whose} is {found.status.name}: nothing of it is to run"
        return ScopeMatchesNothing("execution_id", why)
    if scope.task_name not in (None, found.task_name):
        why = f"{whose} is of another task than {scope.task_name!r}"
        return ScopeMatchesNothing("task_name", why, [found.task_name])
    pattern = scope.step_pattern
    if pattern is None or any(matches(pattern, name) for name in found.step_names):
        return None
    near = nearest_to_glob(pattern, found.step_names)
    return ScopeMatchesNothing("step_pattern", f"no step of {whose} matches {pattern!r}", near)
