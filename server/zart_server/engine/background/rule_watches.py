"""Watches of pause rules: what each withholds, and what is in flight, until that is drained."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from zart_server.domain.errors import PauseRuleNotFound, ZartError
from zart_server.domain.model import PauseRule, WatchUntil
from zart_server.engine.background.drains import Drains
from zart_server.engine.background.state_watches import ReadShare, StateWatches
from zart_server.store.pausing.counting import withheld_steps
from zart_server.store.pausing.rules import active_of
from zart_server.store.reads.rules import find_rules

_IS_OVER: Mapping[WatchUntil, Callable[[PauseRule], bool]] = {
    # An ended rule withholds nothing: it is not going to be drained.
    WatchUntil.DRAINED: lambda rule: rule.drained_at is not None or rule.deleted_at is not None,
    WatchUntil.ENDED: lambda rule: rule.deleted_at is not None,
}


class RuleWatches:
    """The watches of pause rules on one server."""

    def __init__(self, reading: ReadShare, drains: Drains) -> None:
        self._reading = reading
        self._drains = drains
        self._watches: StateWatches[str, PauseRule] = StateWatches(self._read, "rule watches")
        self.look = self._watches.look
        self.stop = self._watches.stop

    def watch(self, rule_id: str, until: WatchUntil) -> AsyncGenerator[PauseRule]:
        """Yield a rule with its counts, then as it changes, until it is drained or has ended.

        Raises PauseRuleNotFound, the error of a failed read, or ShuttingDown.
        """
        return self._watches.watch(rule_id, _IS_OVER[until])

    async def _read(self, rule_ids: Sequence[str]) -> Mapping[str, PauseRule | ZartError]:
        async with self._reading.connection() as connection:
            rows = await find_rules(connection, rule_ids)
            withheld = await withheld_steps(connection, active_of(rows))
        rules = await self._drains.counted(rows, withheld)
        found = {rule.rule_id: rule for rule in rules}
        return {rule_id: found.get(rule_id, PauseRuleNotFound(rule_id)) for rule_id in rule_ids}
