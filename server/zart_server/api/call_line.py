"""The line that the log has of each call: at which level, and what it says of the request."""

from __future__ import annotations

import functools
import logging

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from zart.json_log import log_event
from zart_server.domain.errors import MAX_VALUE, RoleRequired, Unauthenticated, ZartError, cut

_log = logging.getLogger("zart.calls")
# Many a second, and their outcomes are on record in the attempts: told only when they fail.
_QUIET = ("/zart.v1.DispatchService/", "/grpc.health.", "/grpc.reflection.")
_TOLD = (
    "execution_id", "step_name", "task_name", "rule_id", "triggered_by", "request_id",
    "dispatcher_id",
)  # fmt: skip
_PART = "start"  # what RunExecution starts
_SHORT = MAX_VALUE // 4  # characters, which cannot be more bytes than is told of a value


def level_of(method: str, code: grpc.StatusCode, error: ZartError | None) -> int | None:
    """Return at which level the line of a call that ended so is logged; None: it is not."""
    level = logging.INFO
    if isinstance(error, Unauthenticated):
        level = logging.WARNING if error.retry_after is None else logging.DEBUG  # not of a flood
    elif isinstance(error, RoleRequired):
        level = logging.WARNING
    elif code is grpc.StatusCode.OK and method.startswith(_QUIET):
        level = logging.DEBUG
    return level if _log.isEnabledFor(level) else None


def tell(
    level: int, line: dict[str, object], request: Message | None, error: ZartError | None
) -> None:
    """Log the line of a call, adding to what is known of it what its request is about."""
    if request is not None:
        part, names = _told_of(request.DESCRIPTOR)
        about = getattr(request, part) if part else request
        for name in names:
            if value := getattr(about, name):
                line[name] = value if len(value) <= _SHORT else cut(value, MAX_VALUE)
    if isinstance(error, Unauthenticated):
        line |= {"why": error.why, "untold_failures": error.untold}
    event = "refused" if isinstance(error, (Unauthenticated, RoleRequired)) else "call"
    log_event(_log, level, event, line)


def tell_defect(method: str, error_id: str, error: Exception) -> None:
    """Log an error that nobody foresaw; its caller is told ``error_id``."""
    _log.error("defect", exc_info=error, extra={"method": method, "error_id": error_id})


@functools.cache
def _told_of(kind: Descriptor) -> tuple[str, tuple[str, ...]]:
    """Return which fields are told, of such a request or of its part of that name ("": itself).

    It costs much to ask a message for a field that its kind lacks.
    """
    inner = kind.fields_by_name.get(_PART)
    part, about = "", kind
    if inner is not None and inner.message_type is not None:
        part, about = _PART, inner.message_type
    texts = {each.name for each in about.fields if each.type == FieldDescriptor.TYPE_STRING}
    return part, tuple(name for name in _TOLD if name in texts)
