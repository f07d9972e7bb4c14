"""Counts completed attempts, but only of steps that a breaker with a ratio asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zart_server.domain.dispatch import Completed, Outcome
from zart_server.domain.model import ReportStatus
from zart_server.domain.rule_set import RuleSet
from zart_server.engine.dispatch.outcome_batch import Recorded
from zart_server.store.breaking.counts import Counting
from zart_server.store.connection import Connection
from zart_server.store.leases import LeaseKey


class Completions:
    """The completed attempts of one server since they were taken last. False: nobody asks."""

    def __init__(self) -> None:
        self._breakers: dict[int, Counting] = {}
        self._rules = RuleSet()
        self._counts: Counter[tuple[int, int]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._breakers)

    def ask(self, breakers: Sequence[Counting]) -> None:
        """Count for these breakers from now on."""
        asked = {breaker.breaker_key: breaker for breaker in breakers}
        if asked != self._breakers:
            self._breakers = asked
            self._rules = RuleSet()
            for breaker in breakers:
                self._rules.put(breaker.breaker_key, breaker.scope, breaker.exempt)

    def take(self) -> Counter[tuple[int, int]]:
        """Return how many were counted, by breaker key and generation, and begin anew."""
        taken, self._counts = self._counts, Counter()
        return taken

    def give_back(self, taken: Counter[tuple[int, int]]) -> None:
        """Count again what was taken in vain."""
        self._counts += taken

    def add(self, connection: Connection, outcomes: Sequence[Outcome], recorded: Recorded) -> None:
        """Count the outcomes that were recorded and completed their step.

        The names are at hand where outcomes have just been recorded.
        """
        for number, status in recorded.statuses.items():
            outcome = outcomes[number]
            if status is ReportStatus.RECORDED and isinstance(outcome.ending, Completed):
                self._add(connection, outcome)

    def _add(self, connection: Connection, outcome: Outcome) -> None:
        lease = LeaseKey.of_task(outcome.task_id, outcome.lease_token, outcome.principal)
        if lease is None:
            return
        run = connection.runs.at_hand([lease.run_key]).get(lease.run_key)
        if run is None:
            return
        graph = connection.definitions.at_hand([run.definition_key]).get(run.definition_key)
        if graph is None:
            return
        step_name = graph.queued[lease.step_no].step_name
        for key in self._rules.matching(run.execution_id, graph.task_name, step_name):
            breaker = self._breakers[key]
            if lease.token > breaker.token_from:
                self._counts[key, breaker.generation] += 1
