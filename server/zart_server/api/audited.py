"""The one table of mutations that are on record also where they are refused, or only planned."""

from __future__ import annotations

from collections.abc import Mapping

from zart_server.domain.operations import OperationKind

AUDITED: Mapping[str, OperationKind] = {
    "/zart.v1.AdminService/RetryStep": OperationKind.RETRY_STEP,
    "/zart.v1.AdminService/Restart": OperationKind.RESTART,
    "/zart.v1.AdminService/Rerun": OperationKind.RERUN,
    "/zart.v1.AdminService/Pause": OperationKind.PAUSE,
    "/zart.v1.AdminService/Resume": OperationKind.RESUME,
    "/zart.v1.ExecutionService/StartExecution": OperationKind.START,
    "/zart.v1.ExecutionService/BatchStartExecutions": OperationKind.START,
    "/zart.v1.ExecutionService/CancelExecution": OperationKind.CANCEL,
    "/zart.v1.DispatchService/RegisterTask": OperationKind.REGISTER_TASK,
}
