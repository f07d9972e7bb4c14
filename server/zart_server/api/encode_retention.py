"""For how long what has ended is kept, as protos."""

from __future__ import annotations

from zart.v1 import retention_pb2 as pb
from zart.v1 import retention_service_pb2 as service
from zart_server.api.encode import RUN_STATUS, duration, timestamp
from zart_server.api.purge_tokens import token_after
from zart_server.domain.retention import Purged, TaskRetention
from zart_server.domain.stats import Stats


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


def purged(item: Purged) -> service.PurgeExecutionsResponse:
    """Encode what was removed, or would be."""
    return service.PurgeExecutionsResponse(
        tasks=[
            service.PurgedTask(
                task_name=task.task_name,
                removed_executions=task.removed,
                kept_executions=task.kept,
            )
            for task in item.tasks
        ],
        is_partial=item.is_partial,
        ended_before=timestamp(item.ended_before),
        planned=bool(item.plan_token),
        plan_token=item.plan_token,
        next_page_token=token_after(item),
    )


def stats(item: Stats) -> service.GetStatsResponse:
    """Encode how much there is."""
    return service.GetStatsResponse(
        statuses=[
            service.StatusStats(
                status=RUN_STATUS[one.status],
                executions=one.executions,
                is_lower_bound=one.is_lower_bound,
                oldest_created_at=timestamp(one.oldest_created_at),
            )
            for one in item.statuses
        ],
        tables=[
            service.TableStats(
                table_name=one.table_name,
                rows=one.rows,
                dead_rows=one.dead_rows,
                bytes=one.size,
                index_bytes=one.index_size,
            )
            for one in item.tables
        ],
        database_bytes=item.database_size,
        oldest_operation_at=timestamp(item.oldest_operation_at),
    )
