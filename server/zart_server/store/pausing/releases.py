"""The releases of rules: a rule with one that has not ended is RELEASING.

A release is written by the sweep that has the rule's advisory lock, under the pause lock, shared,
or by an operation that holds it exclusively: nobody ever waits for its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.commands import Caller
from zart_server.domain.pacing import most_unleased
from zart_server.store.connection import Connection, Tx
from zart_server.store.pace import CREDIT
from zart_server.store.pausing.exempting import exempts
from zart_server.store.pausing.matching import tasks_matched
from zart_server.store.pausing.released import seconds_since, standing
from zart_server.store.statement import Statement


@dataclass(frozen=True, slots=True)
class StandingRelease:
    """A release that has not ended, as of ``now`` by the database's clock.

    ``unleased``: how many released steps may be queued and not leased. ``counted_ago``: seconds
    since they were counted, None if they never were. ``moved_ago``: since its last move.
    ``started_at`` tells it from one that the rule had before.
    """

    rule_key: int
    rate: float
    credit: float
    unleased: int
    is_settled: bool
    now: datetime
    counted_ago: float | None
    moved_ago: float | None
    started_at: datetime

    @property
    def room(self) -> int:
        """How many steps more may be released before some are leased."""
        return most_unleased(self.rate) - self.unleased


_STANDING = f"""
    SELECT rule_key, rate_per_second, {CREDIT}, unleased_steps + released_steps - counted_released,
        NOT EXISTS (SELECT FROM zart.pause_work w
            WHERE w.rule_key = r.rule_key AND work = 'settle' OFFSET 0),
        statement_timestamp(),
        {seconds_since("counted_at")}, {seconds_since("credit_at")}, started_at
    FROM zart.pause_releases r WHERE ended_at IS NULL ORDER BY rule_key
"""


async def standing_releases(connection: Connection) -> dict[int, StandingRelease]:
    """Return the releases that have not ended, by rule key; locks nothing.

    They stay the same but for what their sweeps write while the caller holds the pause lock.
    """
    return {row[0]: StandingRelease(*row) for row in await connection.fetch(_STANDING)}


_BEGIN = Statement(
    """
    WITH kept AS (
        UPDATE zart.pause_rules SET expires_at = NULL
        WHERE expires_at IS NOT NULL AND rule_key = ANY(ARRAY(
            SELECT rule_key FROM zart.pause_rules WHERE rule_key = ANY(:rule_keys::bigint[])
            ORDER BY rule_key FOR NO KEY UPDATE))
    ), canaries AS (
        DELETE FROM zart.pause_canaries WHERE rule_key = ANY(:rule_keys::bigint[])
    )
    INSERT INTO zart.pause_releases AS r (rule_key, rate_per_second, credit, started_by, principal,
        reason, incident)
    SELECT rule_key, rate, 1, :started_by, :principal, :reason, :incident
    FROM unnest(:rule_keys::bigint[], :rates::float8[]) begun(rule_key, rate)
    ON CONFLICT (rule_key) DO UPDATE SET (rate_per_second, credit, credit_at, released_steps,
            unleased_steps, paused_steps, counted_released, counted_at, is_waiting,
            expected_end_at, started_at, started_by, principal, reason, incident, ended_at)
        = (excluded.rate_per_second, 1, NULL, 0, 0, 0, 0, NULL, false,
            NULL, excluded.started_at, excluded.started_by, excluded.principal, excluded.reason,
            excluded.incident, NULL)
    """,
    locks=("pause_rules", "pause_canaries"),
)


async def begin_release(tx: Tx, rule_key: int, rate: float, caller: Caller) -> None:
    """Have an active rule release its steps at a rate; it does not expire any more.

    The caller holds the pause lock exclusively.
    """
    await begin_releases(tx, {rule_key: rate}, caller)


async def begin_releases(tx: Tx, rates: Mapping[int, float], caller: Caller) -> None:
    """Have active rules, by their keys, release their steps as ``begin_release`` does, at rates."""
    values = _BEGIN.arguments(
        rule_keys=list(rates),
        rates=list(rates.values()),
        started_by=caller.triggered_by,
        principal=caller.principal,
        reason=caller.reason,
        incident=caller.incident,
    )
    await tx.execute(_BEGIN.text, *values)


async def change_rate(tx: Tx, rule_key: int, rate: float) -> bool:
    """Give a release another rate; return False if the rule is not releasing.

    The credit of the time until now is of the former rate. The caller holds the pause lock
    exclusively.
    """
    touched = await tx.execute(
        f"""
        UPDATE zart.pause_releases
        SET credit = GREATEST(0, LEAST(GREATEST($2::float8, 1), {CREDIT})),
            rate_per_second = $2::float8, counted_at = NULL,
            credit_at = CASE WHEN credit_at IS NOT NULL THEN statement_timestamp() END,
            expected_end_at = NULL
        WHERE rule_key = $1 AND ended_at IS NULL
        """,
        rule_key,
        rate,
    )
    return touched > 0


_STOP = Statement(
    f"""
    WITH stopped AS (
        UPDATE zart.pause_releases SET ended_at = statement_timestamp()
        WHERE rule_key = :rule_key AND ended_at IS NULL
        RETURNING rule_key
    ), taken AS (
        UPDATE zart.released_steps s SET token_until = t.token
        FROM (SELECT zart.last_token() AS token OFFSET 0) t
        WHERE s.rule_key = (SELECT rule_key FROM stopped) AND {standing("s")}
        RETURNING s.rule_key
    ), work AS (
        INSERT INTO zart.pause_work (rule_key, work, of_released)
        SELECT rule_key, 'settle', true FROM stopped WHERE EXISTS (SELECT FROM taken)
        ON CONFLICT (rule_key, work, execution_id, of_released) DO UPDATE SET work_no = DEFAULT
    )
    SELECT EXISTS (SELECT FROM stopped)
    """,
    locks=("pause_releases", "released_steps"),
)


async def stop_release(tx: Tx, rule_key: int) -> bool:
    """End a release: the rule withholds again what it let go and nobody has leased.

    That is to be settled. Return False if the rule is not releasing. The caller holds the pause
    lock exclusively: no claim is under way.
    """
    is_stopped: bool = await tx.fetchval(_STOP.text, *_STOP.arguments(rule_key=rule_key))
    return is_stopped


async def is_settled(connection: Connection, rule_key: int) -> bool:
    """Return whether what a rule withholds is in its line; it stays so under the pause lock."""
    found: bool = await connection.fetchval(
        "SELECT NOT EXISTS (SELECT FROM zart.pause_work WHERE rule_key = $1 AND work = 'settle')",
        rule_key,
    )
    return found


class BegunRelease(NamedTuple):
    """A release that has not ended, the rule it is of, and who began it, as of ``now``.

    ``rule_epoch`` is that of the last change of the rule, as of whom it exempts.
    """

    rule_id: str
    caller: Caller
    started_at: datetime
    rule_epoch: int
    now: datetime


async def begun_release(connection: Connection, rule_key: int) -> BegunRelease | None:
    """Return the release of a rule if it has not ended."""
    row = await connection.fetchrow(
        "SELECT p.rule_id, r.started_by, r.reason, r.principal, r.incident, r.started_at, p.epoch,"
        " statement_timestamp()"
        " FROM zart.pause_releases r JOIN zart.pause_rules p USING (rule_key)"
        " WHERE r.rule_key = $1 AND r.ended_at IS NULL AND p.deleted_at IS NULL",
        rule_key,
    )
    if row is None:
        return None
    caller = Caller(row[1], row[2], "", row[3], row[4])
    return BegunRelease(row[0], caller, *row[5:])


async def has_line(connection: Connection, rule_key: int, since: datetime | None = None) -> bool:
    """Return whether a paused step is attributed to a rule, of those that can run ``since`` then.

    Without it the whole line is looked at, with all that died in it while a snapshot is open.
    """
    found: bool = await connection.fetchval(
        # Compared as a whole, as no other index has it: that of lanes has its order, too.
        "SELECT (SELECT rule_key FROM zart.held WHERE (rule_key, not_before, queue_no)"
        " > ($1::bigint, COALESCE($2, '-infinity'::timestamptz), -1)"
        " AND (rule_key, not_before, queue_no) < ($1 + 1, '-infinity'::timestamptz, 0)"
        " ORDER BY rule_key, not_before, queue_no LIMIT 1) IS NOT NULL",
        rule_key,
        since,
    )
    return found


_IS_ANY_PUT_BACK = """
    SELECT EXISTS (
        SELECT FROM (
            SELECT run_key, step_no FROM zart.attempts
            WHERE completed_at >= $2 AND status = 'released') a
        CROSS JOIN LATERAL (
            SELECT rule_key FROM zart.held h
            WHERE h.run_key = a.run_key AND h.step_no = a.step_no OFFSET 0) h
        WHERE h.rule_key = $1)
"""


async def is_any_put_back(connection: Connection, rule_key: int, since: datetime) -> bool:
    """Return whether a step is attributed to a rule of which an attempt was given back ``since``.

    It may stand in the rule's line where it stood before it was leased, which may be long ago.
    """
    found: bool = await connection.fetchval(_IS_ANY_PUT_BACK, rule_key, since)
    return found


_WITHHOLDS_ANY = f"""
    SELECT EXISTS (
        SELECT FROM zart.pause_rules r CROSS JOIN LATERAL ({tasks_matched("held", "NULL")}) m
        CROSS JOIN LATERAL (
            SELECT attempt, queue_no FROM zart.held h
            WHERE h.run_key = m.run_key AND h.step_no = m.step_no OFFSET 0) h
        WHERE r.rule_key = $1 AND ($2::bigint IS NULL OR h.queue_no <= $2) AND NOT EXISTS (
            SELECT FROM zart.released_steps s
            WHERE s.run_key = m.run_key AND s.step_no = m.step_no AND s.attempt = h.attempt
              AND s.rule_key = r.rule_key AND s.token_until IS NULL OFFSET 0)
          AND NOT {
    exempts(
        "r.rule_key",
        '''(
            SELECT execution_id FROM zart.executions WHERE execution_key = (
                SELECT execution_key FROM zart.runs WHERE run_key = m.run_key))''',
    )
})
"""


async def withholds_any(
    connection: Connection, rule_key: int, last_queue_no: int | None = None
) -> bool:
    """Return whether a rule withholds a paused step, whatever rule it is attributed to.

    With a ``last_queue_no``: one that was ready up to that.
    """
    found: bool = await connection.fetchval(_WITHHOLDS_ANY, rule_key, last_queue_no)
    return found
