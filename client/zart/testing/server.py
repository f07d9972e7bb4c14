"""A real server in a thread of its own, for tests in any style."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zart_server.app import Running


_NO_VARIABLE = "="  # what the name of no variable can begin with


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """A running server: where it listens and which database it uses."""

    address: str
    database_url: str
    running: Running
    loop: asyncio.AbstractEventLoop


@contextlib.contextmanager
def serving(database_url: str, **settings: Any) -> Iterator[ServerUnderTest]:  # noqa: ANN401 - of each setting its own
    """Run a server on a free port of loopback until the context is left.

    Its settings are those given, by their names without ZART_; the environment says nothing of it.
    """
    from zart_server.app import running  # noqa: PLC0415 - only here is the server needed
    from zart_server.settings import Settings  # noqa: PLC0415 - likewise

    loaded = Settings.load(
        **{
            "database_url": database_url,
            "listen": "127.0.0.1:0",
            "pool_size": 5,
            "drain_notice": 0.0,  # nobody here asks for its health before it stops
            "drain_grace": 1.0,
            "_env_prefix": _NO_VARIABLE,  # what ZART_… says here is of another server
            **settings,
        }
    )
    started = threading.Event()
    found: list[ServerUnderTest] = []
    problems: list[BaseException] = []
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    is_unwanted = threading.Event()

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stopping.append((loop, stop))
        if is_unwanted.is_set():
            return
        async with running(loaded, stop=stop) as server:
            found.append(ServerUnderTest(server.address, database_url, server, loop))
            started.set()
            await stop.wait()

    def thread() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            problems.append(error)
        finally:
            started.set()

    running_thread = threading.Thread(target=thread, name="zart-server")
    try:  # Ctrl-C may come at any moment
        running_thread.start()
        started.wait()
        if problems:
            raise problems[0]
        yield found[0]
    finally:
        is_unwanted.set()
        for loop, stop in stopping:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(stop.set)
        if running_thread.is_alive():
            running_thread.join()
    if problems:
        raise problems[0]
