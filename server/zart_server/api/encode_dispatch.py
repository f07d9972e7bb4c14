"""Domain to proto for dispatchers: leased tasks, and what became of outcomes and leases."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TypeAlias

from zart.v1 import dispatch_service_pb2
from zart_server.api.encode import duration, timestamp
from zart_server.domain import dispatch, model
from zart_server.domain.graph import memory_of

_REPORT_STATUS = {
    s: dispatch_service_pb2.ReportStatus.Value(f"REPORT_STATUS_{s.name}")
    for s in model.ReportStatus
}
_Of: TypeAlias = tuple[str, model.StepSpec]  # a task and its step


class LeasedTasks:
    """Encodes the leased tasks of one database.

    It keeps, as bytes, what tasks of one step have in common, by definition, step and lease:
    reading bytes is several times cheaper than setting fields. They are kept with the step that
    they tell of: a failover that loses a definition gives its key to another one. Kept are at most
    ``most`` bytes of memory together, or one step that takes more: each may have a large input.
    """

    def __init__(self, most: int = 16 * 1024 * 1024) -> None:
        self._most = most
        self._memory = 0
        self._alike: dict[tuple[int, int, timedelta], tuple[_Of, bytes]] = {}

    def add(
        self,
        items: Sequence[dispatch.LeasedTask],
        response: dispatch_service_pb2.LeaseTasksResponse
        | dispatch_service_pb2.ReportTasksResponse,
    ) -> None:
        """Add leased tasks to a response."""
        alike: dict[tuple[object, ...], bytes] = {}  # beside the step, in this response
        add = response.tasks.add
        for item in items:
            key = (
                item.definition_key,
                item.step_no,
                item.run_number,
                item.attempt,
                item.max_attempts,
                item.lease_ttl,
                item.lease_expires_at,
            )
            common = alike.get(key)
            if common is None:
                common = alike[key] = self._alike_of(item) + _numbers_of(item)
            task = add()
            task.MergeFromString(common)
            task.task_id = item.task_id
            task.lease_token = item.lease_token
            task.execution_id = item.execution_id
            task.run_id = model.run_id_of(item.execution_id, item.run_number)
            if item.payload_json is not None:
                task.payload_json = item.payload_json
            if item.correction:
                task.input_json = item.corrected_input_json or ""
                task.idempotency_key = dispatch.idempotency_key_of(
                    task.run_id, item.step.step_name, item.correction
                )
            if item.upstream_json:
                results = task.upstream_json
                for name, text in item.upstream_json.items():
                    results[name] = text
            if item.traceparent is not None:
                task.traceparent = item.traceparent
            if item.upstream_omitted:
                task.upstream_omitted.extend(item.upstream_omitted)
            if item.upstream_skipped:
                task.upstream_skipped.extend(item.upstream_skipped)

    def _alike_of(self, item: dispatch.LeasedTask) -> bytes:
        key = item.definition_key, item.step_no, item.lease_ttl
        of = item.task_name, item.step
        kept = self._alike.get(key)
        if kept is None or kept[0] != of:  # as a rule the same objects, which takes no time
            made = _alike(item).SerializeToString()
            self._memory += memory_of(item.step) + sys.getsizeof(made)
            if self._memory > self._most:
                self._alike.clear()
                self._memory = memory_of(item.step) + sys.getsizeof(made)
            kept = self._alike[key] = of, made
        elif kept[0][1] is not item.step:  # read again: from now on it is the same object again
            kept = self._alike[key] = of, kept[1]
        return kept[1]


def _numbers_of(item: dispatch.LeasedTask) -> bytes:
    return dispatch_service_pb2.LeasedTask(
        run_number=item.run_number,
        attempt=item.attempt,
        max_attempts=item.max_attempts,
        lease_expires_at=timestamp(item.lease_expires_at),
    ).SerializeToString()


def _alike(item: dispatch.LeasedTask) -> dispatch_service_pb2.LeasedTask:
    return dispatch_service_pb2.LeasedTask(
        task_name=item.task_name,
        step_name=item.step.step_name,
        handler=item.step.handler,
        input_json=item.step.input_json,
        timeout=duration(item.step.timeout),
        lease_ttl=duration(item.lease_ttl),
    )


def add_report_results(
    items: Iterable[dispatch.ReportResult], response: dispatch_service_pb2.ReportTasksResponse
) -> None:
    """Add what became of outcomes to a response."""
    add = response.results.add
    for task_id, status, error in items:
        result = add()
        result.task_id = task_id
        result.status = _REPORT_STATUS[status]
        if error:
            result.error = error


def extend_result(item: dispatch.ExtendResult) -> dispatch_service_pb2.ExtendResult:
    """Encode what became of a lease."""
    return dispatch_service_pb2.ExtendResult(
        task_id=item.task_id,
        extended=item.extended,
        lease_expires_at=timestamp(item.lease_expires_at),
        lease_ttl=duration(item.lease_ttl),
    )
