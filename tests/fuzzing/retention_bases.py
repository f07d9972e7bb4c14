"""Good requests for RetentionService."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from zart.v1 import retention_service_pb2 as retention

_TASK = "nobody's"


class RetentionBases:
    """What is kept, and what is removed, is of a task that nobody has."""

    def _set_retention(self) -> Message:
        return retention.SetRetentionRequest(task_name=_TASK, keep_for=Duration(seconds=9))

    def _unset_retention(self) -> Message:
        return retention.UnsetRetentionRequest(task_name=_TASK)

    def _purge_executions(self) -> Message:
        return retention.PurgeExecutionsRequest(older_than=Duration(seconds=9), task_name=_TASK)
