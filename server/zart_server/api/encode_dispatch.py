"""Domain to proto for dispatchers: leased tasks, and what became of outcomes and leases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from zart.v1 import dispatch_service_pb2
from zart_server.api.encode import duration, timestamp
from zart_server.domain import dispatch, model

_REPORT_STATUS = {
    s: dispatch_service_pb2.ReportStatus.Value(f"REPORT_STATUS_{s.name}")
    for s in model.ReportStatus
}


class LeasedTasks:
    """Encodes the leased tasks of one database.

    It keeps, as bytes, what tasks of one step have in common, by definition, step and lease: that
    never changes, and reading bytes is several times cheaper than setting fields.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._alike: dict[tuple[int, int, timedelta], bytes] = {}

    def add(
        self,
        items: Sequence[dispatch.LeasedTask],
        response: dispatch_service_pb2.LeaseTasksResponse
        | dispatch_service_pb2.ReportTasksResponse,
    ) -> None:
        """Add leased tasks to a response."""
        ends: dict[datetime, bytes] = {}
        add = response.tasks.add
        for item in items:
            end = ends.get(item.lease_expires_at)
            if end is None:
                end = ends[item.lease_expires_at] = dispatch_service_pb2.LeasedTask(
                    lease_expires_at=timestamp(item.lease_expires_at)
                ).SerializeToString()
            task = add()
            task.MergeFromString(self._alike_of(item) + end)
            task.task_id = item.task_id
            task.lease_token = item.lease_token
            task.execution_id = item.execution_id
            task.run_id = model.run_id_of(item.execution_id, item.run_number)
            task.run_number = item.run_number
            task.attempt = item.attempt
            task.max_attempts = item.max_attempts
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
        alike = self._alike.get(key)
        if alike is None:
            if len(self._alike) >= self._most:
                self._alike.clear()
            alike = self._alike[key] = _alike(item).SerializeToString()
        return alike


def _alike(item: dispatch.LeasedTask) -> dispatch_service_pb2.LeasedTask:
    return dispatch_service_pb2.LeasedTask(
        task_name=item.task_name,
        step_name=item.step.step_name,
        handler=item.step.handler,
        input_json=item.step.input_json,
        timeout=duration(item.step.timeout),
        lease_ttl=duration(item.lease_ttl),
    )


def report_result(item: dispatch.ReportResult) -> dispatch_service_pb2.ReportResult:
    """Encode what became of an outcome."""
    task_id, status, error = item
    encoded = dispatch_service_pb2.ReportResult(task_id=task_id, status=_REPORT_STATUS[status])
    if error:
        encoded.error = error
    return encoded


def extend_result(item: dispatch.ExtendResult) -> dispatch_service_pb2.ExtendResult:
    """Encode what became of a lease."""
    return dispatch_service_pb2.ExtendResult(
        task_id=item.task_id,
        extended=item.extended,
        lease_expires_at=timestamp(item.lease_expires_at),
        lease_ttl=duration(item.lease_ttl),
    )
