"""The receipt of a pause rule, domain to proto."""

from __future__ import annotations

from zart.v1 import admin_service_pb2, pause_rule_pb2
from zart_server.api.encode import timestamp
from zart_server.domain.receipts import Receipt, ReceiptGap, RuleAttempt

_GAP = {g: admin_service_pb2.ReceiptGap.Value(f"RECEIPT_GAP_{g.name}") for g in ReceiptGap}


def receipt(item: Receipt) -> admin_service_pb2.VerifyPauseRuleResponse:
    """Encode a receipt."""
    return admin_service_pb2.VerifyPauseRuleResponse(
        clean=item.is_clean,
        window_started_at=timestamp(item.window.started_at),
        window_ended_at=timestamp(item.window.ended_at),
        checked_attempts=item.checked,
        in_flight_at_start=item.in_flight_at_start,
        exempt_attempts=item.exempt,
        released_attempts=item.released,
        last_before=None if item.last_before is None else _attempt(item.last_before),
        first_after=None if item.first_after is None else _attempt(item.first_after),
        violations=map(_attempt, item.violations),
        violations_is_lower_bound=item.violations_is_lower_bound,
        is_complete=item.is_complete,
        gaps=[_GAP[gap] for gap in item.gaps],
    )


def _attempt(item: RuleAttempt) -> pause_rule_pb2.RuleAttempt:
    return pause_rule_pb2.RuleAttempt(
        execution_id=item.execution_id,
        run_number=item.run_number,
        step_name=item.step_name,
        attempt=item.attempt,
        dispatcher_id=item.dispatcher_id,
        started_at=timestamp(item.started_at),
        ended_at=timestamp(item.ended_at),
    )
