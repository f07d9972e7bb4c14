"""What never changes of a run, kept at hand between the lease of its steps and their reports."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

# Longer ones are not kept.
_KEPT_BYTES = 1024


class RunFacts(NamedTuple):
    """A run's names, payload and trace.

    ``payload_json`` None with ``payload_bytes`` set: to be read.
    """

    run_key: int
    execution_key: int
    execution_id: str
    run_number: int
    definition_key: int
    is_rerun: bool
    payload_bytes: int
    payload_json: str | None
    traceparent: str | None = None


class RunFactsCache:
    """The runs used last."""

    def __init__(self, max_runs: int = 20_000) -> None:
        self._max_runs = max_runs
        self._runs: OrderedDict[int, RunFacts] = OrderedDict()

    def add(self, run: RunFacts) -> None:
        """Take a run whose facts are at hand."""
        if run.payload_bytes <= _KEPT_BYTES:
            self._runs[run.run_key] = run
            while len(self._runs) > self._max_runs:
                self._runs.popitem(last=False)

    def at_hand(self, run_keys: Iterable[int]) -> dict[int, RunFacts]:
        """Return those of the runs that are at hand, by key."""
        runs = self._runs
        return {key: run for key in run_keys if (run := runs.get(key)) is not None}
