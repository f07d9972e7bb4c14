"""BreakerService requests, checked and decoded."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

from zart.v1 import breaker_pb2
from zart.v1 import breaker_service_pb2 as pb
from zart_server.api.checks import Checks
from zart_server.api.fields import MAX_ITEMS, duration_of, has, items_of, name_of
from zart_server.domain.breakers import (
    SETTINGS,
    BreakerSettings,
    CreateBreaker,
    OneBreaker,
    UpdateBreaker,
)
from zart_server.domain.errors import InvalidField
from zart_server.domain.fingerprint import is_error_group_id
from zart_server.domain.globs import check_glob
from zart_server.domain.pacing import FASTEST, SLOWEST

MOST_FAILURES = 10_000
MOST_PROBES = 10_000
_SECOND, _HOUR, _WEEK = timedelta(seconds=1), timedelta(hours=1), timedelta(days=7)
_SHORTEST_COOLDOWN = timedelta(milliseconds=1)  # the next look is half a second later at the most
_REQUIRED = ("failure_threshold", "window")

OneBreakerRequest: TypeAlias = (
    pb.GetBreakerRequest | pb.DeleteBreakerRequest | pb.TripBreakerRequest | pb.ResetBreakerRequest
)


def one_breaker(request: OneBreakerRequest) -> OneBreaker:
    """Decode a request about one breaker."""
    return OneBreaker(name_of(request.breaker_id, "breaker_id"))


def create_breaker(request: pb.CreateBreakerRequest) -> CreateBreaker:
    """Decode CreateBreaker: settings only, the state is the server's."""
    breaker = request.breaker
    with Checks() as check:
        for descriptor, _ in breaker.ListFields():
            if descriptor.name not in SETTINGS:
                check.fail(f"breaker.{descriptor.name}", "is told by the server: leave it out")
        settings = check(_settings, breaker, SETTINGS)
        if settings is not None:
            check(settings.check_scope)
        return CreateBreaker(settings)


def update_breaker(request: pb.UpdateBreakerRequest) -> UpdateBreaker:
    """Decode UpdateBreaker: the settings that its mask names, or those that are set."""
    breaker = request.breaker
    with Checks() as check:
        breaker_id = check(name_of, breaker.breaker_id, "breaker.breaker_id")
        changed = check(_changed, request)
        settings = check(_settings, breaker, changed or ())
        return UpdateBreaker(breaker_id, settings, changed)


def _changed(request: pb.UpdateBreakerRequest) -> tuple[str, ...]:
    """Return the names of the settings to change."""
    items_of(request.update_mask.paths, "update_mask.paths", MAX_ITEMS)
    paths = list(request.update_mask.paths)
    if not paths:  # of a breaker that was read and is sent back, its state is no setting
        given = [field.name for field, _ in request.breaker.ListFields()]
        paths = [name for name in given if name in SETTINGS]
    if not paths:
        raise InvalidField("update_mask", "nothing is to be changed")
    for path in paths:
        if path not in SETTINGS:
            shown = path[:40]
            raise InvalidField("update_mask", f"{shown!r} cannot be changed: {', '.join(SETTINGS)}")
    return tuple(dict.fromkeys(paths))


def _settings(breaker: breaker_pb2.Breaker, names: tuple[str, ...]) -> BreakerSettings:
    """Check the settings that are named; the others stand for nothing."""
    with Checks() as check:
        for name in _REQUIRED:
            if name in names and not _is_set(breaker, name):
                check.fail(f"breaker.{name}", "has to be set")
        return BreakerSettings(
            task_name=check(_task_name, breaker),
            step_pattern=check(_pattern, breaker),
            failure_threshold=check(
                _number, breaker.failure_threshold, "failure_threshold", MOST_FAILURES
            ),
            window=check(_span, breaker, "window", _SECOND, _HOUR) or _SECOND,
            min_failure_ratio=check(_ratio, breaker.min_failure_ratio),
            error_group_id=check(_group, breaker),
            cooldown=check(_span, breaker, "cooldown", _SHORTEST_COOLDOWN, _WEEK),
            probe_steps=check(_number, breaker.probe_steps, "probe_steps", MOST_PROBES) or 1,
            rate_per_second=check(_rate, breaker),
        )


def _is_set(breaker: breaker_pb2.Breaker, name: str) -> bool:
    return any(field.name == name for field, _ in breaker.ListFields())


def _task_name(breaker: breaker_pb2.Breaker) -> str | None:
    return name_of(breaker.task_name, "breaker.task_name") if has(breaker, "task_name") else None


def _pattern(breaker: breaker_pb2.Breaker) -> str | None:
    if not has(breaker, "step_pattern"):
        return None
    try:
        check_glob(breaker.step_pattern)
    except ValueError as error:
        raise InvalidField("breaker.step_pattern", str(error)) from None
    return breaker.step_pattern


def _number(value: int, name: str, most: int) -> int:
    """Check a number, 0 where it is not set."""
    if not 0 <= value <= most:
        raise InvalidField(f"breaker.{name}", f"is {value}, must be 1 to {most}")
    return value


def _span(
    breaker: breaker_pb2.Breaker, name: str, least: timedelta, most: timedelta
) -> timedelta | None:
    if not has(breaker, name):
        return None
    return duration_of(getattr(breaker, name), f"breaker.{name}", least, most)


def _ratio(value: float) -> float:
    if not 0 <= value <= 1:
        raise InvalidField("breaker.min_failure_ratio", f"is {value:g}, must be 0 to 1")
    return value


def _group(breaker: breaker_pb2.Breaker) -> str | None:
    if not has(breaker, "error_group_id"):
        return None
    if not is_error_group_id(breaker.error_group_id):
        raise InvalidField(
            "breaker.error_group_id", "is no id of a group of errors that this server can tell"
        )
    return breaker.error_group_id


def _rate(breaker: breaker_pb2.Breaker) -> float | None:
    if not has(breaker, "rate_per_second"):
        return None
    rate = breaker.rate_per_second
    if not math.isfinite(rate) or not SLOWEST <= rate <= FASTEST:
        raise InvalidField(
            "breaker.rate_per_second", f"is {rate:g}, must be {SLOWEST:g} to {FASTEST:,.0f}"
        )
    return rate
