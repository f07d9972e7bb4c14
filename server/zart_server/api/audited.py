"""The one table of mutations that are on record also where they are refused, or only planned."""

from __future__ import annotations

from collections.abc import Mapping

from zart_server.domain.operations import OperationKind

AUDITED: Mapping[str, OperationKind] = {
    "/zart.v1.AdminService/RetryStep": OperationKind.RETRY_STEP,
    "/zart.v1.AdminService/CompleteStep": OperationKind.COMPLETE_STEP,
    "/zart.v1.AdminService/FailStep": OperationKind.FAIL_STEP,
    "/zart.v1.AdminService/Restart": OperationKind.RESTART,
    "/zart.v1.AdminService/Rerun": OperationKind.RERUN,
    "/zart.v1.AdminService/Pause": OperationKind.PAUSE,
    "/zart.v1.AdminService/Resume": OperationKind.RESUME,
    "/zart.v1.AdminService/UpdatePauseRule": OperationKind.UPDATE_PAUSE_RULE,
    "/zart.v1.AdminService/ResolveInDoubt": OperationKind.RESOLVE_IN_DOUBT,
    "/zart.v1.AdminService/StopRelease": OperationKind.STOP_RELEASE,
    "/zart.v1.BatchService/CreateBatch": OperationKind.CREATE_BATCH,
    "/zart.v1.BatchService/UpdateBatch": OperationKind.UPDATE_BATCH,
    "/zart.v1.BatchService/PauseBatch": OperationKind.PAUSE_BATCH,
    "/zart.v1.BatchService/ResumeBatch": OperationKind.RESUME_BATCH,
    "/zart.v1.BatchService/CancelBatch": OperationKind.CANCEL_BATCH,
    "/zart.v1.BreakerService/CreateBreaker": OperationKind.CREATE_BREAKER,
    "/zart.v1.BreakerService/UpdateBreaker": OperationKind.UPDATE_BREAKER,
    "/zart.v1.BreakerService/DeleteBreaker": OperationKind.DELETE_BREAKER,
    "/zart.v1.BreakerService/TripBreaker": OperationKind.BREAKER_OPENED,
    "/zart.v1.BreakerService/ResetBreaker": OperationKind.BREAKER_CLOSED,
    "/zart.v1.RetentionService/SetRetention": OperationKind.SET_RETENTION,
    "/zart.v1.RetentionService/UnsetRetention": OperationKind.UNSET_RETENTION,
    "/zart.v1.RetentionService/PurgeExecutions": OperationKind.PURGE,
    "/zart.v1.ExecutionService/StartExecution": OperationKind.START,
    "/zart.v1.ExecutionService/BatchStartExecutions": OperationKind.START,
    "/zart.v1.ExecutionService/RunExecution": OperationKind.START,
    "/zart.v1.ExecutionService/CancelExecution": OperationKind.CANCEL,
    "/zart.v1.DispatchService/RegisterTask": OperationKind.REGISTER_TASK,
}
