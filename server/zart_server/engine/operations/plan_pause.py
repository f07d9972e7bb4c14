"""Plans a Pause: its blast radius, counted without the pause lock, and what its token binds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zart_server.domain.commands import Caller, Pause, PauseCounts
from zart_server.domain.errors import InvalidField, ZartError
from zart_server.domain.globs import to_regex
from zart_server.domain.model import PauseRule, PauseRuleStatus, PauseScope
from zart_server.domain.pause_plans import BlastRadius, Paused, PausePlan
from zart_server.domain.plans import OF_PAUSE, Decisions, Planning, decided
from zart_server.engine.operations.pause_scope import find_warnings
from zart_server.engine.operations.plans import judge_plan, moved
from zart_server.store.clock import read_clock
from zart_server.store.connection import Autocommit, Connection
from zart_server.store.pausing.equal_rules import equal_rules
from zart_server.store.reads.blast_radius import (
    count_matched_now,
    find_to_run,
    ids_of_executions,
    unfinished_page,
)
from zart_server.store.reads.named import find_execution, hash_of_pairs

EXACT_TO = 10_000
_PAGE = 2_000  # executions
_SECONDS = 0.6  # then as many executions as were counted are a lower bound
_SAMPLE = 5


async def plan_pause(connection: Autocommit, command: Pause, caller: Caller) -> Paused:
    """Return the rule that a Pause would add, and what that would withhold.

    Raises as ``pause`` does, but for the pause lock, which this does not take.
    """
    now = await read_clock(connection)
    if command.expires_at is not None and command.expires_at <= now:
        raise await has_expired(connection, command.planning, OF_PAUSE)
    warnings = await find_warnings(connection, command.scope)
    if command.must_match and warnings.mistake is not None:
        raise warnings.mistake
    pairs = await find_pairs(connection, command.scope)
    decisions = await what_is_decided(connection, command.scope, pairs)
    token = await judge_plan(connection, command.planning, decisions)
    radius = await _radius(connection, command.scope)
    rule = PauseRule(
        rule_id="",
        scope=command.scope,
        reason=caller.reason,
        status=PauseRuleStatus.ACTIVE,
        created_at=now,
        created_by=caller.triggered_by,
        expires_at=command.expires_at if command.expires_in is None else now + command.expires_in,
        deleted_at=None,
        deleted_by="",
        principal=caller.principal,
        incident=caller.incident,
        expiry_rate=command.expiry_rate,
    )
    return Paused(rule, PausePlan(token, radius, warnings))


async def find_pairs(connection: Connection, scope: PauseScope) -> str:
    """Return what stands for the (task, step) pairs of definitions that a scope matches.

    Nothing orders it against a registration: it is as good before the pause lock is taken.
    """
    return await hash_of_pairs(connection, scope, _regex(scope))


async def what_is_decided(connection: Connection, scope: PauseScope, pairs: str) -> Decisions:
    """Return what a plan of a Pause binds, beside its request."""
    equal = await equal_rules(connection, scope)
    return decided(matching_steps=pairs, equal_rules=[rule.rule_id for rule in equal])


async def has_expired(
    connection: Connection, planning: Planning, bound: Sequence[str]
) -> ZartError:
    """Return the error of an expiry that has come; to a plan that is applied it was to come."""
    error = InvalidField("expires_at", "lies in the past")
    return await moved(connection, planning, bound, "time", error)


async def _radius(connection: Connection, scope: PauseScope) -> BlastRadius:
    now = await count_matched_now(connection, scope, _regex(scope), EXACT_TO + 1)
    counts = PauseCounts(min(now.ready, EXACT_TO), now.is_lower_bound, now.running)
    executions, is_lower_bound, sample = await count_to_run(connection, scope)
    sampled = await ids_of_executions(connection, sample)
    return BlastRadius(counts, executions, is_lower_bound, now.oldest_ready_at, sampled)


async def count_to_run(
    connection: Connection, scope: PauseScope, *, seconds: float = _SECONDS, page: int = _PAGE
) -> tuple[int, bool, list[int]]:
    """Count the unfinished executions with a matching step still to run, for so many seconds.

    Return also whether there may be more, and the keys of the first.
    """
    regex = _regex(scope)
    if scope.execution_id is not None:
        found = await find_execution(connection, scope.execution_id)
        if found is None or found.status.is_finished:
            return 0, False, []
        if scope.task_name not in (None, found.task_name):
            return 0, False, []
        keys = await find_to_run(connection, [found.run_key], regex)
        return len(keys), False, keys
    deadline = asyncio.get_running_loop().time() + seconds
    count, sample, before = 0, list[int](), None
    while True:
        runs, before = await unfinished_page(connection, scope.task_name, before, page)
        keys = await find_to_run(connection, runs, regex) if runs else []
        count += len(keys)
        sample += keys[: _SAMPLE - len(sample)]
        if before is None:
            return count, False, sample
        if asyncio.get_running_loop().time() >= deadline:
            return count, True, sample


def _regex(scope: PauseScope) -> str | None:
    return None if scope.step_pattern is None else to_regex(scope.step_pattern)
