"""Checks all of a request before refusing it, so that its caller learns of every bad field."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import ParamSpec, Protocol, Self, TypeVar, cast

from zart_server.api.fields import lines_of, text_of
from zart_server.api.identity import principal
from zart_server.domain.commands import Caller
from zart_server.domain.errors import SHOWN, InvalidField

_REQUEST_ID_BYTES = 64
_INCIDENT_BYTES = 64


class MutatingRequest(Protocol):
    """A request that says who asks, why, of which incident, and how to know a repeat of it."""

    triggered_by: str
    reason: str
    incident: str
    request_id: str


P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=MutatingRequest)


class Checks:
    """Collects what single checks find wrong; leaving the block raises all of it as one error."""

    def __init__(self) -> None:
        self._found: list[InvalidField] = []

    def __call__(self, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one check. What a failed one gives stands for nothing: the block ends raising."""
        try:
            return check(*args, **kwargs)
        except InvalidField as error:
            self._found.append(error)
            if len(self._found) >= SHOWN:  # nobody would be told of more
                raise InvalidField.of(self._found) from None
            return cast("T", None)

    def fail(self, field: str, description: str) -> None:
        """Note a field that is wrong."""
        self._found.append(InvalidField(field, description))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, InvalidField) and len(self._found) < SHOWN:
            self._found.append(error)
        if self._found:
            raise InvalidField.of(self._found) from None


def caller_at_once(request: MutatingRequest) -> Caller:
    """Check who asks and why, as ``caller_of``, but raise at the first bad field."""
    return Caller(
        text_of(request.triggered_by, "triggered_by"),
        reason_of(request.reason),
        request_id_of(request.request_id),
        principal(),
        incident_of(request.incident),
    )


def caller_of(request: MutatingRequest) -> Caller:
    """Check who asks and why, all of it."""
    with contextlib.suppress(InvalidField):  # told in full below
        return caller_at_once(request)
    with Checks() as check:
        return Caller(
            check(text_of, request.triggered_by, "triggered_by"),
            check(reason_of, request.reason),
            check(request_id_of, request.request_id),
            principal(),
            check(incident_of, request.incident),
        )


def reason_of(text: str) -> str:
    """Check a reason, which may be empty."""
    return lines_of(text, "reason")


def request_id_of(text: str) -> str:
    """Check a request_id, which may be empty."""
    return text_of(text, "request_id", _REQUEST_ID_BYTES)


def incident_of(text: str) -> str:
    """Check the name of an incident, which may be empty."""
    return text_of(text, "incident", _INCIDENT_BYTES)


def with_caller(decode: Callable[[R], T]) -> Callable[[R], tuple[T, Caller]]:
    """Return a decoder of a mutating request that also tells who sends it and why."""

    def decode_both(request: R) -> tuple[T, Caller]:
        with Checks() as check:
            return check(decode, request), check(caller_of, request)

    return decode_both
