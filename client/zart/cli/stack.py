"""PostgreSQL, server, gateway and dispatcher as one: started in order, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from zart.channel import aio_channel
from zart.cli import environments
from zart.cli.stopping_signals import raising
from zart.credentials import Credentials
from zart.gateway.listener import open_listener
from zart.gateway.settings import GatewayError, host_and_port

_log = logging.getLogger("zart.dev")
_PATIENCE = 30.0  # seconds, after which it is told that a child is not ready
_DISPATCHER_GRACE = 1.0
_STOP = 2.0
_STOP_GATEWAY = 6.0  # the five seconds that its calls have, and one


class StackError(Exception):
    """Something cannot be started; the message says why and what to do."""


class Stack:
    """``async with Stack(["examples.order"]) as stack: await stack.wait(stop)``.

    ``ZART_DATABASE_URL`` or ``ZART_DATABASE_URL_FILE`` goes before the embedded PostgreSQL, whose
    data is in ``folder``.
    ``http`` is where a gateway listens (None: there is none).
    ``quiet`` sends what the children say to log files in ``folder``. Entering raises StackError.
    """

    def __init__(
        self,
        targets: Sequence[str] = (),
        *,
        listen: str = "127.0.0.1:50051",
        http: str | None = None,
        folder: Path = Path(".zart"),
        reload: bool = False,
        quiet: bool = False,
    ) -> None:
        self._targets = list(targets)
        self._listen = listen
        self._http = http
        self._folder = folder
        self._reload = reload and bool(targets)  # without a module there is nothing to start anew
        self._quiet = quiet
        self._exits = contextlib.AsyncExitStack()
        self._server: asyncio.subprocess.Process | None = None
        self._gateway: asyncio.subprocess.Process | None = None
        self._dispatcher: asyncio.subprocess.Process | None = None
        self._telling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Stack:
        try:
            credentials = self._credentials()
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._http is not None:
                self._check_free(self._http)
            environment = dict(os.environ)
            if not any(environment.get(f"ZART_DATABASE_URL{end}") for end in ("", "_FILE")):
                environment = environments.of_the_server()
                environment["ZART_DATABASE_URL"] = self._start_postgres()
            self._server = await self._start(
                "server",
                environment,
                "serve",
                "--listen",
                self._listen,
            )
            self._exits.push_async_callback(self._stop_server)
            await self._await("server", self._server, self._listen, self._answers(credentials))
            self._exits.push_async_callback(self._stop_callers)
            if self._http is not None:
                arguments = ("--listen", self._http, "--address", self._listen)
                self._gateway = await self._start(
                    "gateway", environments.of_the_gateway(), "gateway", *arguments
                )
                await self._await("gateway", self._gateway, self._http, _accepts(self._http))
            if self._targets:
                await self._start_dispatcher()
        except OSError as error:
            await self._exits.aclose()
            if error.filename is None:  # as where there are no more processes, or descriptors
                raise StackError(f"not all of it can be started: {error.strerror}") from None
            raise StackError(f"{error.filename} cannot be used: {error.strerror}") from None
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

    async def wait(self, stop: asyncio.Event) -> None:
        """Wait for ``stop``. Raises StackError when a child or the reloading ends by itself."""
        assert self._server is not None  # noqa: S101 - entered
        stopping = asyncio.create_task(stop.wait())
        children = [child for child in (self._server, self._gateway) if child is not None]
        watching: set[asyncio.Task[Any]] = {stopping}
        watching.update(asyncio.create_task(child.wait()) for child in children)
        reloading = asyncio.create_task(self._reload_dispatcher()) if self._reload else None
        if reloading is not None:
            watching.add(reloading)
        try:
            if self._dispatcher is not None and not self._reload:
                watching.add(asyncio.create_task(self._dispatcher.wait()))
            done, _ = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
            if stopping in done:
                return
            if reloading is not None and reloading in done:
                error = reloading.exception()
                raise StackError(f"files are watched no longer: {error or 'the watch has ended'}")
            raise StackError(self._why_ended())
        finally:
            for task in watching:
                task.cancel()

    @staticmethod
    def _credentials() -> Credentials:
        """Return what callers show; what cannot be is told before anything else is started."""
        try:
            return Credentials.from_environment(environments.of_callers())
        except ValueError as error:
            raise StackError(str(error)) from None

    @staticmethod
    def _check_free(listen: str) -> None:
        """Say that the port is taken before anything else is started."""
        try:
            open_listener(listen).close()
        except GatewayError as error:
            raise StackError(str(error)) from None

    def _start_postgres(self) -> str:
        from zart_server.embedded import postgres  # noqa: PLC0415 - where no database is given

        running = postgres.running(self._folder / "postgres")
        stopped = StackError("stopped while PostgreSQL was starting")
        try:
            with raising(stopped):  # recovery may take long, and the event loop stands still
                return self._exits.enter_context(running).url
        except postgres.PostgresError as error:
            raise StackError(str(error)) from None

    async def _start(
        self, name: str, environment: Mapping[str, str], *arguments: str
    ) -> asyncio.subprocess.Process:
        output = (self._folder / f"{name}.log").open("wb") if self._quiet else None
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "zart.cli.with_parent",
                str(os.getpid()),
                *arguments,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches the whole group; the order of the end is ours to choose.
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()

    async def _await(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        address: str,
        answers: Coroutine[object, object, None],
    ) -> None:
        """Wait until a child answers; it told on stderr why it ended, if it did."""
        ready = asyncio.create_task(answers)
        ended = asyncio.create_task(process.wait())
        try:
            while not (ended.done() or ready.done()):
                await asyncio.wait(
                    {ready, ended}, return_when=asyncio.FIRST_COMPLETED, timeout=_PATIENCE
                )
                if not (ended.done() or ready.done()):  # an old schema, say, with many rows
                    where = f", see {self._folder / name}.log" if self._quiet else ""
                    _log.warning("the %s does not answer on %s yet%s", name, address, where)
            if ended.done():
                raise StackError(f"the {name} did not start{self._hint(name)}")
        finally:
            ready.cancel()
            ended.cancel()

    async def _answers(self, credentials: Credentials) -> None:
        async with aio_channel(self._listen, credentials) as channel:
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
            # Another program may have the port: ours ends then, a moment later.
            await asyncio.sleep(0.3)

    def _why_ended(self) -> str:
        children = {
            "server": self._server, "gateway": self._gateway, "dispatcher": self._dispatcher
        }  # fmt: skip
        for name, child in children.items():
            if child is not None and child.returncode is not None:
                return f"the {name} ended by itself{self._hint(name)}"
        return "a part of it ended by itself"

    def _hint(self, name: str) -> str:
        if not self._quiet:
            return ": it says why above"
        log = self._folder / f"{name}.log"
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1].removeprefix('zart: ')}" if lines else f": see {log}"

    async def _start_dispatcher(self) -> None:
        self._dispatcher = await self._start(
            "dispatcher",
            environments.of_callers(),
            "dispatch",
            *self._targets,
            "--address",
            self._listen,
            "--grace",
            str(_DISPATCHER_GRACE),
        )
        if self._reload:
            self._telling = asyncio.create_task(_tell_of_end(self._dispatcher))

    async def _reload_dispatcher(self) -> None:
        from watchfiles import PythonFilter, awatch  # noqa: PLC0415 - of the server's extra

        # A folder that is somebody else's has none of our files.
        changes = awatch(".", watch_filter=PythonFilter(), ignore_permission_denied=True)
        async for _ in changes:
            _log.info("files changed, the dispatcher starts anew")
            await self._stop_dispatcher()
            await self._start_dispatcher()

    async def _stop_dispatcher(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        await _end(self._dispatcher)

    async def _stop_callers(self) -> None:
        await asyncio.gather(_end(self._gateway, _STOP_GATEWAY), self._stop_dispatcher())

    async def _stop_server(self) -> None:
        await _end(self._server)


async def _tell_of_end(dispatcher: asyncio.subprocess.Process) -> None:
    """Say that a dispatcher has ended by itself, where the next change starts it anew."""
    await dispatcher.wait()
    _log.warning("no dispatcher runs: it ended by itself; the next change starts it")


async def _accepts(address: str) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(*host_and_port(address))
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def _end(process: asyncio.subprocess.Process | None, within: float = _STOP) -> None:
    """Stop a child; one that does not, is killed: leases and transactions survive that."""
    if process is None or process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
