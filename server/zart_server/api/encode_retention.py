"""For how long what has ended is kept, as protos."""

from __future__ import annotations

from zart.v1 import retention_pb2 as pb
from zart_server.api.encode import duration, timestamp
from zart_server.domain.retention import TaskRetention


def task_retention(item: TaskRetention) -> pb.TaskRetention:
    """Encode for how long executions of a task are kept."""
    return pb.TaskRetention(
        task_name=item.task_name,
        keep_for=duration(item.keep),
        set_at=timestamp(item.set_at),
        triggered_by=item.triggered_by,
        principal=item.principal,
        reason=item.reason,
        incident=item.incident,
    )
