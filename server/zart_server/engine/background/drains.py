"""Finds out when nothing that a rule withholds is in flight any more, and keeps count until then.

All leases are looked at once a second, on each server, as long as there is a rule of which
something may be in flight; else nothing is asked for. ``RuleLooks`` begins it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseRule
from zart_server.domain.operations import OperationKind
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.pausing.counting import InFlight, Withheld, undrained_rules, with_counts
from zart_server.store.pausing.drains import forget_drains, write_drained
from zart_server.store.pausing.rules import RuleRow

# Seconds between the beginnings of two looks: a drain is to be on record within one second.
_EVERY = 0.8
_REST = 4  # times as long as a look took, at least
_OLD = 1.0  # seconds after which lists look again


def _now() -> float:
    return asyncio.get_running_loop().time()


class Drains(BackgroundLoop):
    """The looks of one server, kicked where a rule is not known to be drained.

    ``on_look`` is called after each of the loop's.
    """

    def __init__(self, db: Database) -> None:
        super().__init__("looking at rules for drains", first=None)
        self._db = db
        self._looking = asyncio.Lock()
        self._seen: Mapping[int, InFlight] = {}
        self._seen_at = -math.inf  # when that look began
        self.on_look: Callable[[], None] = lambda: None

    async def counted(
        self, rows: Sequence[RuleRow], withheld: Mapping[int, Withheld]
    ) -> list[PauseRule]:
        """Return rules with what they withhold, and with what was in flight a second ago or less.

        Nothing is in flight of rules that are drained or deleted, so no look is needed for them.
        """
        awaited = [
            row.rule_key for row in rows if row.rule.deleted_at is None and not row.rule.drained_at
        ]
        seen: Mapping[int, InFlight] = {}
        if awaited:
            seen = await self._at_most(_OLD)
            if any(key not in seen for key in awaited):  # of a rule that is newer than the look
                seen = await self._at_most(0.0)
        return [
            with_counts(row, withheld.get(row.rule_key), seen.get(row.rule_key)) for row in rows
        ]

    async def _at_most(self, age: float) -> Mapping[int, InFlight]:
        """Return what a look saw that began at most so many seconds ago."""
        wanted = _now() - age
        async with self._looking:  # whoever waits may find what they wait for
            if self._seen_at < wanted:
                await self._look()
            return self._seen

    async def turn(self) -> float | None:
        """Look, and rest; the next look follows at once while something is in flight."""
        begun = _now()
        async with self._looking:
            await self._look()
        self.on_look()
        took = _now() - begun
        await asyncio.sleep(max(_EVERY - took, took * _REST))  # whoever kicks it
        return 0.0 if self._seen else None

    async def _look(self) -> None:
        begun = _now()
        async with self._db.autocommit() as connection:
            found = await undrained_rules(connection)
            ended = [rule.rule_key for rule in found if rule.is_deleted]
            awaited = [rule for rule in found if not rule.is_deleted]
            drained = [rule for rule in awaited if not (rule.running or rule.is_letting_go)]
            if ended:
                await forget_drains(connection, ended)
            if drained:
                await _write(await connection.begin(), drained)
        self._seen = {rule.rule_key: rule for rule in awaited}
        self._seen_at = begun


async def _write(tx: Tx, drained: Sequence[InFlight]) -> None:
    written = await write_drained(tx, drained)
    caller = Caller("drain", "nothing that it withholds is in flight")
    await record_operations(
        tx,
        OperationKind.DRAIN,
        [
            NewOperation(
                replace(caller, incident=rule.incident),
                execution_id=rule.execution_id or "",
                rule_id=rule.rule_id,
                task_name=rule.task_name or "",
            )
            for rule in written
            if rule.is_first
        ],
    )
