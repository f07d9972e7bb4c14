"""Keeps the active pause rules at hand; validated by the epoch of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zart_server.domain.rule_set import Judgement, RuleSet, StepNames
from zart_server.store.connection import Connection
from zart_server.store.pausing.rules import read_active, read_changed


class PauseCache:
    """The active rules as of one epoch. Only what has changed since is read.

    What is judged by them is written by ``store.pausing.judging``, under the pause lock.
    """

    def __init__(self) -> None:
        self._epoch = -1  # which is no database's
        self._rules = RuleSet()

    async def load(self, connection: Connection) -> None:
        """Read the rules if they were never read."""
        if self._epoch < 0:
            await self.refresh(connection)

    async def refresh(self, connection: Connection) -> None:
        """Bring the rules to the newest epoch; several transactions may do so at once."""
        changed = await read_changed(connection, self._epoch) if self._epoch >= 0 else None
        if changed is None:
            epoch, active = await read_active(connection)
            if epoch > self._epoch:
                self._epoch, self._rules = epoch, RuleSet()
                for key, scope in active:
                    self._rules.put(key, scope)
        elif changed.epoch > self._epoch:
            self._epoch = changed.epoch
            for key, scope in changed.added:
                self._rules.put(key, scope)
            for key in changed.deleted:
                self._rules.drop(key)

    def judge(self, steps: Iterable[StepNames]) -> Judgement:
        """Find the oldest rule that withholds each step.

        Synchronous: no refresh comes between the rules and their epoch.
        """
        oldest = self._rules.oldest
        rules = [oldest(*step) for step in steps] if self._rules else []
        return Judgement(rules, self._epoch)

    def matching(self, step: StepNames) -> Iterator[int]:
        """Return the keys of all rules that withhold a step, in no order; for counts."""
        return self._rules.matching(*step)
