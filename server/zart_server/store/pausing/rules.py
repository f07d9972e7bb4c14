"""Pause rules, and the pause lock that orders them against claims."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseRule, PauseRuleStatus, PauseScope
from zart_server.store.connection import Connection, Tx
from zart_server.store.operations import RECORD, NewOperation, record_of, recorded, to_text
from zart_server.store.statement import Statement

# Any number that no other program is likely to lock in the same database.
PAUSE_LOCK = 0x7A61_7274_0002

_COLUMNS = """rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident"""
MAX_EXEMPTIONS = 1_000  # of a rule
# The last lease token given out. Read under the exclusive pause lock, when no claim is under way,
# it divides the leases before from those after.
LAST_LEASE = "zart.last_token()"


def rule_columns(of: str, exempt: int = MAX_EXEMPTIONS) -> str:
    """Return the columns of a rule that ``RuleRow`` takes; ``of`` is the table with the others.

    At most so many executions are given that it exempts.
    """
    return f"""{_COLUMNS}, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = {of}.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT {exempt}) AS exempt"""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A pause rule by its key."""

    rule_key: int
    rule: PauseRule

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> RuleRow:
        """Return the rule in a row of ``rule_columns``."""
        status = PauseRuleStatus.ACTIVE
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
            ),
        )


async def share_pause_lock(tx: Tx) -> None:
    """Take the pause lock shared: no rule changes until this transaction ends.

    To be taken before rules are read, and after the last row lock. If the transaction waited for
    anything later, a Pause would wait too, and behind the Pause every claim.
    """
    await tx.execute("SELECT pg_advisory_xact_lock_shared($1)", PAUSE_LOCK)


# The same, sent with the BEGIN of a transaction.
SHARE_PAUSE_LOCK = f"SELECT pg_advisory_xact_lock_shared({PAUSE_LOCK})"
SEIZE_PAUSE_LOCK = f"SELECT pg_advisory_xact_lock({PAUSE_LOCK})"

# The same within a statement; its value is the epoch, which stays until this transaction ends.
SHARED_EPOCH = f"zart.shared_epoch({PAUSE_LOCK})"
# Likewise, where something was done before: true, or StoreConflict unless the epoch is {epoch}.
EXPECT_EPOCH = f"zart.expect_epoch({PAUSE_LOCK}, {{epoch}})"


def scope_of(row: asyncpg.Record) -> PauseScope:
    """Return the scope in a row of a rule."""
    return PauseScope(row["execution_id"], row["task_name"], row["step_pattern"], row["everything"])


_INSERT = Statement(
    f"""
    WITH rule AS (
        INSERT INTO zart.pause_rules (rule_id, execution_id, task_name, step_pattern,
            step_regex, everything, reason, created_by, principal, incident, expires_at,
            epoch, token_from)
        SELECT :rule_id, :execution_id, :task_name, :step_pattern,
            :step_regex, :everything, :reason, :created_by, :principal, :incident,
            COALESCE(:expires_at::timestamptz, statement_timestamp() + :expires_in::interval),
            (SELECT epoch + 1 FROM zart.pause_epoch), {LAST_LEASE}
        WHERE :expires_at::timestamptz IS NULL OR :expires_at::timestamptz > statement_timestamp()
        RETURNING {_COLUMNS}
    ), work AS (
        INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'settle' FROM rule
    ), epoch AS (
        UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM rule)
    ), told AS (
        SELECT u.* FROM rule, json_to_recordset(:records::text::json) u({RECORD})
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
    expires_at: datetime | None,
    expires_in: timedelta | None,
) -> RuleRow | None:
    """Insert an active rule that is to be settled, and record the operation.

    Return None, having inserted nothing, if the rule would have expired already. The caller holds
    the pause lock exclusively.
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
            expires_at=expires_at,
            expires_in=expires_in,
            records=to_text([record_of(operation)]),
        ),
    )
    return None if row is None else RuleRow.from_row(row)


# The rule named, or those whose own fields equal every field of a scope.
_WANTED = """(:rule_id::text IS NULL OR rule_id = :rule_id)
    AND (:execution_id::text IS NULL OR execution_id = :execution_id)
    AND (:task_name::text IS NULL OR task_name = :task_name)
    AND (:step_pattern::text IS NULL OR step_pattern = :step_pattern)"""
_ACTIVE_KEYS = Statement(
    f"""
    SELECT rule_key FROM zart.pause_rules WHERE deleted_at IS NULL
        AND {_WANTED}
    ORDER BY rule_key
    """
)


def _wanted(rule_id: str | None, scope: PauseScope) -> dict[str, object]:
    return {
        "rule_id": rule_id,
        "execution_id": scope.execution_id,
        "task_name": scope.task_name,
        "step_pattern": scope.step_pattern,
    }


async def active_rule_keys(
    connection: Connection, rule_id: str | None, scope: PauseScope
) -> list[int]:
    """Return active rules: the one named, or those whose fields equal every set field of scope."""
    rows = await connection.fetch(
        _ACTIVE_KEYS.text, *_ACTIVE_KEYS.arguments(**_wanted(rule_id, scope))
    )
    return [row["rule_key"] for row in rows]


async def find_rule(connection: Connection, rule_id: str) -> RuleRow | None:
    """Return a rule by its id, deleted or not."""
    row = await connection.fetchrow(
        f"SELECT {rule_columns('p')} FROM zart.pause_rules p WHERE rule_id = $1", rule_id
    )
    return None if row is None else RuleRow.from_row(row)


def _delete(which: str) -> Statement:
    text = f"""
    WITH deleted AS (
        UPDATE zart.pause_rules
        SET deleted_at = statement_timestamp(), deleted_by = :deleted_by,
            deleted_by_principal = :principal, expired = :expired,
            epoch = (SELECT epoch + 1 FROM zart.pause_epoch), token_until = {LAST_LEASE}
        WHERE deleted_at IS NULL AND rule_key = ANY(ARRAY(
            SELECT rule_key FROM zart.pause_rules WHERE deleted_at IS NULL AND ({which})
            ORDER BY rule_key FOR NO KEY UPDATE))
        RETURNING {_COLUMNS}
    ), undone AS (
        DELETE FROM zart.pause_work w USING deleted
        WHERE w.rule_key = deleted.rule_key AND (work = 'settle' OR w.execution_id <> '')
    ), work AS (
        INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'release' FROM deleted
    ), epoch AS (
        UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM deleted)
    )
    SELECT {rule_columns("deleted")} FROM deleted ORDER BY rule_key
    """
    return Statement(text, locks=("pause_rules", "pause_work", "pause_epoch"))


_DELETE = _delete(_WANTED)
_DELETE_EXPIRED = _delete("expires_at <= statement_timestamp()")


async def delete_rules(
    tx: Tx, rule_id: str | None, scope: PauseScope, caller: Caller
) -> list[RuleRow]:
    """Delete (softly) the rules that ``active_rule_keys`` finds; their steps are to be released.

    The caller holds the pause lock exclusively.
    """
    values = _wanted(rule_id, scope) | {
        "deleted_by": caller.triggered_by,
        "principal": caller.principal,
        "expired": False,
    }
    rows = await tx.fetch(_DELETE.text, *_DELETE.arguments(**values))
    return [RuleRow.from_row(row) for row in rows]


async def delete_expired(tx: Tx) -> list[RuleRow]:
    """Delete rules that have expired by the database's clock, as ``delete_rules`` does.

    The caller holds the pause lock exclusively.
    """
    values = {"deleted_by": "expiry", "principal": "", "expired": True}
    rows = await tx.fetch(_DELETE_EXPIRED.text, *_DELETE_EXPIRED.arguments(**values))
    return [RuleRow.from_row(row) for row in rows]


async def pauses_due(connection: Connection) -> tuple[float | None, bool]:
    """Return the seconds until the next active rule expires, and whether pause work is left.

    The seconds are negative if a rule has expired already, None if no rule will. Locks nothing.
    """
    row = await connection.fetchrow(
        "SELECT EXTRACT(epoch FROM min(expires_at) - statement_timestamp())::float8,"
        " EXISTS (SELECT FROM zart.pause_work)"
        " FROM zart.pause_rules WHERE deleted_at IS NULL AND expires_at IS NOT NULL"
    )
    return (None, False) if row is None else (row[0], row[1])
