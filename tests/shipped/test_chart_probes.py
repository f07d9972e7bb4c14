"""The probes of the chart's servers, run as they stand there, while a secret is replaced badly."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from authority import Authority
from cryptography.x509 import DNSName
from shipped.chart import TEMPLATES
from waiting import GIVE_UP

from zart.cli.main import main
from zart.testing.server import serving

NAME = "zart-server"
SERVER = TEMPLATES["server.yaml"]


def secret(authority: Authority, folder: Path, ends_in: timedelta = timedelta(days=1)) -> None:
    """Write what the secret has, by its keys."""
    chain, key = authority.issue("server", NAME, DNSName(NAME), ends_in=ends_in)
    for name, file in (("ca.crt", authority.ca), ("tls.crt", chain), ("tls.key", key)):
        (folder / name).write_bytes(file.read_bytes())


def outcomes(address: str) -> dict[str, int]:
    """Return the exit code of each probe."""
    ((listed, command),) = re.findall(
        r"range \$probe, \$live := dict (.*?) \}\}.*?command: \[zart, (health.*?)\]\n",
        SERVER,
        re.DOTALL,
    )
    fixed, when_live = re.fullmatch(
        r"(.*)\{\{ \$name \| quote \}\}\{\{ if \$live \}\}(.*)\{\{ end \}\}", command
    ).groups()  # type: ignore[union-attr]  # it is there, or the test fails
    found = {}
    for probe, is_live in re.findall(r'"(\w+)" (true|false)', listed):
        words = f"{fixed}{NAME}{when_live if is_live == 'true' else ''}".replace('"', "").split(
            ", "
        )
        words[words.index("--address") + 1] = address
        found[probe] = main([*words, "--timeout", str(GIVE_UP)])
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the secret is mounted, as the variables of the container say."""
    given = dict(re.findall(r"\{name: (ZART_TLS_\w+), value: /etc/zart/tls/(\S+?)\}", SERVER))
    assert given == {
        "ZART_TLS_CERT": "tls.crt", "ZART_TLS_KEY": "tls.key", "ZART_TLS_CA": "ca.crt",
    }  # fmt: skip
    for name, file in given.items():
        monkeypatch.setenv(name, str(tmp_path / file))
    return tmp_path


def test_no_secret_that_is_replaced_badly_has_a_server_restarted(
    zart_database: str, folder: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "pki")
    secret(authority, folder)
    files = {"tls_cert": folder / "tls.crt", "tls_key": folder / "tls.key"}
    with serving(zart_database, **files) as server:
        well = {"startupProbe": 0, "livenessProbe": 0, "readinessProbe": 0}
        assert outcomes(server.address) == well
        whole = (folder / "tls.key").read_bytes()

        (folder / "tls.key").write_bytes(authority.issue("other", NAME)[1].read_bytes())
        assert outcomes(server.address) == well

        (folder / "tls.key").write_bytes(whole)
        secret(authority, folder, ends_in=timedelta(seconds=-1))
        assert outcomes(server.address) == {**well, "readinessProbe": 1}
        secret(authority, folder)
        assert outcomes(server.address) == well
