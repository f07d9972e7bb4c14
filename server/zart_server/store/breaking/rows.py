"""Rows of breakers: read, made, changed by their callers, deleted."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import asyncpg

from zart_server.domain.breakers import SETTINGS, Breaker, BreakerSettings, BreakerStatus
from zart_server.domain.commands import Caller, Page
from zart_server.domain.operations import OperationKind
from zart_server.store.connection import Connection, Tx
from zart_server.store.leases import error_from_json
from zart_server.store.pausing.rules import LAST_LEASE
from zart_server.store.statement import Statement

# When what ended counts, to the second in which that is. It may have ended after this statement
# began, and be seen by it; what is later than that is of a clock that was ahead.
IN_WINDOW = """c.second > statement_timestamp() - b.counted_within - interval '1 second'
    AND c.second <= statement_timestamp() + interval '1 second'"""
_COLUMNS = f"""b.*,
    (SELECT rule_id FROM zart.pause_rules WHERE rule_key = b.rule_key) AS rule_id,
    CASE b.status WHEN 'open' THEN b.opened_at + b.cooldown * b.cooldowns END AS cooldown_ends_at,
    CASE b.status WHEN 'closed' THEN (
        SELECT sum(failed) FROM zart.breaker_counts c
        WHERE c.breaker_key = b.breaker_key AND c.generation = b.generation AND {IN_WINDOW})
    END AS failures_in_window"""


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """A breaker by its key, the generation of its counts, and the key of its last rule."""

    breaker_key: int
    generation: int
    rule_key: int | None
    breaker: Breaker

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> BreakerRow:
        """Return the breaker in a row of ``_COLUMNS``."""
        return cls(
            row["breaker_key"],
            row["generation"],
            row["rule_key"],
            Breaker(
                breaker_id=row["breaker_id"],
                settings=BreakerSettings(
                    window=row["counted_within"],
                    **{name: row[name] for name in SETTINGS if name != "window"},
                ),
                status=BreakerStatus(row["status"]),
                failures_in_window=row["failures_in_window"] or 0,
                opened_at=row["opened_at"],
                half_open_at=row["half_open_at"],
                cooldown_ends_at=row["cooldown_ends_at"],
                rule_id=row["rule_id"] or "",
                trip_count=row["trip_count"],
                last_error=error_from_json(row["last_error"]),
                reason=row["reason"],
                created_by=row["created_by"],
                principal=row["principal"],
                incident=row["incident"],
                created_at=row["created_at"],
            ),
        )


async def find_breaker(connection: Connection, breaker_id: str) -> BreakerRow | None:
    """Return a breaker by its id."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM zart.breakers b WHERE breaker_id = $1", breaker_id
    )
    return None if row is None else BreakerRow.from_row(row)


async def lock_breaker(tx: Tx, breaker_id: str) -> BreakerRow | None:
    """Lock a breaker, and return it as it is then."""
    await tx.execute(
        "SELECT FROM zart.breakers WHERE breaker_id = $1 FOR NO KEY UPDATE", breaker_id
    )
    return await find_breaker(tx, breaker_id)


_LIST = f"""
    SELECT {_COLUMNS} FROM zart.breakers b WHERE breaker_key < $1
    ORDER BY breaker_key DESC LIMIT $2
"""


async def list_breakers(
    connection: Connection, cursor: tuple[int | str, ...] | None, limit: int
) -> Page[Breaker]:
    """List breakers, newest first."""
    before = 2**63 - 1 if cursor is None else int(cursor[0])
    rows = [BreakerRow.from_row(row) for row in await connection.fetch(_LIST, before, limit + 1)]
    shown = rows[:limit]
    cursors = tuple((row.breaker_key,) for row in shown)
    until = cursors[-1] if len(rows) > limit else None
    return Page(tuple(row.breaker for row in shown), cursors, until)


_INSERT = Statement(
    f"""
    INSERT INTO zart.breakers (breaker_id, task_name, step_pattern, failure_threshold,
        counted_within, min_failure_ratio, error_group_id, cooldown, probe_steps, rate_per_second,
        token_from, reason, created_by, principal, incident)
    VALUES (:breaker_id, :task_name, :step_pattern, :failure_threshold, :window,
        :min_failure_ratio, :error_group_id, :cooldown, :probe_steps, :rate_per_second,
        {LAST_LEASE}, :reason, :created_by, :principal, :incident)
    """
)


async def insert_breaker(
    tx: Tx, breaker_id: str, settings: BreakerSettings, caller: Caller
) -> None:
    """Insert a breaker, closed. Attempts that are leased from now on count."""
    await tx.execute(
        _INSERT.text,
        *_INSERT.arguments(
            breaker_id=breaker_id,
            reason=caller.reason,
            created_by=caller.triggered_by,
            principal=caller.principal,
            incident=caller.incident,
            **asdict(settings),
        ),
    )


# closed_at is when its generation began; one that had been closed long enough not to flap does not.
_UPDATE = Statement(
    f"""
    UPDATE zart.breakers SET task_name = :task_name, step_pattern = :step_pattern,
        failure_threshold = :failure_threshold, counted_within = :window,
        min_failure_ratio = :min_failure_ratio, error_group_id = :error_group_id,
        cooldown = :cooldown, probe_steps = :probe_steps, rate_per_second = :rate_per_second,
        updated_at = statement_timestamp(),
        generation = generation + :anew::boolean::integer,
        token_from = CASE WHEN :anew THEN {LAST_LEASE} ELSE token_from END,
        closed_at = CASE WHEN :anew THEN statement_timestamp() ELSE closed_at END,
        cooldowns = CASE WHEN :anew AND status = 'closed' AND (
            statement_timestamp() < closed_at + cooldown * cooldowns) IS NOT TRUE THEN 0
            ELSE cooldowns END
    WHERE breaker_key = :breaker_key
    """,
    locks=("breakers",),
)


async def update_settings(
    tx: Tx, breaker_key: int, settings: BreakerSettings, *, anew: bool
) -> None:
    """Change the settings of a breaker that is locked; ``anew``: it counts from now on."""
    await tx.execute(
        _UPDATE.text, *_UPDATE.arguments(breaker_key=breaker_key, anew=anew, **asdict(settings))
    )


_LEAVE_RULES = """
    WITH standing AS (
        UPDATE zart.pause_rules SET breaker_id = ''
        WHERE deleted_at IS NULL AND (breaker_id = $1 OR rule_key = $2)
        RETURNING rule_key, rule_id
    )
    SELECT rule_id FROM standing ORDER BY rule_key DESC LIMIT 1
"""


async def drop_breaker(tx: Tx, row: BreakerRow) -> str:
    """Delete a breaker that the caller has locked; its rules that stand become ordinary ones.

    Return the id of the newest of these; empty: it leaves none. A closed one leaves those that
    still end at a pace, and one whose release was stopped. The caller holds the pause lock
    exclusively.
    """
    left: str | None = await tx.fetchval(_LEAVE_RULES, row.breaker.breaker_id, row.rule_key)
    await tx.execute("DELETE FROM zart.breakers WHERE breaker_key = $1", row.breaker_key)
    await tx.execute("DELETE FROM zart.breaker_counts WHERE breaker_key = $1", row.breaker_key)
    return left or ""


_RECORD = Statement(
    """
    INSERT INTO zart.operations (kind, breaker_id, rule_id, task_name, triggered_by, principal,
        reason, request_id, incident)
    VALUES (:kind, :breaker_id, :rule_id, :task_name, :triggered_by, :principal,
        :reason, :request_id, COALESCE(NULLIF(:incident::text, ''),
            (SELECT incident FROM zart.pause_rules WHERE rule_id = :rule_id::text), ''))
    """
)


async def record(
    tx: Tx, kind: OperationKind, breaker: Breaker, caller: Caller, *, rule_id: str | None = None
) -> None:
    """Record what was done to a breaker, with a rule: by default its own, if it is not closed.

    ``rule_id`` names another one; empty: none. It belongs to the caller's incident, else to that
    of the rule.
    """
    if rule_id is None:
        rule_id = "" if breaker.status is BreakerStatus.CLOSED else breaker.rule_id
    await tx.execute(
        _RECORD.text,
        *_RECORD.arguments(
            kind=kind.value,
            breaker_id=breaker.breaker_id,
            rule_id=rule_id,
            task_name=breaker.settings.task_name or "",
            triggered_by=caller.triggered_by,
            principal=caller.principal,
            reason=caller.reason,
            request_id=caller.request_id,
            incident=caller.incident,
        ),
    )
