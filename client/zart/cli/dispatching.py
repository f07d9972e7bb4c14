"""Runs a dispatcher as a process: signals, what systemd is told, and its health."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence

from zart import systemd
from zart.cli.forks import with_signals_of_their_own
from zart.cli.leaving import leave_what_does_not_end, threads_of_the_loop
from zart.cli.overdue import Overdue
from zart.dispatcher.health import serving_health
from zart.dispatcher.log import Log
from zart.dispatcher.service import Dispatcher
from zart.hangups import heed_hangups
from zart.tasks import Task

_log = Log("zart.dispatcher")
# Seconds that a stop takes besides its grace period: ten in which it tells what became of its
# steps, and what the end of the process takes.
_REST = 20.0


async def dispatch_until_stopped(
    tasks: Sequence[Task],
    *,
    address: str | None,
    concurrency: int,
    lease: float,
    grace: float,
    results_mib: int,
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
    threads = threads_of_the_loop()
    failure: BaseException | None = None
    health = None

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
        results_mib=results_mib,
        stream=stream,
        on_readiness=tell,
    )
    overdue = Overdue(grace + _REST, dispatcher.held_up_by)
    with with_signals_of_their_own():
        _heed_signals(stop, overdue, is_process=is_process)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(systemd.watched())
            if health_listen:
                health = stack.enter_context(serving_health(health_listen))
                _log.info("health is told on %s", health_listen)
            if metrics_listen:
                serving = _serving_metrics(metrics_listen, dispatcher)
                metrics = await stack.enter_async_context(serving)
                _log.info("metrics are served on http://%s/metrics", metrics)
            try:
                await dispatcher.run(stop)
            except BaseException as error:  # noqa: BLE001 - raised again, where its steps end
                failure = error
        await leave_what_does_not_end(threads, failure, is_process=is_process)
    if failure is not None:
        raise failure


def _heed_signals(stop: asyncio.Event, overdue: Overdue, *, is_process: bool) -> None:
    """Have signals set ``stop``, and ``overdue`` end the process where that comes to nothing."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        overdue.heed()
        systemd.stopping()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
        if is_process:
            # In place of a handler of the loop's that does nothing: the loop is told all the same,
            # by a socket, once it goes on.
            signal.signal(number, overdue.come)
    # What it calls the server with is followed by the channel: nothing is left to reread.
    heed_hangups(end, lambda: None, overdue.come if is_process else None)
    if is_process:
        overdue.watch()


def _serving_metrics(
    listen: str, dispatcher: Dispatcher
) -> contextlib.AbstractAsyncContextManager[str | None]:
    from zart.dispatcher.metrics import OfTheDispatcher  # noqa: PLC0415 - only where it is wanted
    from zart.metrics.listener import serving_metrics  # noqa: PLC0415 - likewise
    from zart.metrics.registry import registry_of  # noqa: PLC0415 - likewise

    return serving_metrics(listen, registry_of("dispatcher", [OfTheDispatcher(dispatcher)]))
