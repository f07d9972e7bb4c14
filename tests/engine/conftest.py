"""Watches that find nothing by polling."""

from __future__ import annotations

import math

import pytest

from zart.testing.server import ServerUnderTest


@pytest.fixture
def nobody_polls(zart_server: ServerUnderTest) -> None:
    zart_server.running.runtime.maintenance._next["watches"] = math.inf
