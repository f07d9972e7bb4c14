"""A script that answers a client's calls one by one, on grpcio-testing's fake channel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
import grpc_testing
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import batch_service_pb2 as batch
from zart.v1 import breaker_service_pb2 as breaker
from zart.v1 import dispatch_service_pb2 as dispatch
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules
from zart.v1 import retention_service_pb2 as retention

SERVICES = [
    admin.DESCRIPTOR.services_by_name["AdminService"],
    audit.DESCRIPTOR.services_by_name["AuditService"],
    batch.DESCRIPTOR.services_by_name["BatchService"],
    breaker.DESCRIPTOR.services_by_name["BreakerService"],
    retention.DESCRIPTOR.services_by_name["RetentionService"],
    dispatch.DESCRIPTOR.services_by_name["DispatchService"],
    execution.DESCRIPTOR.services_by_name["ExecutionService"],
]
METHODS = {m.name: m for s in SERVICES for m in s.methods}
OK = (grpc.StatusCode.OK, "")


def refusal(code: int, reason: str, message: str, **metadata: str) -> status_pb2.Status:
    """Make the google.rpc.Status of an error."""
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="zart", metadata=metadata))
    return status_pb2.Status(code=code, message=message, details=[packed])


class Script:
    """Answers calls in order and keeps the requests."""

    def __init__(self, *answers: tuple[str, Message | list[Message] | status_pb2.Status]) -> None:
        self.channel = grpc_testing.channel(SERVICES, grpc_testing.strict_real_time())
        self.requests: list[Any] = []
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers: Any) -> None:
        for name, answer in answers:
            if isinstance(answer, list):
                _, request, rpc = self.channel.take_unary_stream(METHODS[name])
                self.requests.append(request)
                rpc.send_initial_metadata(())
                for message in answer:
                    rpc.send_response(message)
                rpc.terminate((), *OK)
                continue
            _, request, rpc = self.channel.take_unary_unary(METHODS[name])
            self.requests.append(request)
            rpc.send_initial_metadata(())
            if isinstance(answer, status_pb2.Status):
                status = rpc_status.to_status(answer)
                rpc.terminate(None, status.trailing_metadata, status.code, status.details)
            else:
                rpc.terminate(answer, (), *OK)

    def open(self, _address: str | None) -> Any:
        """Stand in for the channel that the CLI opens."""
        return self.channel


Run = Callable[..., tuple[int, str, str, list[Any]]]
STEP = states.Step(
    step_name="charge-card",
    status=states.STEP_STATUS_PAUSED,
    waiting_on="pause rule pr-abcd1234 (bob: maintenance)",
    depends_on=["lookup-user"],
    attempt=3,
    max_attempts=6,
)
RUN = states.Run(
    run_id="x:run:1",
    execution_id="x",
    run_number=1,
    status=states.RUN_STATUS_FAILED,
    trigger=states.RUN_TRIGGER_RESTART,
    triggered_by="bob",
    error="charge-card: declined",
)
EXECUTION = states.Execution(
    execution_id="x",
    task_name="order",
    current_run_id="x:run:1",
    current_run_number=1,
    status=states.RUN_STATUS_FAILED,
    waiting_on="",
)
RULE = rules.PauseRule(
    rule_id="pr-abcd1234",
    task_name="order",
    step_pattern="charge-*",
    reason="maintenance",
    created_by="bob",
    status=rules.PAUSE_RULE_STATUS_ACTIVE,
)
STATE = execution.GetExecutionResponse(execution=EXECUTION, run=RUN, steps=[STEP])
