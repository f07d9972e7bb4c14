"""The one table of who may call what. A call that has no line here is nobody's but an admin's.

Roles do not include each other, so that each is as small as its name; a caller has as many as it
needs. An admin may do everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from zart_server.domain.identity import Identity, Role


class Access(StrEnum):
    """What a call needs where it is not a role."""

    OPEN = "open"  # nobody is asked who they are
    IDENTIFIED = "identified"  # anybody whom the server knows, whatever their roles


# Of several roles a caller needs each.
Need: TypeAlias = Role | Access | tuple[Role, ...]

POLICY: Mapping[str, Need] = {
    "/zart.v1.AdminService/RetryStep": Role.OPERATOR,
    "/zart.v1.AdminService/CompleteStep": Role.OPERATOR,
    "/zart.v1.AdminService/FailStep": Role.OPERATOR,
    "/zart.v1.AdminService/Restart": Role.OPERATOR,
    "/zart.v1.AdminService/Rerun": Role.OPERATOR,
    "/zart.v1.AdminService/Pause": Role.OPERATOR,
    "/zart.v1.AdminService/Resume": Role.OPERATOR,
    "/zart.v1.AdminService/UpdatePauseRule": Role.OPERATOR,
    "/zart.v1.AdminService/StopRelease": Role.OPERATOR,
    "/zart.v1.AdminService/ResolveInDoubt": Role.OPERATOR,
    "/zart.v1.AdminService/ListRuns": Role.VIEWER,
    "/zart.v1.AdminService/ListInDoubt": Role.VIEWER,
    "/zart.v1.AdminService/CompareRuns": Role.VIEWER,
    "/zart.v1.AdminService/GetPauseRule": Role.VIEWER,
    "/zart.v1.AdminService/VerifyPauseRule": Role.VIEWER,
    "/zart.v1.AdminService/ListPauseRules": Role.VIEWER,
    "/zart.v1.AdminService/WatchPauseRule": Role.VIEWER,
    "/zart.v1.BatchService/CreateBatch": Role.OPERATOR,
    "/zart.v1.BatchService/UpdateBatch": Role.OPERATOR,
    "/zart.v1.BatchService/PauseBatch": Role.OPERATOR,
    "/zart.v1.BatchService/ResumeBatch": Role.OPERATOR,
    "/zart.v1.BatchService/CancelBatch": Role.OPERATOR,
    "/zart.v1.BatchService/GetBatch": Role.VIEWER,
    "/zart.v1.BatchService/ListBatches": Role.VIEWER,
    "/zart.v1.BatchService/ListBatchItems": Role.VIEWER,
    "/zart.v1.BatchService/WatchBatch": Role.VIEWER,
    "/zart.v1.BreakerService/CreateBreaker": Role.OPERATOR,
    "/zart.v1.BreakerService/UpdateBreaker": Role.OPERATOR,
    "/zart.v1.BreakerService/DeleteBreaker": Role.OPERATOR,
    "/zart.v1.BreakerService/TripBreaker": Role.OPERATOR,
    "/zart.v1.BreakerService/ResetBreaker": Role.OPERATOR,
    "/zart.v1.BreakerService/GetBreaker": Role.VIEWER,
    "/zart.v1.BreakerService/ListBreakers": Role.VIEWER,
    "/zart.v1.RetentionService/SetRetention": Role.ADMIN,
    "/zart.v1.RetentionService/UnsetRetention": Role.ADMIN,
    "/zart.v1.RetentionService/PurgeExecutions": Role.ADMIN,
    "/zart.v1.RetentionService/ListRetention": Role.VIEWER,
    "/zart.v1.RetentionService/GetStats": Role.VIEWER,
    "/zart.v1.ExecutionService/StartExecution": Role.STARTER,
    "/zart.v1.ExecutionService/BatchStartExecutions": Role.STARTER,
    "/zart.v1.ExecutionService/RunExecution": (Role.STARTER, Role.VIEWER),
    "/zart.v1.ExecutionService/CancelExecution": Role.STARTER,
    "/zart.v1.ExecutionService/GetExecution": Role.VIEWER,
    "/zart.v1.ExecutionService/GetStep": Role.VIEWER,
    "/zart.v1.ExecutionService/ExplainStep": Role.VIEWER,
    "/zart.v1.ExecutionService/ListExecutions": Role.VIEWER,
    "/zart.v1.ExecutionService/CountExecutions": Role.VIEWER,
    "/zart.v1.ExecutionService/ListErrorGroups": Role.VIEWER,
    "/zart.v1.ExecutionService/WatchExecution": Role.VIEWER,
    "/zart.v1.ExecutionService/ListTaskDefinitions": Role.VIEWER,
    "/zart.v1.ExecutionService/GetTaskDefinition": Role.VIEWER,
    "/zart.v1.DispatchService/RegisterTask": Role.DISPATCHER,
    "/zart.v1.DispatchService/LeaseTasks": Role.DISPATCHER,
    "/zart.v1.DispatchService/GetStepResults": Role.DISPATCHER,
    "/zart.v1.DispatchService/ReportTasks": Role.DISPATCHER,
    "/zart.v1.DispatchService/ExtendLeases": Role.DISPATCHER,
    "/zart.v1.DispatchService/DispatchTasks": Role.DISPATCHER,
    "/zart.v1.AuditService/ListOperations": Role.VIEWER,
    "/zart.v1.AuditService/ListRuleHolds": Role.VIEWER,
    # Load balancers have no credentials.
    "/grpc.health.v1.Health/Check": Access.OPEN,
    "/grpc.health.v1.Health/List": Access.IDENTIFIED,
    "/grpc.health.v1.Health/Watch": Access.IDENTIFIED,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Role.VIEWER,
}

OPEN = frozenset(method for method, need in POLICY.items() if need is Access.OPEN)


def need_of(method: str, *, exists: bool) -> Need:
    """Return what a call needs. Any known caller may learn that a method does not exist."""
    if not exists:
        return Access.IDENTIFIED
    return POLICY.get(method, Role.ADMIN)


def missing(identity: Identity, need: Need) -> Role | None:
    """Return a role that a call needs and its caller lacks; None: the caller may call."""
    if isinstance(need, Access) or Role.ADMIN in identity.roles:
        return None
    roles = need if isinstance(need, tuple) else (need,)
    return next((role for role in roles if role not in identity.roles), None)
