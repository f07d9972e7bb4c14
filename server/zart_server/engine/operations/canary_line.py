"""Finds the steps that a canary lets go: a rule's oldest ones that no other rule withholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zart_server.domain.pacing import judge_release
from zart_server.domain.rule_set import StepNames
from zart_server.engine.operations.counts import count_leaving
from zart_server.engine.operations.let_go import LetGo, let_steps_go
from zart_server.engine.operations.plan_pause import EXACT_TO
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.judging import ask_of_each, refresh_rules
from zart_server.store.pausing.letting_go import promised_steps
from zart_server.store.pausing.matching import LOOKED_AT
from zart_server.store.pausing.paused import PausedAt, paused_in_runs, paused_with_names
from zart_server.store.pausing.releases import is_settled, standing_releases
from zart_server.store.runs import lock_runs

_PAGE = 100  # steps, at least; each page is of twice as many as the one before
_LARGEST_PAGE = 10_000
_PASSED_OVER = EXACT_TO  # steps at most; beyond them it looks for no more
_ROUNDS = 20  # of runs that others have locked


class CanaryLine(NamedTuple):
    """The locked runs of a canary's steps. ``looked_at``: how far in the rule's line they reach.

    ``found``: how many of its steps are in them. ``is_any``: there was such a step, though maybe of
    a run that others have locked. ``cut_at``: ``looked_at`` where it was to look no further, though
    there may be more.
    """

    run_keys: list[int]
    found: int
    looked_at: int
    is_any: bool
    cut_at: int | None


class CanaryCount(NamedTuple):
    """How many steps a canary lets go (``going``), and how many other rules hold, too.

    ``cut_at``: how many were looked at where it was to look no further, though there may be more.
    """

    going: int
    others: int
    cut_at: int | None


async def lock_canaries(
    tx: Tx,
    rule_key: int,
    count: int,
    rates: Mapping[int, float],
    last_queue_no: int | None = None,
) -> CanaryLine:
    """Lock the runs of the oldest ``count`` steps that a canary of a rule lets go.

    With a ``last_queue_no``: of those that were ready up to that.

    What other rules withhold that are not releasing, as ``rates`` says, is passed over; so are runs
    that others have locked: 10,000 steps at most. The caller holds no lock that comes after runs,
    and judges again once it holds the pause lock.
    """
    await refresh_rules(tx)
    locked: set[int] = set()
    tried: set[int] = set()
    line = _Line(tx, rule_key, count)
    found = rounds = 0
    is_any = False
    while found < count and rounds < _ROUNDS and (page := await line.next_page()):
        if last_queue_no is not None:
            page = [step for step in page if step[0].queue_no <= last_queue_no]
        going = await _going(tx, rule_key, page, rates)
        is_any = is_any or bool(going)
        while going and found < count and rounds < _ROUNDS:
            wanted, going = going[: count - found], going[count - found :]
            runs = {at.run_key for at in wanted} - tried
            tried |= runs
            # The run row is the mutex of its steps: a Restart must not miss one that is moved.
            got = await lock_runs(tx, runs, wait=False) if runs else {}
            locked.update(got)
            mine = [at for at in wanted if at.run_key in locked]
            still = await _still_paused(tx, rule_key, mine, line.looked_at)
            found += still
            rounds += len(got) < len(runs) or still < len(mine)
    return CanaryLine(sorted(locked), found, line.looked_at, is_any, line.cut_at)


async def _still_paused(tx: Tx, rule_key: int, steps: Sequence[PausedAt], looked_at: int) -> int:
    """Count those of some steps that are in a rule's line still, once their runs are locked.

    What was read before that may have gone: restarted, cancelled, or let go by another canary.
    """
    if not steps:
        return 0
    run_keys = sorted({at.run_key for at in steps})
    there = await paused_in_runs(tx, rule_key, run_keys, looked_at, of_executions=False)
    return len({step.queue_no for step in there} & {at.queue_no for at in steps})


async def count_canaries(connection: Connection, rule_key: int, count: int) -> CanaryCount:
    """Count the steps that a canary of ``count`` lets go; and those that other rules hold, too.

    It looks as far as ``lock_canaries``. Of a rule that is settling it counts only those that no
    other rule withholds, but for as many as are promised to other canaries. Locks nothing.
    """
    leaving = await count_leaving(connection, [rule_key])
    free, others = leaving.free, leaving.others
    if not await is_settled(connection, rule_key):
        unpromised = max(free - await promised_steps(connection, rule_key), 0)
        cut_at = EXACT_TO + 1 if leaving.is_lower_bound else None
        if leaving.is_look_cut:
            cut_at = LOOKED_AT
        return CanaryCount(min(unpromised, count), others, cut_at)
    rates = await read_rates(connection)
    line = _Line(connection, rule_key, count)
    going = 0
    while going < count and (page := await line.next_page()):
        going += len(await _going(connection, rule_key, page, rates))
    return CanaryCount(min(going, count), others, line.cut_at)


class _Line:
    """A rule's paused steps, the oldest first, as far as a canary of ``count`` looks."""

    def __init__(self, connection: Connection, rule_key: int, count: int) -> None:
        self._connection, self._rule_key = connection, rule_key
        self._size = max(count, _PAGE)
        self._until = count + _PASSED_OVER
        self._after: PausedAt | None = None
        self.looked_at = 0

    @property
    def cut_at(self) -> int | None:
        """How many were looked at if it goes no further, though there may be more."""
        return self.looked_at if self.looked_at >= self._until else None

    async def next_page(self) -> list[tuple[PausedAt, StepNames]]:
        """Return the next ones; none at the end."""
        size = min(self._size, self._until - self.looked_at)
        if not size:
            return []
        page = await paused_with_names(self._connection, self._rule_key, self._after, size)
        if page:
            self._after = page[-1][0]
        self.looked_at += len(page)
        self._size = min(2 * self._size, _LARGEST_PAGE)
        return page


async def _going(
    connection: Connection,
    rule_key: int,
    page: Sequence[tuple[PausedAt, StepNames]],
    rates: Mapping[int, float],
) -> list[PausedAt]:
    """Return those of some steps that a canary of a rule lets go, by the rules at hand."""

    def goes(step: StepNames) -> bool:
        matching = set(connection.pauses.matching(step))
        others = matching - {rule_key}
        return rule_key in matching and rule_key in judge_release(rule_key, others, rates).let_go_by

    found = await ask_of_each(connection, [names for _, names in page], goes)
    return [at for (at, _), is_going in zip(page, found, strict=True) if is_going]


async def let_canaries_go(
    tx: Tx, rule_key: int, line: CanaryLine, count: int, last_queue_no: int | None = None
) -> LetGo:
    """Let the ``count`` oldest steps of a canary go, in the runs that ``lock_canaries`` locked.

    With the ``last_queue_no`` that those were asked for. The caller holds the pause lock, shared.
    Raises PauseRulesChanged.
    """
    return await let_steps_go(
        tx,
        rule_key,
        line.run_keys,
        count,
        await read_rates(tx),
        looked_at=line.looked_at,
        last_queue_no=last_queue_no,
    )


async def read_rates(connection: Connection) -> dict[int, float]:
    """Return the rates of the releasing rules, by their keys."""
    return {key: one.rate for key, one in (await standing_releases(connection)).items()}
