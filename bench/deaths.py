"""What the fingerprint of an error costs a drain in which every step dies.

Deaths of as many messages as there are deaths, in turn with deaths of forty messages, whose
fingerprints the server remembers. The messages of either are of the same forty kinds and lengths,
so that the same groups are written and as many bytes: what is left between them is the reading of
messages. How long that takes by itself is told beside it, in a process that does nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import zart
from bench.deadly import KINDS, TASKS, message_of
from bench.drain import CONCURRENCY, draining
from bench.product import finished, product, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least
from zart_server.domain.fingerprint import NEWEST, fingerprint

TITLE = "a drain in which every step dies, of errors of 40 kinds"
COLUMNS = {
    "deaths_per_second": "deaths/s",
    "cpu_us_per_death": "server, dispatcher and PostgreSQL, µs CPU a death",
    "server_us_per_death": "server, µs",
    "fingerprint_us": "fingerprint, µs",
}
VARIED, SAME = "each message another one", f"{KINDS} messages"


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Let either die in turn, several times round; who is first takes turns as well."""
    executions = run.size(30_000, 400)
    for round_ in run.times(7):
        for is_varied in (True, False) if round_ % 2 else (False, True):
            name = VARIED if is_varied else SAME
            told(series, name, **await _died(executions, is_varied=is_varied))
    return {"executions": executions, "kinds": KINDS, "concurrency": CONCURRENCY}


def targets(series: Series) -> list[Target]:
    """Issue 14, line 4: at most 3 % for the fingerprint."""
    rate, cpu = "deaths_per_second", "cpu_us_per_death"
    return [
        at_least(0.97, "deaths/s with fingerprints", series.ratio((VARIED, rate), (SAME, rate))),
        at_least(0.97, "deaths for a CPU second", series.ratio((SAME, cpu), (VARIED, cpu))),
    ]


async def _died(executions: int, *, is_varied: bool) -> dict[str, float]:
    """Queue executions in an empty system, and let a dispatcher run them to their deaths."""
    task = f"dying-{'varied' if is_varied else 'same'}"
    with product() as made:
        made.serve()
        async with made.client() as client:
            for one in TASKS:
                await client.register_task(one.name, one.specs)
            await started(client, executions, task)
            async with draining(made, executions, status=zart.StepStatus.DEAD) as drained:
                made.dispatch(CONCURRENCY, tasks="bench.deadly")
                await finished(client)
            groups = {group.error_group_id async for group in client.list_error_groups()}
            if len(groups) != KINDS:
                raise RuntimeError(f"{len(groups)} groups of errors, not {KINDS}")
    figures = drained.figures
    cpu = sum(number for name, number in figures.items() if name.endswith("us_per_step"))
    messages = [message_of(n, is_varied=is_varied) for n in range(executions)]
    return {
        "deaths_per_second": figures["steps_per_second"],
        "cpu_us_per_death": cpu,
        "server_us_per_death": figures["server_us_per_step"],
        "fingerprint_us": _reading(messages),
    }


def _reading(messages: Sequence[str]) -> float:
    """Return the microseconds of CPU that the fingerprint of a message takes."""
    begun = time.process_time()
    for message in messages:
        fingerprint("StepFailed", message, NEWEST)
    return (time.process_time() - begun) * 1e6 / len(messages)
