"""What a request asks of plans: to be told one, or to do one that it has the token of."""

from __future__ import annotations

import hashlib
from typing import Protocol, cast

from google.protobuf.message import Message

from zart_server.api.fields import text_of
from zart_server.domain.errors import InvalidField
from zart_server.domain.plans import NO_PLAN, Planning, PlanToken

_NOT_BOUND = (
    "validate_only", "plan_token", "triggered_by", "reason", "incident", "request_id", "page_token",
)  # fmt: skip


class PlannedRequest(Protocol):
    """A request that can be planned."""

    validate_only: bool
    plan_token: str


def planning_of(request: PlannedRequest) -> Planning:
    """Decode whether a plan is wanted, or which one is to be done."""
    if not request.validate_only and not request.plan_token:
        return NO_PLAN
    token = None
    if request.plan_token:
        try:
            token = PlanToken.of_text(text_of(request.plan_token, "plan_token"))
        except ValueError:
            raise InvalidField("plan_token", "is none that a plan was answered with") from None
    return Planning(request.validate_only, token, _what_of(cast("Message", request)))


def is_plan(request: Message) -> bool:
    """Return whether a request asks what it would do."""
    return bool(getattr(request, "validate_only", False))


def _what_of(request: Message) -> bytes:
    """Hash the call and all that it asks for: not who does, why, and how."""
    bare = type(request)()
    bare.CopyFrom(request)
    for field in _NOT_BOUND:
        if field in request.DESCRIPTOR.fields_by_name:
            bare.ClearField(field)
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + b"\0" + bare.SerializeToString(deterministic=True)).digest()
