"""Counts completed attempts, but only of steps that a breaker with a ratio asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from zart_server.domain.rule_set import RuleSet
from zart_server.engine.dispatch.outcome_batch import Recorded
from zart_server.engine.dispatch.recent_completions import RecentCompletions
from zart_server.store.breaking.counts import Counting
from zart_server.store.breaking.run_names import read_run_names
from zart_server.store.connection import Connection
from zart_server.store.definitions import find_definitions
from zart_server.store.leases import LeaseKey

_MOST_NAMES = 50_000
_AT_ONCE = 1000  # attempts whose names are read: what is done with them holds up nobody


class _Asking:
    """The breakers that ask for steps of one name, and how many were counted for all of them.

    That a step is of a lease since all of these breakers count is told by one comparison.
    """

    __slots__ = ("breakers", "counted", "since")

    def __init__(self, breakers: Sequence[Counting]) -> None:
        self.breakers = breakers
        self.since = max((breaker.token_from for breaker in breakers), default=0)
        self.counted = 0


@dataclass(slots=True)
class _Earlier:
    """What was completed before breakers asked, and is still to be counted for them."""

    breakers: list[Counting]
    leases: list[LeaseKey]


class Completions:
    """The completed attempts of one server since they were taken last. False: nobody asks."""

    def __init__(self, recent: RecentCompletions | None = None) -> None:
        self.recent = recent or RecentCompletions()
        self._earlier: list[_Earlier] = []
        self._breakers: dict[int, Counting] = {}
        self._rules = RuleSet()
        self._counts: Counter[tuple[int, int]] = Counter()
        # By task and step: a drain has few of these pairs, and many breakers may ask for one.
        self._asking: dict[tuple[str, str], _Asking] = {}

    def __bool__(self) -> bool:
        return bool(self._breakers)

    def ask(self, breakers: Sequence[Counting]) -> None:
        """Count for these breakers from now on.

        For those whose generation was not known yet, what ``recent`` has at this moment is to be
        counted besides, by ``count_earlier``.
        """
        known = {(breaker.breaker_key, breaker.generation) for breaker in self._breakers.values()}
        asked = {breaker.breaker_key: breaker for breaker in breakers}
        if asked != self._breakers:
            self._sum_up()
            self._breakers = asked
            self._rules = RuleSet()
            for breaker in breakers:
                self._rules.put(breaker.breaker_key, breaker.scope, breaker.exempt)
            self._drop_earlier()
        new = [one for one in breakers if (one.breaker_key, one.generation) not in known]
        if new:
            leases = self.recent.leased_since(min(breaker.token_from for breaker in new))
            if leases:
                self._earlier.append(_Earlier(new, leases))

    def _drop_earlier(self) -> None:
        """Drop what was to be counted for generations that nobody asks for any more."""
        asked = {(breaker.breaker_key, breaker.generation) for breaker in self._breakers.values()}
        for earlier in self._earlier:
            earlier.breakers = [
                one for one in earlier.breakers if (one.breaker_key, one.generation) in asked
            ]
        self._earlier = [earlier for earlier in self._earlier if earlier.breakers]

    def take(self) -> Counter[tuple[int, int]]:
        """Return how many were counted, by breaker key and generation, and begin anew."""
        self._sum_up()
        taken, self._counts = self._counts, Counter()
        return taken

    def give_back(self, taken: Counter[tuple[int, int]]) -> None:
        """Count again what was taken in vain."""
        self._counts += taken

    @property
    def has_earlier(self) -> bool:
        """Whether something is to be counted that was completed before a breaker asked."""
        return bool(self._earlier)

    async def count_earlier(self, connection: Connection) -> None:
        """Count, for breakers that have begun to ask, a piece of what was completed before.

        What an error leaves uncounted stays to be counted.
        """
        earlier = self._earlier[-1]
        counted = Completions()
        counted.ask(earlier.breakers)
        await _count(connection, earlier.leases[-_AT_ONCE:], counted)
        del earlier.leases[-_AT_ONCE:]
        self.give_back(counted.take())
        if not earlier.leases:
            self._earlier.pop()

    def add(self, connection: Connection, recorded: Recorded) -> None:
        """Count the attempts that completed their step.

        The names are at hand where outcomes have just been recorded. Where nobody asks they are
        kept in mind for a moment.
        """
        leases = recorded.completed
        self.recent.add(leases)
        if not self._breakers:
            return
        runs = connection.runs.at_hand([lease.run_key for lease in leases])
        graphs = connection.definitions.at_hand({run.definition_key for run in runs.values()})
        for lease in leases:
            run = runs.get(lease.run_key)
            graph = None if run is None else graphs.get(run.definition_key)
            if run is not None and graph is not None:
                step_name = graph.queued[lease.step_no].step_name
                self.count(run.execution_id, graph.task_name, step_name, lease.token)

    def count(self, execution_id: str, task_name: str, step_name: str, token: int) -> None:
        """Count a completed attempt for the breakers that ask for it."""
        if self._rules.knows(execution_id):
            self._count(self._matching(execution_id, task_name, step_name), token)
            return
        asking = self._asking.get((task_name, step_name))
        if asking is None:
            if len(self._asking) >= _MOST_NAMES:
                self._sum_up()
            asking = _Asking(self._matching(execution_id, task_name, step_name))
            self._asking[task_name, step_name] = asking
        if token > asking.since:
            asking.counted += 1
        else:
            self._count(asking.breakers, token)

    def _matching(self, execution_id: str, task_name: str, step_name: str) -> list[Counting]:
        keys = self._rules.matching(execution_id, task_name, step_name)
        return [self._breakers[key] for key in keys]

    def _count(self, breakers: Sequence[Counting], token: int) -> None:
        for breaker in breakers:
            if token > breaker.token_from:
                self._counts[breaker.breaker_key, breaker.generation] += 1

    def _sum_up(self) -> None:
        """Add what was counted for several breakers to the count of each, and forget names."""
        for asking in self._asking.values():
            if asking.counted:
                for breaker in asking.breakers:
                    self._counts[breaker.breaker_key, breaker.generation] += asking.counted
        self._asking.clear()


async def _count(
    connection: Connection, leases: Sequence[LeaseKey], completions: Completions
) -> None:
    """Read the names of completed attempts, and count all of them; none where that fails."""
    runs = await read_run_names(connection, {lease.run_key for lease in leases})
    graphs = await find_definitions(connection, {run.definition_key for run in runs.values()})
    for lease in leases:
        if (run := runs.get(lease.run_key)) is not None:
            graph = graphs[run.definition_key]
            step_name = graph.queued[lease.step_no].step_name
            completions.count(run.execution_id, graph.task_name, step_name, lease.token)
