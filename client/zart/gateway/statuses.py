"""google.rpc.Status as an HTTP answer, and the ones that the gateway itself gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import grpc
import grpc.aio
from google.protobuf import any_pb2, descriptor_pool, duration_pb2, json_format
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from starlette.responses import Response

from zart import errors
from zart.printable import escaped_json

DOMAIN = "zart"
SHOWN = 12  # bad fields of one request, as the server has it
# Bytes of what is told, as the server has it: what is refused may be as large as a body.
_MESSAGE = 1024
_DESCRIPTION = 512  # of one field
_VALUE = 300  # of a value, or of the path of a field

# The mapping of google.rpc.Code; 499 is what proxies log for a caller that went away.
_HTTP = {
    code_pb2.OK: 200,
    code_pb2.CANCELLED: 499,
    code_pb2.UNKNOWN: 500,
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.DEADLINE_EXCEEDED: 504,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.ABORTED: 409,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.INTERNAL: 500,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DATA_LOSS: 500,
}
# 429 would say: the same again, later.
_HTTP_OF_REASON = {"PAYLOAD_TOO_LARGE": 413, "TOO_MANY_ITEMS": 413}


class Refusal(Exception):
    """A request that the gateway does not pass on; ``http`` goes before the code's own status."""

    def __init__(
        self,
        status: status_pb2.Status,
        http: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status.message)
        self.status = status
        self.http = http
        self.headers = headers or {}


def refusal(
    code: int,
    message: str,
    *details: Message,
    reason: str = "",
    metadata: Mapping[str, str] | None = None,
    http: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """Make a refusal, its texts cut; with a reason it carries an ErrorInfo."""
    status = status_pb2.Status(code=code, message=cut(message, _MESSAGE))
    if reason:
        told = {name: cut(value) for name, value in (metadata or {}).items()}
        info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=told)
        details = (info, *details)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return Refusal(status, http, headers)


def invalid(violations: Sequence[tuple[str, str]], http: int | None = None) -> Refusal:
    """Refuse fields, each with what is wrong with it, as the server does; all of it cut."""
    shown = [(cut(name), cut(wrong, _DESCRIPTION)) for name, wrong in violations[:SHOWN]]
    (field, description), *others = shown
    message = f"{field}: {description}"
    if others:
        message += "; also wrong: " + ", ".join(dict.fromkeys(name for name, _ in others))
    violation = error_details_pb2.BadRequest.FieldViolation
    bad = error_details_pb2.BadRequest(
        field_violations=[violation(field=f, description=d) for f, d in shown]
    )
    return refusal(
        code_pb2.INVALID_ARGUMENT,
        message,
        bad,
        reason="INVALID_FIELD",
        metadata={"field": field},
        http=http,
    )


def cut(text: str, most: int = _VALUE) -> str:
    """Shorten a text to so many bytes of UTF-8, by whole characters; the end shows that it was.

    Half a character, which JSON can write and UTF-8 cannot, becomes a question mark.
    """
    encoded = text[: most + 1].encode(errors="replace")
    if len(encoded) <= most:
        return encoded.decode()
    end = "…"
    return encoded[: most - len(end.encode())].decode(errors="ignore") + end


def retry_in(seconds: int) -> error_details_pb2.RetryInfo:
    """Say when to repeat."""
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))


def status_of_call(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the server's status, or say that there was no answer, and nothing of where it is."""
    told = errors.from_call(error)
    if isinstance(told, errors.Refused):
        return _with_message(told.status)
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return refusal(
            code_pb2.DEADLINE_EXCEEDED,
            "the server did not answer in time; what was asked may have happened",
        ).status
    # By another code the call was broken off on its way, as by a proxy whose server died.
    is_away = code is grpc.StatusCode.UNAVAILABLE
    what = "the server cannot be reached" if is_away else "the call was broken off"
    return refusal(
        code_pb2.UNAVAILABLE, f"{what}; what was asked may have happened", retry_in(1)
    ).status


def _with_message(status: status_pb2.Status) -> status_pb2.Status:
    """Return a status that says something: one of a proxy, or of gRPC, may be a bare code."""
    if status.message:
        return status
    found = status_pb2.Status()
    found.CopyFrom(status)
    known = status.code in code_pb2.Code.values()
    found.message = (
        f"the call was refused: {code_pb2.Code.Name(status.code) if known else status.code}"
    )
    return found


def response_of(
    status: status_pb2.Status,
    http: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer a status: its JSON, the right HTTP status, and the headers that go with it."""
    found = dict(headers or {})
    reason, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(reason)
        if detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
            found["Retry-After"] = str(max(0, math.ceil(delay)))
    code = http or _HTTP_OF_REASON.get(reason.reason) or _HTTP.get(status.code, 500)
    if code == 401:  # noqa: PLR2004 - which must say how to authenticate
        found["WWW-Authenticate"] = "Bearer"
    return Response(json_of(status) + "\n", code, found, media_type="application/json")


def json_of(message: Message) -> str:
    """Write a message in proto JSON, in one line, fit for a terminal that shows it.

    Details of a status in it that only a newer server knows are left out.
    """
    try:
        return _written(message)
    except TypeError:  # which is json_format's word for a type that is not known
        readable = type(message)()
        readable.CopyFrom(message)
        _leave_out_unknown(readable)
        return _written(readable)


def _written(message: Message) -> str:
    return escaped_json(json_format.MessageToJson(message, indent=None, ensure_ascii=False))


def _leave_out_unknown(message: Message) -> None:
    """Leave out details of types that a newer server knows and we do not, however deep."""
    if isinstance(message, status_pb2.Status):
        known = [detail for detail in message.details if _is_known(detail)]
        del message.details[:]
        message.details.extend(known)
        return
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is None or kind.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else (value,):
            _leave_out_unknown(inner)


def _is_known(detail: any_pb2.Any) -> bool:
    try:
        descriptor_pool.Default().FindMessageTypeByName(detail.TypeName())
    except KeyError:
        return False
    return True
