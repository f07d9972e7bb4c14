"""A host of keys that is asked by https refers to no place where others could answer."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from authority import Authority
from issuing import Issuer
from waiting import until

from zart_server.identity.key_set import KeySet


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_redirect_is_followed_to_https_only(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path / "ca")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("host", "localhost"))
    document = json.dumps(Issuer("k1").jwks)
    elsewhere = ""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if asked.startswith(b"GET /moved "):
            head = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\n"
            writer.write(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        else:
            writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{document}".encode())
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as secure,
        await asyncio.start_server(answer, "127.0.0.1", 0) as plain,
    ):
        ports = {"https": secure, "http": plain}
        port = {name: server.sockets[0].getsockname()[1] for name, server in ports.items()}
        elsewhere = f"{scheme.upper()}://127.0.0.1:{port[scheme]}/keys"
        keys = KeySet(f"https://127.0.0.1:{port['https']}/moved")
        await keys.refresh()
        await until(lambda: keys._fetching is None)

    assert bool(keys._keys) is (scheme == "https")
    assert ("no keys from https://127.0.0.1" in caplog.text) is (scheme == "http")
