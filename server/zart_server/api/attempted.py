"""What goes on record of a mutation that was refused, or only planned: fields, never values.

The names in a request, and who sends it and why, are kept where they are as they have to be; of
what is not, the record has the field's name. Payloads, inputs and results are never in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from zart_server.api.checks import incident_of, reason_of, request_id_of
from zart_server.api.decode_admin import parse_run_id
from zart_server.api.errors import CODES
from zart_server.api.fields import name_of, text_of
from zart_server.domain.commands import Caller
from zart_server.domain.errors import InvalidField, StoreConflict, ZartError
from zart_server.domain.operations import OperationKind, OperationStatus, Refusal
from zart_server.store.operation_attempts import OperationAttempt

# What a caller is told no for. All else leaves open whether it was done, or is nobody's in
# particular.
_REFUSED = frozenset({
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
})  # fmt: skip


def is_refusal(error: ZartError) -> bool:
    """Return whether an error says no to what was asked: nothing was done, for a reason."""
    return CODES[type(error)] in _REFUSED and not isinstance(error, StoreConflict)


def refusal_of(error: ZartError) -> Refusal:
    """Return what is recorded of a refusal; of fields that cannot be right their names."""
    message, metadata = error.message, error.metadata
    if isinstance(error, InvalidField):
        fields = ", ".join(dict.fromkeys(each.field for each in error.violations))
        message, metadata = f"cannot be right: {fields}", {"fields": fields}
    return Refusal(error.reason, CODES[type(error)].name, message, metadata)


def attempt_of(
    kind: OperationKind, request: Message | None, principal: str, refusal: Refusal | None
) -> OperationAttempt:
    """Return the record of a call. ``request`` None: it was refused before it was read."""
    request = getattr(request, "start", request)
    execution_id, run_number = _name(request, "execution_id"), None
    if run_id := getattr(request, "run_id", ""):
        of, run_number = _kept(parse_run_id, run_id) or (execution_id, None)
        execution_id = execution_id or of
    definition = getattr(request, "definition", request)
    breaker = getattr(request, "breaker", request)
    return OperationAttempt(
        OperationStatus.PLANNED if refusal is None else OperationStatus.REFUSED,
        kind,
        Caller(
            _kept(text_of, getattr(request, "triggered_by", ""), "triggered_by") or "",
            _kept(reason_of, getattr(request, "reason", "")) or "",
            _kept(request_id_of, getattr(request, "request_id", "")) or "",
            principal,
            _kept(incident_of, getattr(request, "incident", "")) or "",
        ),
        execution_id=execution_id,
        run_number=run_number,
        step_name=_name(request, "step_name"),
        rule_id=_name(request, "rule_id"),
        task_name=_name(definition, "task_name"),
        batch_id=_name(request, "batch_id"),
        breaker_id=_name(breaker, "breaker_id"),
        refusal=refusal,
    )


def _name(message: Message | None, field: str) -> str:
    """Return a name that a message has, if it is one."""
    text = getattr(message, field, "")
    return (_kept(name_of, text, field) or "") if text else ""


def _kept(check: Callable[..., Any], *given: object) -> Any:  # noqa: ANN401 - what the check gives
    """Return what passes a check; None of what does not."""
    try:
        return check(*given)
    except InvalidField:
        return None
