"""Decides whether ready steps are queued, held, or leased at once, and does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zart_server.domain.commands import LeaseNext
from zart_server.engine.dispatch.eager import taker_of
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.enqueue import Leases, Placements, insert_ready
from zart_server.store.steps import RerunSteps


@dataclass(slots=True)
class Ready:
    """A step that became ready, and who takes it on at once where no rule withholds it.

    ``attempt`` is the next one, ``delay`` is in seconds, ``max_attempts`` None: the definition's.
    """

    definition: Definition
    execution_id: str
    run_key: int
    step_no: int
    attempt: int = 1
    counted: int = 0
    backoff_base: int = 0
    max_attempts: int | None = None
    delay: float = 0.0
    lease_to: LeaseNext | None = None

    def tell_of(self, tx: Tx) -> None:
        """Have those who wait for it told that it is queued, if that is where it went."""
        if self.lease_to is None:
            handler = self.definition.graph.steps[self.step_no].handler
            tx.changes.queued(self.definition.task_name, handler, self.delay)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where ready steps went: the rule that holds each, and the leases of those taken on."""

    rules: list[int | None]
    leases: Leases = field(default_factory=dict)


async def place(tx: Tx, ready: Sequence[Ready], steps: RerunSteps | None = None) -> Placed:
    """Queue ready steps or lease them, or hold those that an active pause rule matches.

    ``steps`` are those of their reruns, to be inserted before.
    The last thing a transaction does that may wait: it takes the pause lock, shared, and keeps it
    to the commit, so that a Pause either is seen here or sees what is queued or leased here.
    Gives the rule key of each, None where none matches, and (token, end) of leases by (run key,
    step number).
    """
    if not ready and steps is None:
        return Placed([])
    while True:
        rules = await judge(tx, ready)
        placed = await insert_ready(tx, placements(ready, rules), tx.pauses.epoch, steps)
        if placed is not None:
            break
        # The rules changed before we had the lock; now they cannot, so this happens once.
        await tx.pauses.refresh(tx)
    for item, rule in zip(ready, rules, strict=True):
        if rule is None:
            item.tell_of(tx)
    return Placed(rules, placed)


async def judge(tx: Tx, ready: Sequence[Ready]) -> list[int | None]:
    """Return the rule key of each, None where no rule of ``tx.pauses.epoch`` matches."""
    return await tx.pauses.judge(
        tx,
        [(r.execution_id, r.definition.task_name, r.definition.queued[r.step_no].step_name)
         for r in ready],
    )  # fmt: skip


def placements(ready: Sequence[Ready], rules: Sequence[int | None]) -> Placements:
    """Return what is stored of ready steps as they were judged."""
    found = Placements()
    takers: dict[LeaseNext, int] = {}
    for item, rule in zip(ready, rules, strict=True):
        kind = item.definition.queued[item.step_no]
        found.run_keys.append(item.run_key)
        found.step_nos.append(item.step_no)
        found.attempts.append(item.attempt)
        found.counted.append(item.counted)
        found.backoff_bases.append(item.backoff_base)
        found.max_attempts.append(item.max_attempts or kind.max_attempts)
        found.delays.append(item.delay)
        found.rule_keys.append(rule or 0)
        found.kinds.append(found.of_kind.place(kind))
        to = item.lease_to if rule is None else None
        taker = 0
        if to is not None:
            taker = takers.get(to, 0)
            if not taker:
                taker = takers[to] = found.of_taker.place(taker_of(to))
        found.takers.append(taker)
        found.after.append(0)
    return found
