"""How breakers change state: under the exclusive pause lock, from the state that they are in."""

from __future__ import annotations

from zart_server.domain.model import StepError
from zart_server.store.connection import Tx
from zart_server.store.leases import error_to_json
from zart_server.store.pausing.rules import LAST_LEASE
from zart_server.store.statement import Statement

_OPEN = Statement(
    """
    UPDATE zart.breakers SET status = 'open', opened_at = statement_timestamp(),
        rule_key = (SELECT rule_key FROM zart.pause_rules WHERE rule_id = :rule_id),
        trip_count = trip_count + 1, last_error = :error
    WHERE breaker_key = :breaker_key
    """,
    locks=("breakers",),
)
_CARRY = Statement(
    f"""
    INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)
    SELECT (SELECT rule_key FROM zart.pause_rules WHERE rule_id = :rule_id), execution_id,
        {LAST_LEASE}
    FROM zart.pause_exemptions WHERE rule_key = :before AND token_until IS NULL
    """
)


async def open_breaker(
    tx: Tx, breaker_key: int, rule_id: str, before: int | None, error: StepError | None
) -> None:
    """Open a closed breaker, whose rule ``rule_id`` is; it exempts what the one ``before`` did.

    The caller has locked the breaker, and holds the pause lock exclusively.
    """
    await tx.execute(
        _OPEN.text,
        *_OPEN.arguments(breaker_key=breaker_key, rule_id=rule_id, error=error_to_json(error)),
    )
    if before is not None:
        await tx.execute(_CARRY.text, *_CARRY.arguments(rule_id=rule_id, before=before))
