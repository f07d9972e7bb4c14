"""Errors about the request itself: it cannot be right, is too large, or is no repeat."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.errors.base import MAX_MESSAGE, MAX_VALUE, ZartError, cut

SHOWN = 12  # bad fields of one request


class InvalidField(ZartError):
    """A field of the request cannot be right; ``field`` is its proto path."""

    reason = "INVALID_FIELD"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}", field=field)
        self.field = cut(field, MAX_VALUE)
        self.description = cut(description, MAX_MESSAGE)
        self.violations: tuple[InvalidField, ...] = (self,)

    @classmethod
    def of(cls, errors: Sequence[InvalidField]) -> InvalidField:
        """Make one error of several; the first gives its message."""
        first = errors[0]
        violations = tuple(each for error in errors for each in error.violations)
        if len(errors) == 1:  # it may be one of several already
            return first
        others = ", ".join(dict.fromkeys(each.field for each in violations[1:SHOWN]))
        joined = cls(first.field, f"{violations[0].description}; also wrong: {others}")
        joined.violations = (first.violations[0], *violations[1:SHOWN])
        return joined


class UnknownField(InvalidField):
    """Fields that this server does not know: paths that end with a number."""

    reason = "UNKNOWN_FIELD"

    def __init__(self, fields: Sequence[str]) -> None:
        why = "is not known to this server, which is older than its caller; nothing was done"
        super().__init__(fields[0], why)
        self.violations = tuple(InvalidField(field, why) for field in fields)


class FilterTooBroad(InvalidField):
    """A filter that no index serves; ``field`` is the one to add."""

    reason = "FILTER_TOO_BROAD"


class PayloadTooLarge(ZartError):
    """A payload, result, input, graph or message is too large.

    ``of`` says what the bytes are of, ``advice`` what to do.
    """

    reason = "PAYLOAD_TOO_LARGE"

    def __init__(self, field: str, size: int, limit: int, of: str = "", advice: str = "") -> None:
        which = f" {of}" if of else ""
        then = f": {advice}" if advice else ""
        super().__init__(
            f"{field}: {size} bytes{which}, at most {limit} are taken{then}",
            field=field,
            size=size,
            limit=limit,
        )
        self.field = self.metadata["field"]


class TooManyItems(ZartError):
    """More items than one call may carry. ``advice`` says what to do."""

    reason = "TOO_MANY_ITEMS"

    def __init__(self, field: str, count: int, limit: int, advice: str = "") -> None:
        then = f": {advice}" if advice else ""
        super().__init__(
            f"{field}: {count} items, at most {limit} are taken{then}",
            field=field,
            count=count,
            limit=limit,
        )
        self.field = self.metadata["field"]


class RequestIdReused(ZartError):
    """The request_id was used for a different request."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used for a different request: take a new one",
            request_id=request_id,
        )


class PlanChanged(ZartError):
    """What plan_token was given for is not what this would do; ``changed`` names why."""

    reason = "PLAN_CHANGED"

    def __init__(self, changed: Sequence[str]) -> None:
        names = ", ".join(changed)
        super().__init__(
            f"not as it was planned: {names}; nothing was done: plan again", changed=names
        )


class UnknownMethod(ZartError):
    """The server has no such method."""

    reason = "UNKNOWN_METHOD"

    def __init__(self, method: str) -> None:
        super().__init__(f"no method {method}: reflection lists what is there", method=method)
