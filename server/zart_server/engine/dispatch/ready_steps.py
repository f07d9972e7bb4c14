"""What outcomes make ready: steps that wait for one alone follow it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zart_server.domain.commands import LeasedTask, Outcome
from zart_server.engine.dispatch.eager import NextTasks
from zart_server.engine.dispatch.enqueue import Ready
from zart_server.store.caches.runs import RunFacts
from zart_server.store.definitions import Definition
from zart_server.store.enqueue import Leases


class Followers:
    """The ready steps of one batch, and beside each the place of the outcome that led to it."""

    def __init__(
        self,
        runs: Mapping[int, RunFacts],
        definitions: Mapping[int, Definition],
        outcomes: Sequence[Outcome],
    ) -> None:
        self._runs = runs
        self._definitions = definitions
        self._outcomes = outcomes
        self._next = NextTasks()
        self.ready: list[Ready] = []
        self.after: list[int] = []

    def completed(self, run_key: int, step_no: int, result_json: str, n: int) -> list[int]:
        """Add what waits for this step alone; gives its other dependants, which may wait on."""
        run = self._runs[run_key]
        graph = self._definitions[run.definition_key].graph
        self._next.completed(run_key, step_no, result_json)
        others = []
        for after in graph.dependants[step_no]:
            # In a rerun it may be preserved: its row tells.
            if len(graph.depends_on[after]) == 1 and not run.is_rerun:
                self.add_next(run_key, after, n)
            else:
                others.append(after)
        return others

    def add_next(self, run_key: int, step_no: int, n: int) -> None:
        """Add a step whose dependencies are all completed; it may be leased to who asked."""
        run = self._runs[run_key]
        definition = self._definitions[run.definition_key]
        to = self._outcomes[n].lease_next
        if to is not None and not self._next.takes(to, run, definition, step_no):
            to = None
        self.add(Ready(definition, run.execution_id, run_key, step_no, lease_to=to), n)

    def add(self, ready: Ready, n: int) -> None:
        """Add a step that became ready by the outcome at this place."""
        self.ready.append(ready)
        self.after.append(n)

    def leased(self, leases: Leases) -> list[tuple[int, LeasedTask]]:
        """Return what was leased at once, each with the place of the outcome that it followed."""
        found = []
        for n, item in zip(self.after, self.ready, strict=True) if leases else ():
            lease = leases.get((item.run_key, item.step_no))
            if item.lease_to is not None and lease is not None:
                task = self._next.leased(
                    item.definition,
                    item.step_no,
                    item.attempt,
                    item.lease_to,
                    self._runs[item.run_key],
                    *lease,
                )
                found.append((n, task))
        return found
