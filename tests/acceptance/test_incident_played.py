"""An incident is played by the commands of an operator, as docs/incident.md tells it."""

from __future__ import annotations

from collections import Counter

from acceptance.incident import INCIDENT, play

from zart.testing.server import ServerUnderTest

EXECUTIONS = 300


async def test_the_incident_that_must_work(zart_server: ServerUnderTest) -> None:
    played = await play(zart_server, EXECUTIONS, rate=200)
    receipt = played.receipt
    assert receipt["clean"]
    assert receipt["isComplete"]
    assert receipt["violations"] == []
    assert receipt["exemptAttempts"] == 1
    assert receipt["releasedAttempts"] == EXECUTIONS - 1

    kinds = Counter(operation.kind.value for operation in played.audit)
    assert kinds == {
        "PAUSE": 1,
        "DRAIN": 1,
        "UPDATE_PAUSE_RULE": 1,
        "RETRY_STEP": EXECUTIONS * 2 // 3,
        "RESUME": 1,
        "RELEASE_END": 1,
    }
    assert {operation.incident for operation in played.audit} == {INCIDENT}
