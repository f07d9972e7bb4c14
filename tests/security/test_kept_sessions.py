"""Who kept a TLS session is let in by it no longer than by the certificate that it was made with."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from authority import Authority
from gateway.sending import Http, gateway_to
from waiting import GIVE_UP, until


class Caller:
    """Shows a certificate, and keeps the session of its last connection."""

    def __init__(
        self, http_: Http, trusted: Authority, shown: tuple[Path, Path], version: ssl.TLSVersion
    ) -> None:
        host, _, port = http_.address.rpartition(":")
        self._address = (host, int(port))
        self._context = ssl.create_default_context(cafile=trusted.ca)
        self._context.minimum_version = self._context.maximum_version = version
        self._context.load_cert_chain(*shown)
        self.session: ssl.SSLSession | None = None

    def resumes(self) -> bool:
        """Ask something, and tell whether it took the session kept; raises where not let in."""
        with (
            socket.create_connection(self._address, GIVE_UP) as plain,
            self._context.wrap_socket(
                plain, server_hostname="localhost", session=self.session
            ) as connection,
        ):
            connection.sendall(
                b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            if not connection.recv(4096):
                raise ConnectionError
            self.session = connection.session
            return bool(connection.session_reused)

    def is_let_in(self) -> bool:
        """Whether there is an answer, by the session kept if the gateway takes it."""
        try:
            self.resumes()
        except (ssl.SSLError, ConnectionError):
            return False
        return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_replaced_authority_ends_sessions_of_whom_it_did_not_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    monkeypatch.setattr("zart.gateway.certificate._LOOK_EVERY", 0.05)
    own, former, following = (Authority(tmp_path / name) for name in ("own", "old", "new"))
    chain, key = own.issue("gateway", "localhost")
    trusted = tmp_path / "callers.pem"
    trusted.write_bytes(former.ca.read_bytes())
    settings = {"tls_cert": chain, "tls_key": key, "tls_client_ca": trusted}
    with gateway_to("127.0.0.1:1", **settings) as http_:
        caller = Caller(http_, own, former.issue("caller", "somebody"), version)
        assert not caller.resumes()
        assert caller.resumes()  # as long as nothing changes
        kept = caller.session

        trusted.write_bytes(following.ca.read_bytes())
        newcomer = Caller(http_, own, following.issue("caller", "somebody"), version)
        await until(newcomer.is_let_in)

        caller.session = kept
        assert not caller.is_let_in()
        assert newcomer.resumes()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_replaced_certificate_costs_a_caller_with_a_session_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    monkeypatch.setattr("zart.gateway.certificate._LOOK_EVERY", 0.05)
    authority = Authority(tmp_path / "pki")
    chain, key = authority.issue("gateway", "localhost")
    caller_files = authority.issue("caller", "somebody")
    settings = {"tls_cert": chain, "tls_key": key, "tls_client_ca": authority.ca}
    with gateway_to("127.0.0.1:1", **settings) as http_:
        caller = Caller(http_, authority, caller_files, version)
        assert not caller.resumes()

        authority.issue("gateway", "localhost")

        await until(lambda: not caller.resumes())  # a handshake anew, which it passes
        assert caller.resumes()
