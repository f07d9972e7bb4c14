"""Of who asked something the gateway keeps nothing, not even the address."""

from __future__ import annotations

from typing import Any

import pytest
from gateway.sending import gateway_to
from waiting import until

from zart.gateway.shares import Room
from zart.testing.server import ServerUnderTest

START = "/api/v1/executions"


async def test_an_address_is_kept_no_longer_than_its_requests(
    zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms: list[Room] = []

    class Seen(Room):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            rooms.append(self)

    monkeypatch.setattr("zart.gateway.app.Room", Seen)
    with gateway_to(zart_server.address) as http_:
        [room] = rooms
        assert http_.get(START).status == 200
        assert http_.post(START, {"taskName": "none"}).status == 404
        assert http_.send("POST", START).status == 400
        await until(lambda: not room.calls._by_address)
        assert list(room.bodies._by_address) == []
