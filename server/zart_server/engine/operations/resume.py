"""Resume and expiry: delete rules softly; a sweep then queues what they withheld."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.commands import Caller, Resume, Resumed
from zart_server.domain.errors import PauseRuleNotFound
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.pause import EXACT_TO
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.operations import record_deleted_rules
from zart_server.store.pausing.judging import refresh_rules
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.matching import find_matching
from zart_server.store.pausing.rules import (
    RuleRow,
    active_rule_keys,
    delete_expired,
    delete_rules,
    find_rule,
)

_EXPIRY_WAIT = 10.0  # seconds; then it is tried again


async def resume(
    connection: Autocommit, command: Resume, caller: Caller, within: float
) -> tuple[Tx, Resumed]:
    """Delete the rules meant, one or those whose own fields equal every field given.

    Return also the transaction. Pause sweeps queue their steps after its commit. Raises
    PauseRuleNotFound, and OperationTimeout if the pause lock is not had ``within`` these seconds.
    """
    known = None
    if command.rule_id is not None:
        known = await find_rule(connection, command.rule_id)
        if known is None:
            raise PauseRuleNotFound(command.rule_id)
    # Counted before the lock is seized, so that counting keeps nobody from leasing.
    keys = await active_rule_keys(connection, command.rule_id, command.scope)
    free, others = await _count(connection, keys) if keys else (0, 0)
    tx = await seize_pause_lock(connection, within)
    deleted = await delete_rules(tx, command.rule_id, command.scope, caller)
    await _record(tx, OperationKind.RESUME, deleted, caller)
    rules = [row.rule for row in deleted] or ([known.rule] if known is not None else [])
    return tx, Resumed(
        rules_deleted=len(deleted),
        rules=tuple(rules),
        released_steps=min(free, EXACT_TO),
        is_lower_bound=free + others > EXACT_TO,
        still_paused_steps=min(others, EXACT_TO),
    )


async def _count(connection: Connection, rule_keys: list[int]) -> tuple[int, int]:
    """Count the ready steps that rules withhold: only they, others as well."""
    await refresh_rules(connection)
    steps = await find_matching(connection, rule_keys, EXACT_TO + 1)
    leaving = set(rule_keys)
    matching = connection.pauses.matching
    others = sum(any(key not in leaving for key in matching(step)) for step in steps)
    return len(steps) - others, others


async def expire(connection: Autocommit) -> int:
    """Delete the rules whose time is up by the database's clock, in a transaction; count them.

    Raises OperationTimeout.
    """
    tx = await seize_pause_lock(connection, _EXPIRY_WAIT)
    deleted = await delete_expired(tx)
    await _record(tx, OperationKind.EXPIRE, deleted, Caller("expiry", "its time was up"))
    return len(deleted)


async def _record(tx: Tx, kind: OperationKind, deleted: Sequence[RuleRow], caller: Caller) -> None:
    await record_deleted_rules(tx, kind, caller, [row.rule for row in deleted])
    tx.changes.rules = tx.changes.rules or bool(deleted)
