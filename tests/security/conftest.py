"""The authorities that a test's server trusts: of certificates, and of JWTs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from issuing import Issuer
from security.providing import Provider, providing
from security.trusting import trusting

from zart.testing.server import ServerUnderTest


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that signed ``server.pem``."""
    made = Authority(tmp_path / "pki")
    made.issue("server", "localhost")
    return made


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def jwks(tmp_path: Path, issuer: Issuer) -> Path:
    """The file of keys."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.jwks))
    return path


@pytest.fixture
def trusting_server(zart_database: str, jwks: Path) -> Iterator[ServerUnderTest]:
    with trusting(zart_database, str(jwks)) as server:
        yield server


@pytest.fixture
def provider(issuer: Issuer) -> Iterator[Provider]:
    """The issuer's host."""
    with providing(issuer.jwks) as made:
        yield made
