"""Which exception a refused or failed call becomes, by the reason that the server gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from zart import status_details
from zart.errors import batches, callers, executions, pauses, requests, serving, steps
from zart.errors.base import Refused, ZartError
from zart.errors.unrefused import Unreachable

_MODULES = (batches, callers, executions, pauses, requests, serving, steps)
# By this channel's own limit: of an answer that is too large gRPC says it otherwise.
_TOO_LARGE_TO_SEND = "CLIENT: Sent message larger than max"
# gRPC's words, to a call that waits when its channel is closed.
_CHANNEL_CLOSED = {"Channel closed!", "Stream removed (Channel closed!)"}
CLOSED_MEANWHILE = "the client was closed"


def _with_reasons() -> Iterator[type[Refused]]:
    """Yield each class of the modules that stands for a reason."""
    for module in _MODULES:
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Refused) and kind.reason:
                yield kind


BY_REASON: Mapping[str, type[Refused]] = {kind.reason: kind for kind in _with_reasons()}


def from_status(status: status_pb2.Status) -> Refused:
    """Make the exception of a google.rpc.Status.

    A status whose reason is unknown, or that is not the server's own, becomes a Refused.
    """
    return BY_REASON.get(status_details.reason_of(status), Refused)(status)


def from_call(error: grpc.RpcError, request: Message | None = None) -> ZartError:
    """Make the exception of a call that failed, given what it asked for."""
    made = _from_call(error)
    if request_id := getattr(request, "request_id", ""):
        made.request_id = request_id
    return made


def _from_call(error: grpc.RpcError) -> ZartError:
    assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)  # noqa: S101 - every one raised is
    for status in status_details.statuses_of(error):
        # Of something between, "unavailable" says only that nobody answered.
        if status_details.is_of_zart(status) or not status_details.is_no_answer(error):
            return from_status(status)
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and details.startswith(_TOO_LARGE_TO_SEND):
        return _too_large(f"the request is too large to be sent: {details}")
    if status_details.is_no_answer(error) or status_details.was_cut(error):
        if details in _CHANNEL_CLOSED:
            return Unreachable(CLOSED_MEANWHILE)
        return Unreachable(f"no answer from the server: {details or code.name}")
    return Refused(status_pb2.Status(code=code.value[0], message=details))


def _too_large(message: str) -> requests.PayloadTooLarge:
    """Say what the server would: whoever goes by the status, as a gateway, needs its reason."""
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=message)
    reason = requests.PayloadTooLarge.reason
    info = error_details_pb2.ErrorInfo(reason=reason, domain=status_details.DOMAIN)
    status.details.add().Pack(info)
    return requests.PayloadTooLarge(status)
