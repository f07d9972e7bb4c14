"""Leases queued tasks in one transaction, and fills in what their handlers need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from zart_server.domain.dispatch import LeasedTask, LeaseTasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.task_parts import TaskParts, gather, read_large_inputs
from zart_server.store.claims import Claim, Claimed, claim, claim_past_settling
from zart_server.store.connection import Connection, Tx
from zart_server.store.due import Begin, DueLane
from zart_server.store.handler_inputs import read_large
from zart_server.store.leases import unclaim
from zart_server.store.queue import task_id_of

_MOVES_AT_MOST = 20  # batches that a claim moves aside before it gives up for now


class _Found(NamedTuple):
    """The tasks that a call claimed.

    ``is_early``: none, and it is too early to look at all lanes. ``emptied_from``: when the look at
    all lanes began that left nothing.
    """

    claimed: list[Claimed]
    is_early: bool = False
    emptied_from: float | None = None


async def lease_tasks(tx: Tx, command: LeaseTasks, low_water: LowWater) -> list[LeasedTask]:
    """Lease up to ``max_tasks`` tasks that are due, oldest first; fewer if they exceed 8 MiB.

    The transaction began with the pause lock, shared (``SHARE_PAUSE_LOCK``): a claim is either
    before a Pause, and committed, or sees its rule. Waits for no row.
    """
    found = await _claim(tx, command, low_water, is_last=True)
    return await _fill_in(tx, command, low_water, found)


async def lease_unless_early(
    tx: Tx, command: LeaseTasks, low_water: LowWater
) -> list[LeasedTask] | None:
    """Lease as ``lease_tasks`` does; None: nothing, and it is too early to look at all lanes."""
    found = await _claim(tx, command, low_water, is_last=False)
    return None if found.is_early else await _fill_in(tx, command, low_water, found)


async def _fill_in(
    tx: Tx, command: LeaseTasks, low_water: LowWater, found: _Found
) -> list[LeasedTask]:
    """Read what the handlers of claimed tasks need, and put back what does not fit."""
    kept, left = await gather(tx, found.claimed)
    if left:
        await unclaim(tx, [part.claimed for part in left])
        low_water.put_back([_cursor_of(part) for part in left])
        for part in left:  # others have seen them locked, and may wait for a wake
            lane = _cursor_of(part)
            tx.changes.queued(lane.task_name, lane.handler)
            tx.changes.put_back(lane.task_name, lane.handler, lane.lane, lane.cursor)
    elif found.emptied_from is not None:
        low_water.emptied(command.task_names, command.handlers, found.emptied_from)
    if not kept:
        return []
    large = await _read_large(tx, kept)
    await read_large_inputs(tx, kept)
    ttl = command.lease_duration
    return [_leased(part, large, ttl) for part in kept]


async def _claim(tx: Tx, command: LeaseTasks, low_water: LowWater, *, is_last: bool) -> _Found:
    """Claim from the low-water marks on; if that yields too few, from all lanes.

    Where that is too early, only the last look of a call (``is_last``) does it.
    """
    wanted = Claim(
        command.task_names,
        command.handlers or None,
        command.max_tasks,
        command.dispatcher_id,
        command.principal,
        command.lease_duration.total_seconds(),
    )
    lanes = command.task_names, command.handlers
    begin = low_water.to_claim(*lanes)
    claimed: list[Claimed] = []
    while True:
        began = time.monotonic()
        found = await claim(tx, wanted, begin)
        if found.stood_aside:
            past = await _claim_past_settling(tx, wanted, low_water.to_look(*lanes))
            return _Found(claimed + past)
        claimed += found.claimed
        is_enough = len(claimed) == command.max_tasks
        low_water.claimed(*lanes, begin, found, is_enough=is_enough)
        if is_enough:
            return _Found(claimed)
        if not found.is_more:
            if not begin.is_only:
                return _Found(claimed, emptied_from=began)
            may_look = low_water.take_look(*lanes)
            if not may_look and (claimed or not is_last):
                return _Found(claimed, is_early=not claimed)
            begin = low_water.to_look(*lanes)
        wanted = replace(wanted, max_tasks=command.max_tasks - len(claimed))


async def _claim_past_settling(tx: Tx, wanted: Claim, begin: Begin) -> list[Claimed]:
    for _ in range(_MOVES_AT_MOST):
        claimed, moved = await claim_past_settling(tx, wanted, begin)
        if claimed or not moved:
            return claimed
    return []


def _cursor_of(part: TaskParts) -> DueLane:
    claimed, step = part.claimed, part.definition.graph.steps[part.claimed.step_no]
    cursor = claimed.not_before, claimed.queue_no
    return DueLane(claimed.lane, part.definition.task_name, step.handler, cursor, 0)


async def _read_large(
    connection: Connection, parts: Sequence[TaskParts]
) -> dict[tuple[int, int], str]:
    """Read the texts that were too large to read before it was known that they fit.

    Payloads stand under step number -1.
    """
    payloads = {
        p.claimed.run_key for p in parts if p.run.payload_bytes and p.run.payload_json is None
    }
    results = {
        (p.claimed.run_key, dep) for p in parts for dep, text in p.upstream.items() if text is None
    }
    if not payloads and not results:
        return {}
    return await read_large(connection, sorted(payloads), sorted(results))


def _leased(part: TaskParts, large: dict[tuple[int, int], str], ttl: timedelta) -> LeasedTask:
    claimed, run, steps = part.claimed, part.run, part.definition.graph.steps
    payload = run.payload_json
    if payload is None:
        payload = large.get((claimed.run_key, -1))
    upstream = {
        steps[dep].step_name: large[claimed.run_key, dep] if text is None else text
        for dep, text in part.upstream.items()
    }
    return LeasedTask(  # by position: by name it takes twice as long
        task_id_of(claimed.run_key, claimed.step_no, claimed.attempt),
        claimed.lease_token,
        run.execution_id,
        run.run_number,
        part.definition.task_name,
        run.definition_key,
        claimed.step_no,
        steps[claimed.step_no],
        claimed.attempt,
        claimed.max_attempts,
        payload,
        upstream,
        [steps[dep].step_name for dep in part.omitted] if part.omitted else (),
        claimed.lease_expires_at,
        ttl,
        run.traceparent,
        (claimed.lease_expires_at - ttl - claimed.not_before).total_seconds(),
        claimed.correction,
        part.corrected_input,
        [steps[dep].step_name for dep in part.skipped] if part.skipped else (),
    )
