"""The steps that outcomes make ready: those with a single dependency are ready at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zart_server.domain.dispatch import LeasedTask, Outcome
from zart_server.engine.dispatch.eager import EagerDispatch
from zart_server.engine.dispatch.enqueue import Ready
from zart_server.store.caches.runs import RunFacts
from zart_server.store.enqueue import Leases
from zart_server.store.steps import Opened
from zart_server.store.stored_graph import Definition


class ReadySteps:
    """The ready steps of one batch, each with the index of the outcome that made it ready."""

    def __init__(
        self,
        runs: Mapping[int, RunFacts],
        definitions: Mapping[int, Definition],
        outcomes: Sequence[Outcome],
    ) -> None:
        self._runs = runs
        self._definitions = definitions
        self._outcomes = outcomes
        self._next = EagerDispatch()
        self.ready: list[Ready] = []
        self.after: list[int] = []

    def completed(
        self, run_key: int, step_no: int, result_json: str, n: int, *, by_hand: bool = False
    ) -> list[int]:
        """Add the dependants that wait for this step alone; return the others.

        ``by_hand``: a step of the run was ended by hand.
        """
        run = self._runs[run_key]
        graph = self._definitions[run.definition_key].graph
        self._next.completed(run_key, step_no, result_json)
        others = []
        for after in graph.dependants[step_no]:
            # In a rerun it may be preserved, by hand it may have ended: its row tells.
            if len(graph.depends_on[after]) == 1 and not run.is_rerun and not by_hand:
                self._add_next(run, after, n)
            else:
                others.append(after)
        return others

    def lacks(self, step: Opened, n: int) -> list[tuple[int, int]]:
        """Return whose results are to be read so that a step may be leased at once."""
        to, run = self._outcomes[n].lease_next, self._runs[step.run_key]
        if to is None or step.correction:
            return []
        return self._next.lacks(to, run, self._definitions[run.definition_key], step.step_no)

    def read(self, results: Mapping[tuple[int, int], str]) -> None:
        """Keep results that were read, for the steps that are added from now on."""
        self._next.read(results)

    def add_next(self, step: Opened, n: int) -> None:
        """Add a step, all its dependencies completed; the reporting call may lease it at once.

        Not one whose input was corrected: that input is not at hand.
        """
        run_key, step_no, attempt, counted, max_attempts, correction = step
        self._add_next(self._runs[run_key], step_no, n, attempt, counted, max_attempts, correction)

    def _add_next(
        self,
        run: RunFacts,
        step_no: int,
        n: int,
        attempt: int = 0,
        counted: int = 0,
        max_attempts: int | None = None,
        correction: int = 0,
    ) -> None:
        definition = self._definitions[run.definition_key]
        to = self._outcomes[n].lease_next
        if to is not None and (correction or not self._next.takes(to, run, definition, step_no)):
            to = None
        ready = Ready(  # by position: by name it takes twice as long
            definition,
            run.execution_id,
            run.run_key,
            step_no,
            attempt + 1,
            counted,
            counted,
            max_attempts,
            0.0,
            to,
            correction,
        )
        self.add(ready, n)

    def add(self, ready: Ready, n: int) -> None:
        """Add a step that the outcome at this index made ready."""
        self.ready.append(ready)
        self.after.append(n)

    def leased(self, leases: Leases) -> list[tuple[int, LeasedTask]]:
        """Return the tasks leased at once, each with the index of the outcome that it followed."""
        found = []
        for n, item in zip(self.after, self.ready, strict=True) if leases else ():
            lease = leases.get((item.run_key, item.step_no))
            if item.lessee is not None and lease is not None:
                task = self._next.leased(
                    item.definition,
                    item.step_no,
                    item.attempt,
                    item.lessee,
                    self._runs[item.run_key],
                    *lease,
                )
                if item.max_attempts:  # else the definition's
                    task = task._replace(max_attempts=item.max_attempts)
                found.append((n, task))
        return found
