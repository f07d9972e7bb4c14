"""Reads what a failed call says of itself: its google.rpc.Status, and whether a server spoke."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

FailedCall: TypeAlias = "grpc.Call | grpc.aio.AioRpcError"
_Detail = TypeVar("_Detail", bound=Message)

_STATUS_KEY = "grpc-status-details-bin"
DOMAIN = "zart"  # whose ErrorInfo it is: a proxy may have reasons of its own, by the same names
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_NO_ANSWER = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}


def statuses_of(error: FailedCall) -> Iterator[status_pb2.Status]:
    """Yield the statuses among a call's trailers; one that cannot be parsed is no server's word."""
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_KEY and isinstance(value, bytes):
            with contextlib.suppress(DecodeError):
                yield status_pb2.Status.FromString(value)


def code_of(status: status_pb2.Status) -> grpc.StatusCode:
    """Return the gRPC code of a status."""
    return _CODES.get(status.code, grpc.StatusCode.UNKNOWN)


def fields_of(status: status_pb2.Status) -> Mapping[str, str]:
    """Return what is wrong with which field of the request."""
    bad = _detail(status, error_details_pb2.BadRequest())
    return {each.field: each.description for each in bad.field_violations}


def retry_after_of(status: status_pb2.Status) -> timedelta | None:
    """Return the time after which to repeat the call; None where the server did not say."""
    retry = _detail(status, error_details_pb2.RetryInfo())
    return retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None


def metadata_of(status: status_pb2.Status) -> Mapping[str, str]:
    """Return the values that the message names, by name."""
    return dict(_detail(status, error_details_pb2.ErrorInfo()).metadata)


def reason_of(status: status_pb2.Status) -> str:
    """Return the reason that a zart server gave; empty where there is none."""
    info = _detail(status, error_details_pb2.ErrorInfo())
    return str(info.reason) if info.domain == DOMAIN else ""


def is_of_zart(status: status_pb2.Status) -> bool:
    """Return whether a zart server made the status, not a proxy on the way."""
    return bool(_detail(status, error_details_pb2.ErrorInfo()).domain == DOMAIN)


def is_no_answer(error: FailedCall) -> bool:
    """Return whether the call's code says that no server answered."""
    return error.code() in _NO_ANSWER


def was_cut(error: FailedCall) -> bool:
    """Return whether a stream was cut on the way: where a server dies, a proxy resets its streams.

    gRPC calls that INTERNAL, as it calls a defect, and only its words tell the two apart.
    """
    return error.code() is grpc.StatusCode.INTERNAL and "RST_STREAM" in (error.details() or "")


def _detail(status: status_pb2.Status, empty: _Detail) -> _Detail:
    """Return the status's detail of the type of ``empty``; ``empty`` itself where there is none."""
    for each in status.details:
        if each.Is(empty.DESCRIPTOR):
            with contextlib.suppress(DecodeError):
                each.Unpack(empty)
    return empty
