"""The probes of a half-open breaker: attempts that its rule has let go since then.

An operator's have no token: what was ended by hand is no probe.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import StepError
from zart_server.store.connection import Connection, Tx
from zart_server.store.leases import error_from_json
from zart_server.store.pausing.released import is_releasing, standing
from zart_server.store.statement import Statement


class Probes(NamedTuple):
    """How a breaker's probes stand. What ended otherwise, or was cancelled, is none of them."""

    breaker_key: int
    rule_key: int
    since: datetime
    wanted: int
    good: int
    bad: int
    under_way: int

    @property
    def missing(self) -> int:
        """How many more are to be let go."""
        return max(self.wanted - self.good - self.under_way, 0)


_STANDING = """zart.released_steps x
    WHERE (x.rule_key + 0, x.released_at) > (b.rule_key, b.half_open_at)
      AND (x.rule_key + 0, x.released_at) <= (b.rule_key, 'infinity')"""
# Under way is also what a releasing rule has in its line though it was let go: it goes at a pace.
_PROBES = f"""
    SELECT b.breaker_key, b.rule_key, b.half_open_at, b.probe_steps, p.good, p.bad, p.under_way
    FROM zart.breakers b CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE s.status = 'completed' AND s.attempt = x.attempt
                AND s.resolution IS NULL) AS good,
            count(a.status) AS bad, count(t.attempt) AS under_way
        FROM (SELECT x.* FROM {_STANDING} OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT status, attempt, resolution FROM zart.steps
            WHERE run_key = x.run_key AND step_no = x.step_no OFFSET 0) s ON true
        LEFT JOIN LATERAL (
            SELECT status FROM zart.attempts
            WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
              AND status IN ('failed', 'timed_out', 'lost') AND lease_token IS NOT NULL
            OFFSET 0) a ON true
        LEFT JOIN LATERAL (
            SELECT attempt FROM zart.queue
            WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
              AND x.token_until IS NULL
            UNION ALL
            SELECT attempt FROM zart.leases
            WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
            UNION ALL
            SELECT attempt FROM zart.held h
            WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
              AND x.token_until IS NULL AND {is_releasing("h.rule_key")} OFFSET 0
            ) t ON true) p
    WHERE b.status = 'half_open' AND NOT {is_releasing("b.rule_key")}
"""
_ERROR = f"""
    SELECT a.error FROM zart.breakers b CROSS JOIN LATERAL (
        SELECT x.* FROM {_STANDING} OFFSET 0) x
    CROSS JOIN LATERAL (
        SELECT error, completed_at FROM zart.attempts
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
          AND status IN ('failed', 'timed_out', 'lost') AND lease_token IS NOT NULL OFFSET 0) a
    WHERE b.breaker_key = $1 ORDER BY a.completed_at DESC LIMIT 1
"""


async def find_probes(connection: Connection, breaker_id: str) -> Probes | None:
    """Return how the probes of a breaker stand.

    None: it is not half open, or somebody else has begun to end its rule at a pace.
    """
    row = await connection.fetchrow(f"{_PROBES} AND b.breaker_id = $1", breaker_id)
    return None if row is None else Probes(*row)


async def find_probes_of_rules(connection: Connection, rule_keys: Collection[int]) -> list[Probes]:
    """Return how the probes stand of those breakers, half open, whose rules have these keys."""
    rows = await connection.fetch(f"{_PROBES} AND b.rule_key = ANY($1::bigint[])", rule_keys)
    return [Probes(*row) for row in rows]


async def error_of_probes(connection: Connection, breaker_key: int) -> StepError | None:
    """Return the last error of a breaker's probes."""
    error: str | None = await connection.fetchval(_ERROR, breaker_key)
    return error_from_json(error)


_TAKE_BACK = Statement(
    f"""
    WITH taken AS (
        UPDATE zart.released_steps s SET token_until = t.token
        FROM (SELECT zart.last_token() AS token OFFSET 0) t
        WHERE s.rule_key = :rule_key AND {standing("s")}
        RETURNING s.rule_key
    ), canary AS (
        DELETE FROM zart.pause_canaries WHERE rule_key = :rule_key
    )
    INSERT INTO zart.pause_work (rule_key, work, of_released)
    SELECT DISTINCT rule_key, 'settle', true FROM taken
    ON CONFLICT (rule_key, work, execution_id, of_released) DO UPDATE SET work_no = DEFAULT
    """,
    locks=("released_steps", "pause_canaries"),
)


async def take_back(tx: Tx, rule_key: int) -> None:
    """Have a rule withhold again what it let go and nobody has leased: that is to be settled.

    A canary that it promised is taken back, too. The caller holds the pause lock exclusively: no
    claim is under way.
    """
    await tx.execute(_TAKE_BACK.text, *_TAKE_BACK.arguments(rule_key=rule_key))
