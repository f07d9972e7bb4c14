"""What a dispatcher tells Prometheus: ``registry.register(OfTheDispatcher(dispatcher))``."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zart.dispatcher.service import Dispatcher


class OfTheDispatcher(Collector):
    """The slots of one dispatcher, and what it has in hand. Read in any thread."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        now = self._dispatcher.figures()
        for name, does, value in (
            (
                "ready",
                "1 if tasks are registered and a server answered the last call for more, 0 if not",
                float(now.is_ready),
            ),
            ("slots", "How many steps may run at once", now.slots),
            ("running_steps", "Steps whose handlers run", now.running),
            ("leased_ahead_steps", "Leased steps that wait for a slot", now.ahead),
            (
                "outcomes_waiting",
                "Outcomes that the server has not answered yet: they wait, or are on their way",
                now.outcomes,
            ),
            (
                "oldest_outcome_age_seconds",
                "For how long the oldest of these outcomes has waited for the answer",
                now.oldest_outcome,
            ),
        ):
            yield GaugeMetricFamily(f"zart_dispatcher_{name}", does, value=value)
        yield CounterMetricFamily(
            "zart_dispatcher_loop_blocked_seconds",
            "For how long steps have blocked the event loop, a second or more at a time",
            value=now.blocked_seconds,
        )
