"""``zart health``: 0 from what can serve, 1 from all else; over TLS too, by the certificate's name."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading

import pytest
from authority import Authority
from cryptography.x509 import DNSName
from gateway.sending import gateway_to
from ports import free_port
from security.encrypted import encrypted
from waiting import GIVE_UP, until

import zart
from zart.cli.main import main
from zart.dispatcher.health import CannotListen, serving_health
from zart.testing.server import ServerUnderTest, serving


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "LISTEN", "GATEWAY_LISTEN", "HEALTH_LISTEN", "TLS_CA", "TLS_CERT"):
        monkeypatch.delenv(f"ZART_{name}", raising=False)


def probe(*words: str) -> int:
    """Return the exit code of ``zart health``, on a machine however busy."""
    return main(["health", *words, "--timeout", str(GIVE_UP)])


def test_a_server_that_leaves_is_live_no_more(
    zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--address", zart_server.address)
    assert probe(*at) == probe("server", "--live", *at) == 0
    zart_server.loop.call_soon_threadsafe(zart_server.running.health.leave)
    # gRPC's own loop answers what is asked after the change.
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), zart_server.loop).result(GIVE_UP)
    capsys.readouterr()

    assert probe(*at) == 1
    assert "is NOT_SERVING" in capsys.readouterr().err
    assert probe("--live", *at) == 1


def test_nobody_there_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    for process in ("server", "gateway", "dispatcher"):
        assert probe(process, "--address", nobody) == 1
        assert f"zart: the {process} at {nobody} does not serve" in capsys.readouterr().err


@pytest.mark.parametrize("process", ["server", "gateway", "dispatcher"])
def test_who_answers_a_byte_now_and_then_does_not_serve(
    process: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_dawdle, args=(listener,), daemon=True).start()
        at = f"127.0.0.1:{listener.getsockname()[1]}"
        assert main(["health", process, "--address", at, "--timeout", "0.5"]) == 1
        listener.shutdown(socket.SHUT_RDWR)
    assert f"zart: the {process} at {at} does not serve" in capsys.readouterr().err


def _dawdle(listener: socket.socket) -> None:
    """Answer each caller with heads without an end, by HTTP, for as long as it stays."""
    with contextlib.suppress(OSError):
        while True:
            caller = listener.accept()[0]
            with caller, contextlib.suppress(OSError):
                caller.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    caller.sendall(b"x: y\r\n")
                    select.select([], [], [], 0.1)


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1", "http://h:no", "h:99999", "http://[", f"http://{'x' * 70}.org:1"]
)
def test_what_cannot_be_asked_is_1(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe("gateway", "--address", address) == 1
    assert f"zart: the gateway at {address} does not serve" in capsys.readouterr().err


def test_a_dispatcher_without_an_address_of_its_own_is_misuse() -> None:
    assert probe("dispatcher") == 2


def test_over_tls_by_the_name_in_the_certificate(
    zart_database: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a probe in a pod asks: at loopback, where the certificate has the service's name."""
    chain, key = authority.issue("server", "zart-server", DNSName("zart-server"))

    def answers(*words: str) -> bool:
        """Whether the process was asked; the gateway says that it has no server."""
        capsys.readouterr()
        return probe(*words) == 0 or "503" in capsys.readouterr().err

    with (
        encrypted(zart_database, authority) as server,
        gateway_to(f"127.0.0.1:{free_port()}", tls_cert=chain, tls_key=key) as gateway,
    ):
        for process, address in (("server", server.address), ("gateway", gateway.address)):
            url = f"https://{address}" if process == "gateway" else address
            asked = [process, "--address", url]
            monkeypatch.setenv("ZART_TLS_CA", str(authority.ca))
            assert answers(*asked, "--server-name", "zart-server")
            assert not answers(*asked)  # 127.0.0.1 is no name of its
            assert probe(*asked, "--live") == 0
            monkeypatch.delenv("ZART_TLS_CA")
            assert not answers(*asked, "--server-name", "zart-server")


def test_a_gateway_that_asks_for_certificates_is_shown_its_own(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a pod, whose probes have its settings; who shows none, as Kubernetes, learns nothing."""
    chain, key = authority.issue("server", "zart-server", DNSName("zart-server"))
    files = {"tls_cert": chain, "tls_key": key, "tls_client_ca": authority.ca}
    monkeypatch.setenv("ZART_TLS_CA", str(authority.ca))
    with gateway_to(f"127.0.0.1:{free_port()}", **files) as gateway:
        asked = ("gateway", "--server-name", "zart-server")
        assert probe(*asked, "--address", f"https://{gateway.address}") == 1
        assert "503" not in capsys.readouterr().err
        monkeypatch.setenv("ZART_TLS_CERT", str(chain))
        monkeypatch.setenv("ZART_TLS_KEY", str(key))
        assert probe(*asked, "--address", gateway.address) == 1
        assert "503" in capsys.readouterr().err  # it has no server


def test_a_gateway_without_its_server_is_live_but_does_not_serve(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with gateway_to(f"127.0.0.1:{free_port()}") as gateway:
        assert probe("gateway", "--live", "--address", gateway.address) == 0
        assert probe("gateway", "--address", gateway.address) == 1
    assert "503" in capsys.readouterr().err


async def test_a_dispatcher_is_ready_while_the_server_answers(
    zart_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = zart.Task("t")

    @task.step()
    async def one(ctx: zart.StepContext) -> None:
        await asyncio.sleep(0)

    told: list[bool] = []
    stop = asyncio.Event()
    with serving(zart_database, listen=f"127.0.0.1:{free_port()}") as server:
        dispatcher = zart.Dispatcher([task], address=server.address, on_readiness=told.append)
        running = asyncio.create_task(dispatcher.run(stop))
        await until(lambda: told == [True])
    await until(lambda: told == [True, False])
    with serving(zart_database, listen=server.address):
        await until(lambda: told == [True, False, True])
        stop.set()
        await running
    assert told == [True, False, True, False]


def test_the_health_of_a_dispatcher_says_what_it_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    asked = ["dispatcher", "--address", listen]
    with serving_health(listen) as health:
        assert (probe(*asked, "--live"), probe(*asked)) == (0, 1)
        health.set(is_ready=True)
        assert probe(*asked) == 0
        with pytest.raises(CannotListen, match="ZART_HEALTH_LISTEN"), serving_health(listen):
            pass
    assert probe(*asked, "--live") == 1
