"""Expiry: ends the rules whose time is up, as a Resume would."""

from __future__ import annotations

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseRule
from zart_server.domain.operations import Made, OperationKind
from zart_server.store.connection import Autocommit
from zart_server.store.operations import NewOperation, of_rule, record_operations
from zart_server.store.pausing.ending import count_expired, delete_expired, find_expired
from zart_server.store.pausing.lock import IN_TURN, seize_pause_lock
from zart_server.store.pausing.releases import begin_releases

AT_ONCE = 200  # rules of one transaction: nobody can lease meanwhile
_WAIT = 10.0  # seconds; then it is tried again
_CALLER = Caller("expiry", "its time was up")


async def expire(connection: Autocommit) -> int:
    """End rules whose time is up by the database's clock, in a transaction; return how many.

    At most AT_ONCE, those whose time was up first. Those that are to be released slowly are
    releasing from then on. Where there are more, servers take turns, with rests between in which
    others lease. Raises OperationTimeout.
    """
    expired = await count_expired(connection, AT_ONCE + 1)
    if not expired:  # another server was sooner
        return 0
    tx = await seize_pause_lock(connection, _WAIT, IN_TURN if expired > AT_ONCE else "")
    rules = {row.rule_key: row.rule for row in await find_expired(tx, AT_ONCE)}
    rates = {key: rule.expiry_rate for key, rule in rules.items() if rule.expiry_rate is not None}
    if rates:
        await begin_releases(tx, rates, _CALLER)
    if over := rules.keys() - rates.keys():
        await delete_expired(tx, sorted(over), _CALLER)
    if rules:
        operations = [_recorded(rule) for rule in rules.values()]
        await record_operations(tx, OperationKind.EXPIRE, operations)
        tx.changes.rules = True
    return len(rules)


def _recorded(rule: PauseRule) -> NewOperation:
    rate = rule.expiry_rate
    return of_rule(rule, _CALLER, made=None if rate is None else Made(rate_per_second=rate))
