"""Runs a dispatcher as a process: signals, what systemd is told, and its health."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence

from zart import systemd
from zart.cli.leaving import leave_what_does_not_end, threads_of_the_loop
from zart.dispatcher.health import serving_health
from zart.dispatcher.service import Dispatcher
from zart.hangups import heed_hangups
from zart.tasks import Task

_log = logging.getLogger("zart.dispatcher")


async def dispatch_until_stopped(
    tasks: Sequence[Task],
    *,
    address: str | None,
    concurrency: int,
    lease: float,
    grace: float,
    health_listen: str | None,
    metrics_listen: str | None,
    stream: bool,
    is_process: bool,
) -> None:
    """Run the steps of tasks until SIGTERM or SIGINT.

    Raises CannotListen, MetricsError, or what the dispatcher does.

    With ``is_process`` it ends the whole process where handlers do not end: what they may still do
    is not wanted.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threads = threads_of_the_loop()
    failure: BaseException | None = None

    def end() -> None:
        systemd.stopping()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    # What it calls the server with is followed by the channel: nothing is left to reread.
    heed_hangups(end, lambda: None)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(systemd.watched())
        health = None
        if health_listen:
            health = stack.enter_context(serving_health(health_listen))
            _log.info("health is told on %s", health_listen)

        def tell(is_ready: bool) -> None:  # noqa: FBT001 - as the dispatcher calls it
            if health is not None:
                health.set(is_ready=is_ready)
            if is_ready:
                systemd.ready()

        dispatcher = Dispatcher(
            tasks,
            address=address,
            concurrency=concurrency,
            lease=lease,
            grace=grace,
            stream=stream,
            on_readiness=tell,
        )
        if metrics_listen:
            metrics = await stack.enter_async_context(_serving_metrics(metrics_listen, dispatcher))
            _log.info("metrics are served on http://%s/metrics", metrics)
        try:
            await dispatcher.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised again, where its steps end
            failure = error
    await leave_what_does_not_end(threads, failure, is_process=is_process)
    if failure is not None:
        raise failure


def _serving_metrics(
    listen: str, dispatcher: Dispatcher
) -> contextlib.AbstractAsyncContextManager[str | None]:
    from zart.dispatcher.metrics import OfTheDispatcher  # noqa: PLC0415 - only where it is wanted
    from zart.metrics.listener import serving_metrics  # noqa: PLC0415 - likewise
    from zart.metrics.registry import registry_of  # noqa: PLC0415 - likewise

    return serving_metrics(listen, registry_of("dispatcher", [OfTheDispatcher(dispatcher)]))
