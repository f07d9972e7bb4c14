"""What never changes of a run, kept at hand between the lease of its steps and their reports."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from zart_server.store.connection import Connection
from zart_server.store.handler_inputs import READ_AT_ONCE

# Longer ones are not kept.
_KEPT_BYTES = 1024


class RunFacts(NamedTuple):
    """A run's names and payload; ``payload_json`` None with ``payload_bytes`` set: to be read."""

    run_key: int
    execution_key: int
    execution_id: str
    run_number: int
    definition_key: int
    is_rerun: bool
    payload_bytes: int
    payload_json: str | None


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

    async def get(self, connection: Connection, run_keys: Collection[int]) -> dict[int, RunFacts]:
        """Return runs by key, reading those that are not at hand in one statement."""
        found = {}
        missing = []
        runs = self._runs
        for key in run_keys:
            run = runs.get(key)
            if run is None:
                missing.append(key)
            else:
                found[key] = run
        if missing:
            for run in await _read(connection, missing):
                found[run.run_key] = run
                self.add(run)
        return found


async def _read(connection: Connection, run_keys: Collection[int]) -> list[RunFacts]:
    """Read what is known of runs for good, and short payloads."""
    rows = await connection.fetch(
        """
        SELECT r.run_key, r.execution_key, e.execution_id, r.run_number, r.definition_key,
            r.source_run_number IS NOT NULL, COALESCE(octet_length(
                COALESCE(r.payload, p.payload)::text), 0),
            CASE WHEN octet_length(r.payload::text) <= $2 THEN r.payload END
        FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
            SELECT * FROM zart.runs WHERE run_key = u.run_key OFFSET 0) r
        CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
            WHERE execution_key = r.execution_key OFFSET 0) e
        LEFT JOIN LATERAL (
            SELECT payload FROM zart.runs WHERE run_key = r.payload_run_key OFFSET 0) p ON true
        """,
        run_keys if isinstance(run_keys, list) else list(run_keys),
        READ_AT_ONCE,
    )
    return [RunFacts(*row) for row in rows]
