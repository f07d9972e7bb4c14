"""What is at hand of a step's task, of a row of ``STEPS``: only a step that is open has one.

Of what is not open nothing is looked up: most steps that are read have ended.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import asyncpg

from zart_server.domain.graph import Graph
from zart_server.domain.model import Attempt, AttemptStatus, StepStatus
from zart_server.domain.waiting import waiting_for_rule, waiting_for_steps, waiting_in_queue
from zart_server.store.queue import task_id_of


class StepTask(NamedTuple):
    """The task of a step that is open; of one that is not, nothing but the step's status.

    ``running`` is the attempt in flight.
    """

    status: StepStatus
    attempt: int = 0
    max_attempts: int | None = None
    task_id: str = ""
    not_before: datetime | None = None
    lease_owner: str = ""
    lease_expires_at: datetime | None = None
    leased_at: datetime | None = None
    paused_by: str = ""
    waiting_on: str = ""
    running: Attempt | None = None


_ENDED = {status.value: StepTask(status) for status in StepStatus}  # by the word of the tables


def step_status_of(row: asyncpg.Record) -> StepStatus:
    """Return a step's status as callers see it."""
    if row["status"] != "open":
        return _ENDED[row["status"]].status
    if row["lease_token"] is not None:
        return StepStatus.RUNNING
    if row["queued_attempt"] is None and row["held_attempt"] is None:
        return StepStatus.PENDING
    return StepStatus.SCHEDULED if row["rule_id"] is None else StepStatus.PAUSED


def task_of(
    row: asyncpg.Record, run_key: int, task_name: str, graph: Graph, statuses: dict[int, str]
) -> StepTask:
    """Return a step's task. ``statuses``: those of the steps that it depends on, by number."""
    if row["status"] != "open":
        return _ENDED[row["status"]]
    number = row["step_no"]
    status = step_status_of(row)
    attempt, running = row["attempt"], None
    if row["queued_attempt"] is not None:
        attempt = row["queued_attempt"] - (status is not StepStatus.RUNNING)
    elif row["held_attempt"] is not None:
        attempt = row["held_attempt"] - 1
    if status is StepStatus.RUNNING:
        running = Attempt(
            attempt,
            AttemptStatus.RUNNING,
            row["dispatcher_id"],
            None,
            row["leased_at"],
            None,
            row["principal"],
        )
    is_queued = status in (StepStatus.SCHEDULED, StepStatus.RUNNING) and row["queued_attempt"]
    return StepTask(
        status=status,
        attempt=attempt,
        max_attempts=row["queued_max"] or row["held_max"],
        task_id=task_id_of(run_key, number, row["queued_attempt"]) if is_queued else "",
        not_before=row["not_before"] or row["held_not_before"],
        lease_owner=row["dispatcher_id"] or "",
        lease_expires_at=row["lease_expires_at"],
        leased_at=row["leased_at"],
        paused_by=row["rule_id"] or "",
        waiting_on=_waiting_on(row, task_name, graph, status, statuses),
        running=running,
    )


def _waiting_on(
    row: asyncpg.Record,
    task_name: str,
    graph: Graph,
    status: StepStatus,
    statuses: dict[int, str],
) -> str:
    if status is StepStatus.PENDING:
        return waiting_for_steps(
            [
                graph.steps[dep].step_name
                for dep in graph.depends_on[row["step_no"]]
                if statuses.get(dep) != "completed"
            ]
        )
    if status is StepStatus.PAUSED:
        return waiting_for_rule(row["rule_id"], row["created_by"] or "", row["reason"] or "")
    if status is StepStatus.SCHEDULED:
        due = row["not_before"] or row["held_not_before"]
        return waiting_in_queue(task_name, due, row["now"], row["last_asked_at"])
    return ""
