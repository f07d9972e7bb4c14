"""``zart health`` where certificates are in the way: a restart, and a probe that fails, cure none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from authority import Authority
from gateway.sending import gateway_to
from ports import free_port
from security.encrypted import encrypted
from waiting import GIVE_UP

from zart.cli.main import main
from zart.testing.server import ServerUnderTest

NO_PAIR = "no certificate was shown, for the files of TLS cannot be used together"


@pytest.fixture(autouse=True)
def as_in_its_pod(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a probe of a server or gateway has in its environment: what these listen with."""
    monkeypatch.setenv("ZART_TLS_CA", str(authority.ca))
    monkeypatch.setenv("ZART_TLS_CERT", str(authority.folder / "server.pem"))
    monkeypatch.setenv("ZART_TLS_KEY", str(authority.folder / "server.key"))


def probe(*words: str, timeout: float = GIVE_UP) -> int:
    """Return the exit code of ``zart health``."""
    return main(["health", *words, "--timeout", str(timeout)])


def mismatch(authority: Authority) -> None:
    """Put another key beside the certificate, as half a replacement does."""
    _, other = authority.issue("other", "localhost")
    (authority.folder / "server.key").write_bytes(other.read_bytes())


def end(authority: Authority) -> None:
    """Put a certificate there that has ended."""
    authority.issue("server", "localhost", ends_in=timedelta(seconds=-1))


def test_a_server_whose_pair_does_not_fit_goes_on_and_its_probes_say_so(
    zart_database: str, authority: Authority
) -> None:
    with encrypted(zart_database, authority) as server:
        mismatch(authority)
        for asked in (("--address", server.address), ("--live", "--address", server.address)):
            assert probe("server", *asked) == 0


def test_one_that_asks_for_certificates_is_up_though_none_can_be_shown(
    zart_database: str, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    with encrypted(zart_database, authority, tls_client_ca=authority.ca) as server:
        at = ("--address", server.address)
        assert probe("server", *at) == probe("server", "--live", *at) == 0  # its own is shown
        mismatch(authority)
        assert probe("server", "--live", *at) == 0
        capsys.readouterr()
        assert probe("server", *at) == 1
        assert NO_PAIR in capsys.readouterr().err
    assert probe("server", "--live", *at) == 1  # nobody is there


@pytest.mark.parametrize("asks", [False, True])
def test_one_whose_certificate_has_ended_is_up_and_serves_nobody(
    zart_database: str, authority: Authority, capsys: pytest.CaptureFixture[str], *, asks: bool
) -> None:
    """Its callers verify it as well: to those that are connected it goes on."""
    end(authority)
    more = {"tls_client_ca": authority.ca} if asks else {}
    with encrypted(zart_database, authority, **more) as server:
        at = ("--address", server.address)
        assert probe("server", "--live", *at) == 0
        capsys.readouterr()
        assert probe("server", *at) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"nonsense")])
def test_a_probe_that_knows_no_authority_finds_it_up(
    zart_database: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    spoil: object,
) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.ca.read_bytes())
    monkeypatch.setenv("ZART_TLS_CA", str(ca))
    with encrypted(zart_database, authority) as server:
        assert callable(spoil)
        spoil(ca)
        assert probe("server", "--live", "--address", server.address) == 0
        assert probe("server", "--address", server.address) != 0


@contextmanager
def standing_still(server: ServerUnderTest) -> Iterator[None]:
    """Hold its event loop up until the context is left."""
    stands, goes_on = threading.Event(), threading.Event()

    def stand() -> None:
        stands.set()
        goes_on.wait(GIVE_UP)

    server.loop.call_soon_threadsafe(stand)
    assert stands.wait(GIVE_UP)
    try:
        yield
    finally:
        goes_on.set()


@pytest.mark.parametrize("spoil", [None, end])
def test_an_event_loop_that_stands_still_is_found_over_tls(
    zart_database: str,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Authority], None] | None,
) -> None:
    """Hands are shaken by threads of gRPC, without it."""
    if spoil is not None:
        spoil(authority)
    with encrypted(zart_database, authority) as server:
        at = ("--address", server.address)
        assert probe("server", "--live", *at) == 0
        with standing_still(server):
            capsys.readouterr()
            assert probe("server", "--live", *at, timeout=2) == 1
            assert "no answer within 2 s" in capsys.readouterr().err


@pytest.mark.parametrize("process", ["server", "gateway"])
def test_who_takes_connections_and_shakes_no_hands_is_not_up(process: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        assert probe(process, "--live", "--address", at, timeout=0.5) == 1
    assert probe(process, "--live", "--address", at) == 1


def test_one_that_takes_what_is_shown_is_asked_though_its_own_is_of_another_authority(
    zart_database: str, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZART_TLS_CA", str(Authority(tmp_path / "another").ca))
    with encrypted(zart_database, authority, tls_client_ca=authority.ca) as server:
        at = ("--address", server.address)
        assert probe("server", "--live", *at) == 0
        with standing_still(server):
            assert probe("server", "--live", *at, timeout=2) == 1
        assert probe("server", *at) == 1


@pytest.mark.parametrize("length", [126, 127, 253])
def test_it_may_be_called_by_any_name(
    zart_database: str, authority: Authority, length: int
) -> None:
    name = ("x" * 62 + ".") * 4
    with encrypted(zart_database, authority) as server:
        at = ("--address", server.address, "--server-name", name[: length - 1] + "x")
        assert probe("server", "--live", *at) == 0
        assert probe("server", *at) == 1


@contextmanager
def answering_nobody(authority: Authority) -> Iterator[str]:
    """Shake hands with each caller, and close the connection once it has asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "server.pem", authority.folder / "server.key")
    context.set_alpn_protocols(["h2", "http/1.1"])

    def close_all(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it listens no more
            while True:
                caller = listener.accept()[0]
                with contextlib.suppress(OSError), context.wrap_socket(caller, True) as encrypted_:
                    encrypted_.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        closing = threading.Thread(target=close_all, args=(listener,))
        closing.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            closing.join()


@pytest.mark.parametrize("spoil", [None, end])
@pytest.mark.parametrize("process", ["server", "gateway"])
def test_who_shakes_hands_and_answers_nothing_is_not_up(
    process: str,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Authority], None] | None,
) -> None:
    if spoil is not None:
        spoil(authority)
    with answering_nobody(authority) as at:
        assert probe(process, "--live", "--address", at) == 1
    assert "asked without a look at its certificate: " in capsys.readouterr().err


def test_one_whose_certificate_has_ended_is_up_only_until_it_leaves(
    zart_database: str, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    end(authority)
    with encrypted(zart_database, authority) as server:
        at = ("--address", server.address)
        assert probe("server", "--live", *at) == 0
        server.loop.call_soon_threadsafe(server.running.health.leave)
        # gRPC's own loop answers what is asked after the change.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), server.loop).result(GIVE_UP)
        capsys.readouterr()
        assert probe("server", "--live", *at) == 1
        assert "the process is not SERVING" in capsys.readouterr().err


@pytest.mark.parametrize("process", ["server", "gateway"])
def test_a_pair_is_shown_though_no_authority_can_be_read(
    zart_database: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    process: str,
) -> None:
    """What is in the way is not the pair, and nothing else is said."""
    nonsense = tmp_path / "ca.crt"
    nonsense.write_bytes(b"nonsense")
    monkeypatch.setenv("ZART_TLS_CA", str(nonsense))
    with encrypted(zart_database, authority) as server:
        capsys.readouterr()
        assert probe(process, "--address", server.address) == 1
    assert "no certificate was shown" not in capsys.readouterr().err


def test_who_speaks_no_tls_is_not_up(zart_server: ServerUnderTest) -> None:
    assert probe("server", "--live", "--address", zart_server.address) == 1


@pytest.mark.parametrize("spoil", [mismatch, end])
def test_a_gateway_is_up_whatever_its_certificate_is(authority: Authority, spoil: object) -> None:
    """It asks for one, so that its probes are ``zart health``, as in the chart."""
    assert callable(spoil)
    if spoil is end:
        spoil(authority)
    files = {
        "tls_cert": authority.folder / "server.pem",
        "tls_key": authority.folder / "server.key",
        "tls_client_ca": authority.ca,
    }
    with gateway_to(f"127.0.0.1:{free_port()}", **files) as gateway:
        if spoil is mismatch:
            assert probe("gateway", "--live", "--address", gateway.address) == 0
            spoil(authority)
        assert probe("gateway", "--live", "--address", gateway.address) == 0
        assert probe("gateway", "--address", gateway.address) == 1
    assert probe("gateway", "--live", "--address", gateway.address) == 1


def test_a_gateway_that_asks_nobody_is_asked_without_a_pair_that_does_not_fit(
    zart_database: str, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "tls_cert": authority.folder / "server.pem",
        "tls_key": authority.folder / "server.key",
    }
    with gateway_to(f"127.0.0.1:{free_port()}", **files) as gateway:
        mismatch(authority)
        assert probe("gateway", "--address", gateway.address) == 1
        assert "503" in capsys.readouterr().err  # it has answered: it has no server
