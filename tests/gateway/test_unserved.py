"""What reaches no RPC is told, too: in the log as any call, and among the requests as `unknown`."""

from __future__ import annotations

import logging

import pytest
from gateway.counting import counting
from gateway.scripted import RESUME, Scripted

LONG = "/" + "x" * 5_000


async def test_requests_that_reach_no_rpc_are_counted_and_logged(
    scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zart.gateway")
    with counting(scripted.address) as made:
        send = made.http.send
        answers = [
            send("GET", "/nothing"),
            send("GET", LONG),
            send("POST", "/healthz"),
            send("BREW", RESUME),
            send("GET", "/api/v1/executions/x", Host="evil.example"),
            send("GET", "/healthz"),  # which is no such request
        ]
        assert [each.status for each in answers] == [404, 404, 405, 405, 403, 200]
        await made.counts({("unknown", "404"): 2, ("unknown", "405"): 2, ("unknown", "403"): 1})
    lines = [vars(record) for record in caplog.records if record.getMessage() == "call"]
    told = {(line["method"], line["path"], line["status"]) for line in lines}
    (cut,) = [path for _, path, _ in told if path.startswith("/xxx")]
    assert len(cut) < 300
    assert told == {
        ("GET", "/nothing", "404"),
        ("GET", cut, "404"),
        ("POST", "/healthz", "405"),
        ("BREW", RESUME, "405"),
        ("GET", "/api/v1/executions/x", "403"),
    }
    assert scripted.requests == []
