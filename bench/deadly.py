"""Steps that all die, of errors of forty kinds.

The messages of ``dying-varied`` hold ids of its execution's own, so that no two are the same; those
of ``dying-same`` those of the first execution of their kind, so that there are forty of them.
"""

from __future__ import annotations

import uuid
from typing import Final

import zart

_TEMPLATES: Final = (
    "{service} declined card {n} of order {n}",
    "order {uuid} is not known to {service}",
    "{service} has no 'customer-{n}' in \"tenant {n}\"",
    "{service}: cannot read /srv/orders/{n}/receipt.json",
    "{service}: no answer from db-{n}.internal:5432 within 2.5 s",
    "POST https://cards.example/v1/charges?order={n} from {service}: 503 at 0x{n:08x}",
    "mail of {service} to user{n}@example.org bounced, 3 of 3",
    'Traceback (most recent call last):\n  File "/srv/{n}.py", line 7\nLookupError: {service}: {n}',
)
_SERVICES: Final = ("billing", "stock", "the ledger", "search", "shipping")
KINDS: Final = len(_TEMPLATES) * len(_SERVICES)

varied = zart.Task("dying-varied")
same = zart.Task("dying-same")


def message_of(number: int, *, is_varied: bool) -> str:
    """Return the message of the error of an execution, by its number."""
    kind = number % KINDS
    n = number if is_varied else kind
    template, service = _TEMPLATES[kind % len(_TEMPLATES)], _SERVICES[kind // len(_TEMPLATES)]
    id_ = uuid.UUID(int=(n + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)
    return template.format(service=service, n=10_000_000 + n, uuid=id_)


def _die(ctx: zart.StepContext, *, is_varied: bool) -> None:
    number = int(ctx.execution_id.rpartition("-")[2])
    raise zart.StepFailed(message_of(number, is_varied=is_varied), retryable=False)


@varied.step(name="only")
async def _varied(ctx: zart.StepContext) -> None:
    """Fail for good."""
    _die(ctx, is_varied=True)


@same.step(name="only")
async def _same(ctx: zart.StepContext) -> None:
    """Fail for good."""
    _die(ctx, is_varied=False)


TASKS = (varied, same)
"""Both of them."""
