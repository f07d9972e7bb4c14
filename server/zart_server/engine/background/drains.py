"""Finds out when nothing that a rule withholds is in flight any more, and keeps count until then.

All leases are looked at once a second, on each server, as long as there is a rule of which
something may be in flight; else nothing is asked for. Maintenance, which looks after rules anyway,
begins it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from zart_server.domain.commands import Caller
from zart_server.domain.errors import ZartError
from zart_server.domain.model import PauseRule
from zart_server.domain.operations import OperationKind
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.pausing.counting import InFlight, Withheld, undrained_rules, with_counts
from zart_server.store.pausing.drains import forget_drains, write_drained
from zart_server.store.pausing.rules import RuleRow

_log = logging.getLogger(__name__)
# Seconds between the beginnings of two looks: a drain is to be on record within one second.
_EVERY = 0.8
_REST = 4  # times as long as a look took, at least
_OLD = 1.0  # seconds after which lists look again


def _now() -> float:
    return asyncio.get_running_loop().time()


class Drains:
    """The looks of one server. ``on_look`` is called after each of the loop's."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kicked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._seen: Mapping[int, InFlight] = {}
        self._seen_at = -math.inf  # when that look began
        self.on_look: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin the loop, which waits until it is kicked."""
        self._task = asyncio.create_task(self._run(), name="drains")

    async def stop(self) -> None:
        """End the loop; what was not written yet another server finds, too."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def kick(self) -> None:
        """Have the loop look: there is a rule that is not known to be drained."""
        self._kicked.set()

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

    async def _run(self) -> None:
        while True:
            await self._kicked.wait()
            self._kicked.clear()
            begun = _now()
            try:
                async with self._looking:
                    await self._look()
                self.on_look()
            except ZartError as error:
                _log.warning("rules are not looked at for drains: %s", error.message)
            except Exception:  # noqa: BLE001 - told in full; it is kicked again
                _log.exception("looking at rules for drains failed; it goes on")
            if self._seen:
                self._kicked.set()
            took = _now() - begun
            await asyncio.sleep(max(_EVERY - took, took * _REST))

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
