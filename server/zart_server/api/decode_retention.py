"""RetentionService requests, checked and decoded."""

from __future__ import annotations

from datetime import timedelta

from zart.v1 import retention_service_pb2 as pb
from zart_server.api.checks import Checks
from zart_server.api.fields import duration_of, has, name_of, optional_name
from zart_server.api.plans import planning_of
from zart_server.api.purge_tokens import purge_cursor
from zart_server.domain.retention import PurgeExecutions, SetRetention

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=36_500)


def set_retention(request: pb.SetRetentionRequest) -> SetRetention:
    """Decode SetRetention."""
    with Checks() as check:
        return SetRetention(
            check(name_of, request.task_name, "task_name"),
            check(duration_of, request.keep_for, "keep_for", SHORTEST, LONGEST)
            if has(request, "keep_for")
            else None,
        )


def unset_retention(request: pb.UnsetRetentionRequest) -> str:
    """Decode UnsetRetention: the name of the task."""
    return name_of(request.task_name, "task_name")


def purge_executions(request: pb.PurgeExecutionsRequest) -> PurgeExecutions:
    """Decode PurgeExecutions: nothing is meant where no time is given."""
    with Checks() as check:
        older_than = check(duration_of, request.older_than, "older_than", SHORTEST, LONGEST)
        return PurgeExecutions(
            older_than,
            check(optional_name, request, "task_name"),
            check(planning_of, request),
            check(purge_cursor, request, older_than),
        )
