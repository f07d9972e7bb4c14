"""What closes a breaker, in whatever statement its rule ends."""

from __future__ import annotations

# It counts from now on. One that closes by itself stays open for longer if it soon opens again.
CLOSES = """status = 'closed', closed_at = statement_timestamp(), generation = generation + 1,
            token_from = zart.last_token(),
            cooldowns = CASE :deleted_by::text WHEN 'breaker ' || breaker_id THEN cooldowns
                ELSE 0 END"""

# Parts of a WITH in which the rows of ``deleted`` are rules that end.
CLOSING = f"""
    closed AS (
        UPDATE zart.breakers b SET {CLOSES}
        WHERE status <> 'closed' AND rule_key = ANY(ARRAY(SELECT rule_key FROM deleted))
        RETURNING breaker_id, rule_key
    ), closings AS (
        INSERT INTO zart.operations (kind, breaker_id, rule_id, task_name, triggered_by, principal,
            reason, request_id, incident)
        SELECT 'breaker_closed', closed.breaker_id, rule_id, COALESCE(task_name, ''), :deleted_by,
            :principal, :closed_for::text, :request_id::text,
            COALESCE(NULLIF(:incident::text, ''), deleted.incident)
        FROM closed JOIN deleted USING (rule_key)
    )
"""
