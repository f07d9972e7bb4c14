"""An incident is played by the commands of docs/incident.md, and says what the page tells.

CI plays a small one; ``ZART_INCIDENT_EXECUTIONS=15000`` plays it as large as the page tells.
"""

from __future__ import annotations

import os
from collections import Counter

from acceptance.incident import INCIDENT, play
from acceptance.incident_orders import UNKNOWN, is_of_the_outage
from acceptance.incident_page import read_page, shape_of

from zart.testing.server import ServerUnderTest

EXECUTIONS = int(os.environ.get("ZART_INCIDENT_EXECUTIONS", "300"))
RATE = max(200, EXECUTIONS // 30)  # a second: half a minute at least
LATE = EXECUTIONS // 10


async def test_the_incident_that_must_work(zart_server: ServerUnderTest) -> None:
    played = await play(zart_server, EXECUTIONS, rate=f"{RATE}/s")
    retried = sum(is_of_the_outage(f"exec-{n:05}") for n in range(EXECUTIONS))
    came = [f"exec-{n:05}" for n in range(EXECUTIONS, EXECUTIONS + LATE)]
    receipt = played.receipt
    assert receipt.clean
    assert receipt.is_complete
    assert receipt.violations == ()
    assert receipt.exempt_attempts == 1
    # What came later and is declined was released, too.
    assert receipt.released_attempts == retried - 1 + sum(not c.endswith(UNKNOWN) for c in came)

    kinds = Counter(operation.kind.value for operation in played.audit)
    assert kinds == {
        "PAUSE": 1,
        "DRAIN": 1,
        "UPDATE_PAUSE_RULE": 1,
        "CREATE_BATCH": 1,
        "RETRY_STEP": retried,
        "RESUME": 1,
        "RELEASE_END": 1,
    }
    assert {operation.incident for operation in played.audit} == {INCIDENT}

    page = read_page()
    for told, seen in zip(page, played.lines, strict=True):
        assert shape_of(seen.output) == shape_of(told.output), told.command
