"""Keeps the active pause rules at hand; validated by the epoch of the rules.

Every use is under the pause lock, shared, so the epoch cannot change between judging a step and
writing what was judged; a judgement by an outdated epoch writes nothing and is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.rule_set import RuleSet
from zart_server.store.db import Tx
from zart_server.store.pausing.rules import read_active, read_changed


class PauseCache:
    """The active rules as of one epoch. Only what has changed since is read."""

    def __init__(self) -> None:
        self.epoch = -1
        self.rules = RuleSet()

    async def refresh(self, tx: Tx) -> None:
        """Bring the rules to the newest epoch; several transactions may do so at once."""
        changed = await read_changed(tx, self.epoch) if self.epoch >= 0 else None
        if changed is None:
            epoch, active = await read_active(tx)
            if epoch > self.epoch:
                self.epoch, self.rules = epoch, RuleSet()
                for key, scope in active:
                    self.rules.put(key, scope)
        elif changed.epoch > self.epoch:
            self.epoch = changed.epoch
            for key, scope in changed.added:
                self.rules.put(key, scope)
            for key in changed.deleted:
                self.rules.drop(key)

    async def are_none(self, tx: Tx) -> bool:
        """Return whether no rule is active, as of ``epoch``."""
        if self.epoch < 0:
            await self.refresh(tx)
        return not self.rules

    async def judge(self, tx: Tx, steps: Sequence[tuple[str, str, str]]) -> list[int | None]:
        """Return, for each (execution id, task name, step name), the oldest rule that matches.

        As of ``epoch``, which stays what it is until the caller next awaits something.
        """
        if await self.are_none(tx):
            return [None] * len(steps)
        oldest = self.rules.oldest
        return [oldest(*step) for step in steps]
