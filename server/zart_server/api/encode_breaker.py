"""Breakers to proto."""

from __future__ import annotations

from zart.v1 import breaker_pb2
from zart_server.api.encode import duration, step_error, timestamp
from zart_server.domain.breakers import Breaker, BreakerStatus

_STATUS = {s: breaker_pb2.BreakerStatus.Value(f"BREAKER_STATUS_{s.name}") for s in BreakerStatus}


def breaker(item: Breaker) -> breaker_pb2.Breaker:
    """Encode a breaker."""
    settings = item.settings
    return breaker_pb2.Breaker(
        breaker_id=item.breaker_id,
        task_name=settings.task_name,
        step_pattern=settings.step_pattern,
        failure_threshold=settings.failure_threshold,
        window=duration(settings.window),
        min_failure_ratio=settings.min_failure_ratio,
        error_group_id=settings.error_group_id,
        cooldown=duration(settings.cooldown),
        probe_steps=settings.probe_steps,
        rate_per_second=settings.rate_per_second,
        status=_STATUS[item.status],
        failures_in_window=item.failures_in_window,
        opened_at=timestamp(item.opened_at),
        half_open_at=timestamp(item.half_open_at),
        rule_id=item.rule_id,
        trip_count=item.trip_count,
        last_error=step_error(item.last_error),
        reason=item.reason,
        created_by=item.created_by,
        principal=item.principal,
        incident=item.incident,
        created_at=timestamp(item.created_at),
        cooldown_ends_at=timestamp(item.cooldown_ends_at),
    )
