"""The calls of BreakerService."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from zart.calls.call import Call, ListCall, page_reader, reader, span
from zart.calls.payload import UNSET, Unset
from zart.models import Breaker, ChangedBreaker, DeletedBreaker
from zart.v1 import breaker_pb2
from zart.v1 import breaker_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["BreakerService"].methods_by_name
_SPANS = ("window", "cooldown")


def create_breaker(
    *,
    task_name: str | None = None,
    step_pattern: str | None = None,
    failure_threshold: int,
    window: float | timedelta,
    min_failure_ratio: float = 0.0,
    error_group_id: str | None = None,
    cooldown: float | timedelta | None = None,
    probe_steps: int = 1,
    rate_per_second: float | None = None,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBreaker]:
    """Make a breaker of a task, of step names, or of both.

    It pauses them once ``failure_threshold`` of their attempts ended badly within ``window``.
    ``window`` and ``cooldown`` are in seconds or timedeltas. Raises InvalidField.
    """
    breaker = _breaker(
        task_name=task_name,
        step_pattern=step_pattern,
        failure_threshold=failure_threshold,
        window=window,
        min_failure_ratio=min_failure_ratio,
        error_group_id=error_group_id,
        cooldown=cooldown,
        probe_steps=probe_steps,
        rate_per_second=rate_per_second,
    )
    request = pb.CreateBreakerRequest(
        breaker=breaker,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["CreateBreaker"], request, reader(ChangedBreaker))


def get_breaker(breaker_id: str) -> Call[Breaker]:
    """Read a breaker. Raises BreakerNotFound."""
    read = reader(Breaker)
    request = pb.GetBreakerRequest(breaker_id=breaker_id)
    return Call(_METHODS["GetBreaker"], request, lambda answer: read(answer.breaker))


def list_breakers(*, page_size: int = 0, page_token: str = "") -> ListCall[Breaker]:
    """List the breakers, newest first."""
    request = pb.ListBreakersRequest(page_size=page_size, page_token=page_token)
    return ListCall(_METHODS["ListBreakers"], request, page_reader(Breaker, "breakers"))


def update_breaker(
    breaker_id: str,
    *,
    task_name: str | Unset | None = UNSET,
    step_pattern: str | Unset | None = UNSET,
    failure_threshold: int | Unset = UNSET,
    window: float | timedelta | Unset = UNSET,
    min_failure_ratio: float | Unset = UNSET,
    error_group_id: str | Unset | None = UNSET,
    cooldown: float | timedelta | Unset | None = UNSET,
    probe_steps: int | Unset = UNSET,
    rate_per_second: float | Unset | None = UNSET,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBreaker]:
    """Change what a breaker counts and does, and leave its state; None unsets what is given so.

    Raises BreakerNotFound and InvalidField, also if nothing is given.
    """
    given = {
        "task_name": task_name,
        "step_pattern": step_pattern,
        "failure_threshold": failure_threshold,
        "window": window,
        "min_failure_ratio": min_failure_ratio,
        "error_group_id": error_group_id,
        "cooldown": cooldown,
        "probe_steps": probe_steps,
        "rate_per_second": rate_per_second,
    }
    changed = {name: value for name, value in given.items() if not isinstance(value, Unset)}
    breaker = _breaker(**changed)
    breaker.breaker_id = breaker_id
    request = pb.UpdateBreakerRequest(
        breaker=breaker,
        update_mask=FieldMask(paths=changed),
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["UpdateBreaker"], request, reader(ChangedBreaker))


def _breaker(**settings: Any) -> breaker_pb2.Breaker:  # noqa: ANN401 - of each field its own
    spans = {name: span(settings[name], name) for name in _SPANS if settings.get(name) is not None}
    return breaker_pb2.Breaker(**{**settings, **spans})


def delete_breaker(
    breaker_id: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[DeletedBreaker]:
    """Delete a breaker; the answer names the pause rule that it leaves. Raises BreakerNotFound."""
    request = pb.DeleteBreakerRequest(
        breaker_id=breaker_id,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["DeleteBreaker"], request, reader(DeletedBreaker))


def trip_breaker(
    breaker_id: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBreaker]:
    """Open a breaker by hand; one that is open stays as it is. Raises BreakerNotFound."""
    request = pb.TripBreakerRequest(
        breaker_id=breaker_id,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["TripBreaker"], request, reader(ChangedBreaker))


def reset_breaker(
    breaker_id: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBreaker]:
    """Close a breaker by hand; one that is closed stays as it is. Raises BreakerNotFound."""
    request = pb.ResetBreakerRequest(
        breaker_id=breaker_id,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["ResetBreaker"], request, reader(ChangedBreaker))
