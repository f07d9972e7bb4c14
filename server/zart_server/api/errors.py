"""The one table from domain errors to gRPC statuses; nothing else chooses a status code."""

from __future__ import annotations

from datetime import timedelta

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from zart_server.domain import errors

DOMAIN = "zart"
_RETRY_AFTER = 1  # seconds
# A status travels in trailers, of which callers take 8 KiB together: the message percent-encoded,
# and the whole status, message included, in base64. With these bounds that is under 6 KiB.
_MESSAGE_ENCODED = 1536
_DETAILS = 2048
_DESCRIPTION = 512  # bytes, of one field

CODES: dict[type[errors.ZartError], grpc.StatusCode] = {
    errors.InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnknownField: grpc.StatusCode.INVALID_ARGUMENT,
    errors.FilterTooBroad: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ExecutionNotFound: grpc.StatusCode.NOT_FOUND,
    errors.RunNotFound: grpc.StatusCode.NOT_FOUND,
    errors.StepNotFound: grpc.StatusCode.NOT_FOUND,
    errors.AttemptNotFound: grpc.StatusCode.NOT_FOUND,
    errors.PauseRuleNotFound: grpc.StatusCode.NOT_FOUND,
    errors.BreakerNotFound: grpc.StatusCode.NOT_FOUND,
    errors.ErrorGroupNotFound: grpc.StatusCode.NOT_FOUND,
    errors.BatchNotFound: grpc.StatusCode.NOT_FOUND,
    errors.TaskDefinitionNotFound: grpc.StatusCode.NOT_FOUND,
    errors.ExecutionExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.RequestIdReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.StepNotDead: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotInDoubt: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StepInDoubt: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StepFinished: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StepRunning: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RunNotCurrent: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RunActive: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RunFinished: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NothingToRerun: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RuleNotActive: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ScopeMatchesNothing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RuleReleasing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RuleNotReleasing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NothingPaused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RulesAmbiguous: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StepChanged: grpc.StatusCode.ABORTED,
    errors.NothingSelected: grpc.StatusCode.FAILED_PRECONDITION,
    errors.BatchFinished: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RunChanged: grpc.StatusCode.ABORTED,
    errors.PlanChanged: grpc.StatusCode.ABORTED,
    errors.StoreConflict: grpc.StatusCode.ABORTED,
    errors.PauseRulesChanged: grpc.StatusCode.ABORTED,
    errors.PayloadTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooManyItems: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OperationTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.MissingCredentials: grpc.StatusCode.UNAUTHENTICATED,
    errors.InvalidCredentials: grpc.StatusCode.UNAUTHENTICATED,
    errors.RoleRequired: grpc.StatusCode.PERMISSION_DENIED,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.ServerBusy: grpc.StatusCode.UNAVAILABLE,
    errors.KeysUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.UnknownMethod: grpc.StatusCode.UNIMPLEMENTED,
}

_RETRIED_SOON = (
    errors.StoreUnavailable,
    errors.ShuttingDown,
    errors.ServerBusy,
    errors.KeysUnavailable,
)


def status_of(error: errors.ZartError) -> status_pb2.Status:
    """Return the google.rpc.Status of a domain error, with its details."""
    status = status_pb2.Status(code=_number(CODES[type(error)]), message=_sendable(error.message))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    details: list[Message] = [info]
    room = _DETAILS - info.ByteSize()
    if isinstance(error, errors.InvalidField):
        fields = {each.field: each.description for each in error.violations}
        details.append(_bad_request(fields, room))
    if isinstance(error, (errors.PayloadTooLarge, errors.TooManyItems)):
        fields = {error.field: error.message.removeprefix(f"{error.field}: ")}
        details.append(_bad_request(fields, room))
    if isinstance(error, _RETRIED_SOON):
        details.append(_retry_info(_RETRY_AFTER))
    if isinstance(error, errors.Unauthenticated) and error.retry_after is not None:
        details.append(_retry_info(error.retry_after))
    return _with_details(status, details)


def _sendable(message: str) -> str:
    """Cut a message, by whole characters, that percent-encoded would be too long."""
    size = 0
    for index, char in enumerate(message):
        is_plain = " " <= char <= "~" and char != "%"
        size += 1 if is_plain else 3 * len(char.encode(errors="replace"))
        if size > _MESSAGE_ENCODED:
            return message[:index] + "..."
    return message


def internal_status(error_id: str) -> status_pb2.Status:
    """Return the status of a defect: an id to look up in the log, and nothing else."""
    status = status_pb2.Status(
        code=code_pb2.INTERNAL, message=f"internal error {error_id}: see the server's log"
    )
    info = error_details_pb2.ErrorInfo(
        reason="INTERNAL", domain=DOMAIN, metadata={"error_id": error_id}
    )
    return _with_details(status, [info])


def _retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromTimedelta(timedelta(seconds=seconds))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _bad_request(violations: dict[str, str], room: int) -> error_details_pb2.BadRequest:
    """Name the fields that are wrong, as many as there is room for in bytes."""
    found = error_details_pb2.BadRequest()
    for field, description in violations.items():
        one = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=errors.cut(description, _DESCRIPTION)
        )
        room -= one.ByteSize() + 3  # its tag and length
        if room < 0:
            break
        found.field_violations.append(one)
    return found


def _with_details(status: status_pb2.Status, details: list[Message]) -> status_pb2.Status:
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number
