"""Pause rules, and the pause lock that orders them against claims."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseRule, PauseRuleStatus, PauseScope
from zart_server.store.connection import Connection, Tx
from zart_server.store.operations import RECORD, NewOperation, record_of, recorded, to_text
from zart_server.store.patience import AS_USUAL, UNDER_THE_PAUSE_LOCK, at_most_from_here
from zart_server.store.pausing.released import release_from_json, release_of
from zart_server.store.statement import Statement

# Any number that no other program is likely to lock in the same database.
PAUSE_LOCK = 0x7A61_7274_0002

RULE_COLUMNS = """rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, breaker_id, expiry_rate"""
MAX_EXEMPTIONS = 1_000  # of a rule
LISTED_EXEMPTIONS = 100  # of them are given with each of several rules
# The last lease token given out. Read under the exclusive pause lock, when no claim is under way,
# it divides the leases before from those after.
LAST_LEASE = "zart.last_token()"


def rule_columns(of: str, exempt: int | str = MAX_EXEMPTIONS) -> str:
    """Return the columns of a rule that ``RuleRow`` takes; ``of`` is the table with the others.

    At most so many executions are given that it exempts.
    """
    return f"""{RULE_COLUMNS}, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = {of}.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT {exempt}) AS exempt, (
        SELECT drained_at FROM zart.pause_drains d
        WHERE d.rule_key = {of}.rule_key) AS drained_at, {release_of(of)} AS release"""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A pause rule by its key."""

    rule_key: int
    rule: PauseRule

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> RuleRow:
        """Return the rule in a row of ``rule_columns``."""
        status = PauseRuleStatus.ACTIVE if row["release"] is None else PauseRuleStatus.RELEASING
        if row["deleted_at"] is not None:
            status = PauseRuleStatus.EXPIRED if row["expired"] else PauseRuleStatus.RESUMED
        return cls(
            row["rule_key"],
            PauseRule(
                rule_id=row["rule_id"],
                scope=scope_of(row),
                reason=row["reason"],
                status=status,
                created_at=row["created_at"],
                created_by=row["created_by"],
                expires_at=row["expires_at"],
                deleted_at=row["deleted_at"],
                deleted_by=row["deleted_by"],
                principal=row["principal"],
                deleted_by_principal=row["deleted_by_principal"],
                incident=row["incident"],
                exempt_execution_ids=tuple(row["exempt"]),
                drained_at=row["drained_at"],
                breaker_id=row["breaker_id"],
                release=release_from_json(row["release"]),
                expiry_rate=row["expiry_rate"],
            ),
        )


def active_of(rows: Iterable[RuleRow]) -> list[int]:
    """Return the keys of the rules that are not deleted."""
    return [row.rule_key for row in rows if row.rule.deleted_at is None]


async def share_pause_lock(tx: Tx) -> None:
    """Take the pause lock shared: no rule changes until this transaction ends.

    To be taken before rules are read, and after the last row lock. If the transaction waited for
    anything later, a Pause would wait too, and behind the Pause every claim: so what it waits for
    all the same it waits for half a second, and raises StoreConflict.
    """
    await tx.execute(_SHARE, PAUSE_LOCK)


# In this order: the lock itself is waited for as usual.
_SHARE = f"""
    SELECT {at_most_from_here(UNDER_THE_PAUSE_LOCK)}
    FROM (SELECT pg_advisory_xact_lock_shared($1) OFFSET 0) shared
"""


# The same, sent with the BEGIN of a transaction.
SHARE_PAUSE_LOCK = f"SELECT pg_advisory_xact_lock_shared({PAUSE_LOCK})"
SEIZE_PAUSE_LOCK = f"SELECT pg_advisory_xact_lock({PAUSE_LOCK})"

# The same within a statement; its value is the epoch, which stays until this transaction ends.
SHARED_EPOCH = f"zart.shared_epoch({PAUSE_LOCK})"
# The same for a transaction that waited for rows but a moment: for the pause lock it does as usual.
PATIENT_EPOCH = f"CASE WHEN {AS_USUAL} IS NOT NULL THEN {SHARED_EPOCH} END"
# Likewise, where something was done before: true, or StoreConflict unless the epoch is {epoch}.
EXPECT_EPOCH = f"zart.expect_epoch({PAUSE_LOCK}, {{epoch}})"


def scope_of(row: asyncpg.Record) -> PauseScope:
    """Return the scope in a row of a rule."""
    return PauseScope(row["execution_id"], row["task_name"], row["step_pattern"], row["everything"])


_INSERT = Statement(
    f"""
    WITH rule AS (
        INSERT INTO zart.pause_rules (rule_id, execution_id, task_name, step_pattern,
            step_regex, everything, reason, created_by, principal, incident, breaker_id,
            expires_at, expiry_rate, epoch, token_from)
        SELECT :rule_id, :execution_id, :task_name, :step_pattern,
            :step_regex, :everything, :reason, :created_by, :principal, :incident, :breaker_id,
            COALESCE(:expires_at::timestamptz, statement_timestamp() + :expires_in::interval),
            :expiry_rate, (SELECT epoch + 1 FROM zart.pause_epoch), {LAST_LEASE}
        WHERE :expires_at::timestamptz IS NULL OR :expires_at::timestamptz > statement_timestamp()
        RETURNING {RULE_COLUMNS}
    ), work AS (
        INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'settle' FROM rule
    ), epoch AS (
        UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM rule)
    ), told AS (
        SELECT u.* FROM rule, json_to_recordset(:records::text::json) u({RECORD})
        WHERE rule.breaker_id = ''
    ), operations AS ({recorded("told", "'pause'")})
    SELECT {rule_columns("rule")} FROM rule
    """,
    locks=("pause_epoch",),
)


async def insert_rule(
    tx: Tx,
    rule_id: str,
    scope: PauseScope,
    regex: str | None,
    *,
    caller: Caller,
    expires_at: datetime | None = None,
    expires_in: timedelta | None = None,
    expiry_rate: float | None = None,
    breaker_id: str = "",
) -> RuleRow | None:
    """Insert an active rule that is to be settled, and record the operation.

    Of a breaker's rule its opening is recorded, by its caller. Return None, having inserted
    nothing, if the rule would have expired already. The caller holds the pause lock exclusively.
    """
    operation = NewOperation(
        caller,
        execution_id=scope.execution_id or "",
        rule_id=rule_id,
        task_name=scope.task_name or "",
    )
    row = await tx.fetchrow(
        _INSERT.text,
        *_INSERT.arguments(
            rule_id=rule_id,
            execution_id=scope.execution_id,
            task_name=scope.task_name,
            step_pattern=scope.step_pattern,
            step_regex=regex,
            everything=scope.everything,
            reason=caller.reason,
            created_by=caller.triggered_by,
            principal=caller.principal,
            incident=caller.incident,
            breaker_id=breaker_id,
            expires_at=expires_at,
            expires_in=expires_in,
            expiry_rate=expiry_rate,
            records=to_text([record_of(operation)]),
        ),
    )
    return None if row is None else RuleRow.from_row(row)


async def find_rule(connection: Connection, rule_id: str) -> RuleRow | None:
    """Return a rule by its id, deleted or not."""
    row = await connection.fetchrow(
        f"SELECT {rule_columns('p')} FROM zart.pause_rules p WHERE rule_id = $1", rule_id
    )
    return None if row is None else RuleRow.from_row(row)


class PausesDue(NamedTuple):
    """What ``RuleLooks`` see to: when the next rule expires, and whom it has to begin.

    ``expires_in`` is in seconds, negative if a rule has expired already, None if none will.
    """

    expires_in: float | None
    is_work_left: bool
    is_any_undrained: bool
    is_any_releasing: bool
    is_any_breaker: bool


async def pauses_due(connection: Connection) -> PausesDue:
    """Return what is due for pause rules and breakers; locks nothing."""
    (row,) = await connection.fetch(
        "SELECT EXTRACT(epoch FROM min(expires_at) - statement_timestamp())::float8,"
        " EXISTS (SELECT FROM zart.pause_work),"
        " EXISTS (SELECT FROM zart.pause_drains WHERE drained_at IS NULL),"
        " EXISTS (SELECT FROM zart.pause_releases WHERE ended_at IS NULL)"
        " OR EXISTS (SELECT FROM zart.pause_canaries),"
        " EXISTS (SELECT FROM zart.breakers)"
        " FROM zart.pause_rules WHERE deleted_at IS NULL AND expires_at IS NOT NULL"
    )
    return PausesDue(*row)
