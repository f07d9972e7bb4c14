"""A call that reports, whose outcomes are recorded together or in several parts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from zart_server.domain.dispatch import (
    Completed,
    Ending,
    Failed,
    LeasedTask,
    LeaseNext,
    Outcome,
    Reported,
    ReportResult,
)
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.eager import size_of

_BATCH = 1000  # outcomes
_CHARACTERS = 8 * 1024 * 1024  # of results and errors
_WITHHELD = 1.0  # seconds that a leased task waits for the rest of its answer, at most


@dataclass(eq=False, slots=True)
class ReportCall:
    """A call and what is known of its outcomes so far, in their order.

    ``size``: about how much text they have, in characters. ``lent``: what those may lease that are
    being recorded apart from others of the call, and how many outcomes each such part has.
    """

    outcomes: Sequence[Outcome]
    done: asyncio.Future[Reported]
    left: int
    results: list[ReportResult | None]
    size: int
    tasks: list[LeasedTask] = field(default_factory=list)
    is_held_up: bool = False  # by a run that another transaction has locked
    lent: dict[LeaseNext, int] = field(default_factory=dict)

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> ReportCall:
        """Return a call of which nothing is known yet."""
        done: asyncio.Future[Reported] = asyncio.get_running_loop().create_future()
        count = len(outcomes)
        size = sum([_length_of(item.ending) for item in outcomes])
        return cls(outcomes, done, count, [None] * count, size)

    @property
    def lease_next(self) -> LeaseNext | None:
        """Who takes on what its outcomes make ready, unless they are to leave that to others."""
        return next((item.lease_next for item in self.outcomes if item.lease_next), None)

    def patience(self) -> float | None:
        """Return how many seconds its tasks may wait for its answer; None: it leases none.

        A lease begins when it is taken: most of it is to be left to who gets it.
        """
        lessee = self.lease_next
        return None if lessee is None else min(_WITHHELD, lessee.lease_duration.total_seconds() / 3)

    def settle(self, index: int, status: ReportStatus, error: str = "") -> None:
        """Answer one outcome, and the call with the last."""
        self.results[index] = ReportResult(self.outcomes[index].task_id, status, error)
        self.left -= 1
        if self.left == 0 and not self.done.done():
            results = [result for result in self.results if result is not None]
            self.done.set_result(Reported(results, self.tasks))

    def lend(self, count: int) -> LeaseNext | None:
        """Return what so many of its outcomes may lease, recorded apart; None: nothing.

        It is their share of what the call may lease yet. The rest is for those that are to come,
        or are recorded at the same time.
        """
        wish = self.lease_next
        if wish is None:
            return None
        to_come = self.left - sum(self.lent.values())
        tasks = wish.max_tasks - len(self.tasks) - sum(share.max_tasks for share in self.lent)
        room = wish.max_bytes - sum(map(size_of, self.tasks))
        room -= sum(share.max_bytes for share in self.lent)
        if tasks <= 0 or room <= 0:
            return None
        share = replace(
            wish,
            max_tasks=-(-tasks * count // to_come),  # rounded up: a lone one is for the first
            max_bytes=room * count // to_come,
        )
        self.lent[share] = count
        return share


# An outcome: its call, and its index in that.
OfCall: TypeAlias = tuple[ReportCall, int]
Shares: TypeAlias = dict[ReportCall, LeaseNext | None]


def take_calls(waiting: Sequence[ReportCall]) -> tuple[list[OfCall], list[ReportCall]]:
    """Return the calls that are recorded together, each whole, and the others.

    A lone call may be more than a batch. What has little text does not wait for what has much.
    """
    batch: list[OfCall] = []
    left: list[ReportCall] = []
    size = 0
    for number, call in enumerate(waiting):
        count = len(call.outcomes)
        if batch and len(batch) + count > _BATCH:
            left += waiting[number:]
            break
        if batch and size + call.size > _CHARACTERS:
            left.append(call)
            continue
        batch += [(call, index) for index in range(count)]
        size += call.size
    return batch, left


def lend_to(batch: Sequence[OfCall], *, are_parts: bool) -> tuple[list[Outcome], Shares]:
    """Return the outcomes of a batch, and what those calls lend that have only a part in it.

    A call that is recorded whole leases what it asked for. Unless they ``are_parts`` that others
    left, a batch is a piece of what came, one call after the other.
    """
    outcomes = [call.outcomes[index] for call, index in batch]
    (_, first), (call, last) = batch[0], batch[-1]
    if not are_parts and first == 0 and last == len(call.outcomes) - 1:
        return outcomes, {}
    counts = Counter(call for call, _ in batch)
    shares = {
        call: call.lend(count) for call, count in counts.items() if count < len(call.outcomes)
    }
    for number, (call, _) in enumerate(batch):
        if call in shares and outcomes[number].lease_next is not None:
            outcomes[number] = outcomes[number]._replace(lease_next=shares[call])
    return outcomes, shares


def end_shares(shares: Shares) -> None:
    """End what calls have lent: they hold what was leased of it."""
    for call, share in shares.items():
        if share is not None:
            del call.lent[share]


def _length_of(ending: Ending) -> int:
    """Return how many characters are stored of it: to count bytes would take longer."""
    if isinstance(ending, Completed):
        return len(ending.result_json)
    if isinstance(ending, Failed):
        error = ending.error
        return len(error.type) + len(error.message) + len(error.details)
    return 0
