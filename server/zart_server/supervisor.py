"""Several processes that are one server: they share its port, and this one looks after them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Mapping

from zart import systemd
from zart.hangups import heed_hangups
from zart.listening import why_not
from zart.metrics.failures import MetricsError
from zart.metrics.listener import serving_metrics
from zart_server import app
from zart_server.api.limits import MOST_NOTICES
from zart_server.child import Child, NotStartedError, start_child
from zart_server.metrics.processes import registry_of_processes
from zart_server.observability import configure_logging
from zart_server.settings import Settings
from zart_server.supervised import Supervised, forget_systemd

_log = logging.getLogger(__name__)
_PAUSE = 1.0  # seconds before one that ended is replaced
_SILENCE = 30.0  # seconds after which one is given up, unless systemd says after how many
_SIGNS = 5  # of life, within these
_LAST = 10.0  # seconds for what is neither told of, nor a call: to write down and to close
_NOT_BEGUN = "process %d ended with %s before all of them served"
_NOT_YET = "process %d cannot be started (%s), and is tried again each second"
_OF_ITS_OWN = "127.0.0.1:0"  # where each tells its metrics, for this one to read


class Supervisor:
    """Keeps so many processes as ``settings`` say, which have the port that they are to share."""

    def __init__(self, settings: Settings) -> None:
        self._count = settings.processes
        self._settings = settings.model_copy(
            update={
                "processes": 1,
                "metrics_listen": None if settings.metrics_listen is None else _OF_ITS_OWN,
            }
        )
        self._silence = systemd.term() or _SILENCE
        self._drain = (
            MOST_NOTICES * settings.drain_notice + settings.drain_grace
            + settings.operation_timeout + _LAST
        )  # fmt: skip
        self._processes: dict[int, Child] = {}
        self._stop = asyncio.Event()
        self._code = 0
        self._has_begun = False

    async def run(self) -> int:
        """Run them until SIGTERM or SIGINT, and return the exit code.

        SIGHUP is passed on. One that ends is replaced, and so is one that hangs; if one cannot
        start at first, all end, as they do whatever is raised here. One that does not end in the
        time that a drain takes is killed.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        heed_hangups(self.stop, self._reread)
        try:
            async with asyncio.TaskGroup() as keeping:
                watching = keeping.create_task(self._watch(), name="watch")
                await self._begin(keeping)
                if not self._stop.is_set():
                    self._has_begun = True
                    systemd.ready()
                    _log.info("%d processes serve on %s", self._count, self._settings.listen)
                    await self._stop.wait()
                    systemd.stopping()
                await self._end()
                watching.cancel()
        finally:
            await self._end()  # where something was raised: none goes on that nobody looks after
        return self._code

    async def _begin(self, keeping: asyncio.TaskGroup) -> None:
        """Start one after the other, until told to stop: by one that cannot start, perhaps."""
        for index in range(self._count):
            if self._stop.is_set():
                return
            try:
                first = self._started(index)
            except NotStartedError as error:
                _log.error("process %d cannot be started (%s)", index, error)
                self._give_up()
                return
            keeping.create_task(self._keep(index, first), name=f"process {index}")
            # The first of all brings the schema up to date, and tells what is wrong.
            await self._until_ready(first)

    def stop(self) -> None:
        """Have all of them end, and ``run`` once they have."""
        self._stop.set()

    def _give_up(self) -> None:
        self._code = 1
        self._stop.set()

    def metrics(self) -> Mapping[int, str]:
        """Return where each process tells its metrics."""
        return {number: each.metrics for number, each in sorted(self._processes.items())}

    def _reread(self) -> None:
        for each in self._processes.values():
            if each.is_ready.is_set():  # else it is about to read all
                each.signal(signal.SIGHUP)

    async def _until_ready(self, one: Child) -> None:
        events = [asyncio.create_task(event.wait()) for event in (one.is_ready, self._stop)]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            event.cancel()

    async def _watch(self) -> None:
        """Kill what has taken calls and gives no sign of life any more: it will be replaced."""
        loop, pause = asyncio.get_running_loop(), self._silence / _SIGNS
        while True:
            begun = loop.time()
            await asyncio.sleep(pause)
            has_slept = loop.time() - begun > 2 * pause  # all of us, on a machine that stood still
            for index, each in self._processes.items():
                if each.heard is None or each.is_gone.is_set():
                    continue
                if has_slept:
                    each.heard = loop.time()
                elif loop.time() - each.heard > self._silence:
                    _log.error("process %d hangs for %g s and is killed", index, self._silence)
                    each.signal(signal.SIGKILL)

    async def _end(self) -> None:
        """Have all of them end, and kill those that do not."""
        for each in self._processes.values():
            each.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain):
                for each in self._processes.values():
                    await each.is_gone.wait()
        for index, each in self._processes.items():
            if not each.is_gone.is_set():
                _log.error("process %d does not end and is killed", index)
                each.signal(signal.SIGKILL)

    async def _keep(self, index: int, one: Child) -> None:
        """Have a process of this number, and first of all this one, until the server stops."""
        while True:
            await one.is_gone.wait()
            if self._stop.is_set():
                return
            code = await one.exit_code()
            if not self._has_begun:
                if code != 1:  # which is told by whoever ends so
                    _log.error(_NOT_BEGUN, index, code)
                self._give_up()
                return
            _log.error("process %d ended with %s and is replaced", index, code)
            told = ""
            while one.is_gone.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await self._stop.wait()
                if self._stop.is_set():  # perhaps only since the pause was over
                    return
                try:
                    one = self._started(index)
                except NotStartedError as error:
                    if str(error) != told:
                        told = str(error)
                        _log.error(_NOT_YET, index, told)

    def _started(self, index: int) -> Child:
        """Start the process of this number. Raises NotStartedError."""
        found = start_child(index, run_part, self._settings, self._silence / _SIGNS)
        self._processes[index] = found
        found.follow(asyncio.get_running_loop())
        return found


def run_part(settings: Settings, part: Supervised) -> None:
    """Be one of the processes."""
    forget_systemd()
    sys.exit(app.main(settings, part))


@contextlib.contextmanager
def reserved(listen: str) -> Iterator[str]:
    """Keep HOST:PORT for those who share it; gives it with the port, which may be 0 before.

    Raises StartError where somebody listens there: who shares a port is told of nobody.
    """
    host, _, port = listen.rpartition(":")
    with contextlib.ExitStack() as stack:
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                chosen = probe.getsockname()
            kept = stack.enter_context(socket.socket(family, kind))
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind(chosen)
        except (OSError, UnicodeError):  # the latter: no name of a host
            raise app.StartError(
                f"cannot listen on {listen}: {why_not(listen, 'server')}"
                " Choose another address with --listen"
            ) from None
        yield f"{host}:{chosen[1]}"


async def supervise(settings: Settings) -> int:
    """Run a server of several processes and return the exit code. Raises StartError."""
    configure_logging(settings.log_level, settings.log_format)
    with reserved(settings.listen) as listen:
        supervisor = Supervisor(settings.model_copy(update={"listen": listen}))
        registry = registry_of_processes(supervisor.metrics)
        try:
            async with (
                systemd.watched(),
                serving_metrics(settings.metrics_listen, registry) as metrics,
            ):
                if metrics is not None:
                    _log.info("metrics are served on http://%s/metrics", metrics)
                return await supervisor.run()
        except MetricsError as error:
            raise app.StartError(str(error)) from None


def run_processes(settings: Settings) -> int:
    """Run a server of several processes and return the exit code."""
    try:
        return asyncio.run(supervise(settings))
    except app.StartError as error:
        print(f"zart: {error}", file=sys.stderr)  # noqa: T201 - the program's last words
        return 1
