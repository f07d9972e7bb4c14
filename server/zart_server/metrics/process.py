"""What a server has counted and measured itself: reading it asks nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from zart_server.api.limits import Limits
from zart_server.engine.background.runtime import Runtime
from zart_server.metrics.families import counter, gauge, histogram


class OfTheProcess(Collector):
    """The dispatch path, the calls under way, the pool and the maintenance of one server."""

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self._runtime = runtime
        self._limits = limits

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from self._dispatch()
        yield gauge(
            "zart_calls_in_progress",
            "Calls under way: those that wait by design (long polls, watches), and all others",
            ["kind"],
            {(kind,): count for kind, count in self._limits.inside().items()},
        )
        db = self._runtime.db
        yield histogram(
            "zart_transaction_seconds",
            "For how long a transaction, or a statement without one, had its connection",
            [],
            {(): db.seconds},
        )
        yield gauge(
            "zart_pool_connections_in_use", "Connections of the pool in use", [], {(): db.in_use}
        )
        yield gauge("zart_pool_connections_max", "Connections that it may have", [], {(): db.most})
        yield gauge("zart_pool_waiting", "What waits for a connection", [], {(): db.waiting})
        yield gauge(
            "zart_database_up",
            "1 if the database answers, as looked at each second, 0 if not",
            [],
            {(): float(db.liveness.is_up is True)},
        )
        yield gauge(
            "zart_maintenance_lag_seconds",
            "Since what is due each second was last done",
            ["loop"],
            {(loop,): time.monotonic() - at for loop, at in self._runtime.done_at.items()},
        )
        yield counter(
            "zart_background_failures",
            "Failures in what goes on by itself: defects, and what only had to wait",
            ["loop", "kind"],
            {
                (loop.name, kind): count
                for loop in self._runtime.loops
                for kind, count in loop.failures.items()
            },
        )
        yield gauge(
            "zart_background_failing_seconds",
            "For how long something that goes on by itself has failed, by now; 0: it does not",
            ["loop"],
            {(loop.name,): loop.failing.seconds() for loop in self._runtime.loops},
        )

    def _dispatch(self) -> Iterator[Metric]:
        tally = self._runtime.dispatch.tally
        now = tally.read()
        yield counter(
            "zart_attempts",
            "Attempts that ended, by how they did",
            ["task", "ending"],
            {(task, status.value): n for (task, status), n in now.attempts.items()},
        )
        yield counter(
            "zart_leases_lost",
            "Leases that expired unreported, ended by this server",
            ["task"],
            {(task,): count for task, count in now.leases_lost.items()},
        )
        yield counter(
            "zart_outcomes",
            "Outcomes that dispatchers reported, by what became of them",
            ["status"],
            {(status.value,): count for status, count in now.outcomes.items()},
        )
        yield histogram(
            "zart_ready_to_leased_seconds",
            "From when a step was ready (after a failed attempt: due) until it was leased",
            ["task"],
            {(task,): found for task, found in now.waits.items()},
        )
        yield histogram(
            "zart_leased_to_ended_seconds",
            "From when a step was leased until its attempt ended",
            ["task"],
            {(task,): found for task, found in now.runs.items()},
        )
        yield histogram("zart_claimed_tasks", "Tasks of one claim", [], {(): tally.claims})
        yield histogram(
            "zart_report_batch_outcomes",
            "Outcomes recorded by one transaction",
            [],
            {(): tally.reports},
        )
