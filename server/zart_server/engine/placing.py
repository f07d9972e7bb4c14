"""Decides whether ready steps are queued or held, and does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.held import ReadyStep, insert_ready
from zart_server.store.rules import share_pause_lock


@dataclass(frozen=True, slots=True)
class Ready:
    """A step that became ready, and the names that pause rules and dispatchers go by."""

    execution_id: str
    task_name: str
    handler: str
    step: ReadyStep


def ready_step(
    definition: Definition,
    execution_id: str,
    run_key: int,
    step_no: int,
    *,
    attempt: int = 1,
    counted: int = 0,
    backoff_base: int = 0,
    max_attempts: int | None = None,
    delay: float = 0.0,
) -> Ready:
    """Describe a ready step; ``attempt`` is the next one, ``delay`` in seconds."""
    spec = definition.graph.steps[step_no]
    return Ready(
        execution_id,
        definition.task_name,
        spec.handler,
        ReadyStep(
            run_key=run_key,
            step_no=step_no,
            lane=definition.lanes[step_no],
            step_name=spec.step_name,
            attempt=attempt,
            counted=counted,
            backoff_base=backoff_base,
            max_attempts=max_attempts or spec.retry_policy.max_attempts,
            timeout_seconds=spec.timeout.total_seconds(),
            delay=delay,
            rule_key=None,
        ),
    )


async def place(tx: Tx, ready: Sequence[Ready]) -> dict[tuple[int, int], int | None]:
    """Queue ready steps, or hold those that an active pause rule matches.

    The last thing a transaction does that may wait: it takes the pause lock, shared, and keeps it
    to the commit, so that a Pause either is seen here or sees what is queued here. Gives the rule
    key by run key and step number, None for queued steps.
    """
    if not ready:
        return {}
    await share_pause_lock(tx)
    while True:
        keys = await tx.pauses.judge(
            tx, [(item.execution_id, item.task_name, item.step.step_name) for item in ready]
        )
        steps = [
            item.step if key is None else replace(item.step, rule_key=key)
            for item, key in zip(ready, keys, strict=True)
        ]
        if await insert_ready(tx, steps, tx.pauses.epoch):
            break
        # The rules changed before we had the lock; now they cannot, so this happens once.
        await tx.pauses.refresh(tx)
    for item, key in zip(ready, keys, strict=True):
        if key is None:
            tx.changes.queued(item.task_name, item.handler, item.step.delay)
    return {(step.run_key, step.step_no): step.rule_key for step in steps}
