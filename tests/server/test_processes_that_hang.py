"""One of several processes that hangs: it is replaced, and it does not keep the others from ending."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from server.test_processes import COUNT, Serving
from waiting import GIVE_UP, block_until

import zart


@contextlib.contextmanager
def serving(database: str, log: Path, **settings: str) -> Iterator[Serving]:
    """Two processes that serve."""
    server = Serving(database, log, **settings)
    begun: list[int] = []
    try:
        block_until(lambda: server.popen.poll() is not None or server.said("2 processes serve on"))
        begun = server.children()
        yield server
    finally:
        for pid in begun:  # one that hangs outlives its supervisor
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if server.popen.poll() is None:
            server.popen.kill()
        server.popen.wait()


def test_it_is_killed_and_replaced(zart_database: str, tmp_path: Path) -> None:
    with serving(zart_database, tmp_path / "log", WATCHDOG_USEC="15000000") as server:
        hanging, other = server.children()
        os.kill(hanging, signal.SIGSTOP)
        block_until(lambda: server.said("hangs for 15 s and is killed"))
        block_until(lambda: server.said("zart serves on", COUNT + 1))
        assert hanging not in server.children()
        with zart.connect_sync(server.address, timeout=GIVE_UP) as client:
            assert list(client.list_executions()) == []
        assert other in server.children()
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(GIVE_UP) == 0


def test_it_keeps_the_server_from_ending_no_longer_than_a_drain_lasts(
    zart_database: str, tmp_path: Path
) -> None:
    short = {"ZART_DRAIN_GRACE": "0.1", "ZART_OPERATION_TIMEOUT": "1"}
    with serving(zart_database, tmp_path / "log", **short) as server:
        hanging, _ = server.children()
        os.kill(hanging, signal.SIGSTOP)
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(GIVE_UP) == 0
        assert server.said("does not end and is killed")
        block_until(lambda: not Path(f"/proc/{hanging}").exists())
