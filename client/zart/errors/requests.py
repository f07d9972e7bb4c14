"""Errors about the request itself: it cannot be right, is too large, or is no repeat."""

from __future__ import annotations

from zart.errors.base import Refused


class InvalidField(Refused):
    """A field of the request cannot be right."""

    reason = "INVALID_FIELD"


class UnknownField(InvalidField):
    """The server is older than this client and does not know a field: nothing was done."""

    reason = "UNKNOWN_FIELD"


class FilterTooBroad(InvalidField):
    """No index finds what a filter matches; ``fields`` names the field to add."""

    reason = "FILTER_TOO_BROAD"


class PayloadTooLarge(Refused):
    """A payload, result, input or message is too large, for the server or to be sent at all."""

    reason = "PAYLOAD_TOO_LARGE"


class TooManyItems(Refused):
    """More items than one call may carry."""

    reason = "TOO_MANY_ITEMS"


class RequestIdReused(Refused):
    """The request_id was used for a different request."""

    reason = "REQUEST_ID_REUSED"


class PlanChanged(Refused):
    """The plan is not the one that plan_token was given for."""

    reason = "PLAN_CHANGED"


class UnknownMethod(Refused):
    """The server has no such method: it is older than this client."""

    reason = "UNKNOWN_METHOD"
