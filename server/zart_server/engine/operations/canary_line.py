"""Finds the steps that a canary lets go: a rule's oldest ones that no other rule withholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from zart_server.domain.pacing import judge_release
from zart_server.domain.rule_set import StepNames
from zart_server.engine.operations.counts import count_leaving
from zart_server.engine.operations.let_go import LetGo, let_steps_go
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.judging import refresh_rules
from zart_server.store.pausing.paused import PausedAt, paused_with_names
from zart_server.store.pausing.releases import is_settled, standing_releases
from zart_server.store.runs import lock_runs

_PAGE = 100  # steps, at least
_ROUNDS = 20  # of runs that others have locked


class CanaryLine(NamedTuple):
    """The locked runs of a canary's steps. ``looked_at``: how far in the rule's line they reach.

    ``is_any``: there was such a step, though maybe of a run that others have locked.
    """

    run_keys: list[int]
    looked_at: int
    is_any: bool


async def lock_canaries(
    tx: Tx, rule_key: int, count: int, rates: Mapping[int, float]
) -> CanaryLine:
    """Lock the runs of the oldest ``count`` steps that a canary of a rule lets go.

    What other rules withhold that are not releasing, as ``rates`` says, is passed over; so are runs
    that others have locked. The caller holds no lock that comes after runs, and judges again once
    it holds the pause lock.
    """
    await refresh_rules(tx)
    locked: set[int] = set()
    tried: set[int] = set()
    after: PausedAt | None = None
    found = looked_at = rounds = 0
    is_any = False
    while found < count and rounds < _ROUNDS:
        page = await paused_with_names(tx, rule_key, after, max(count - found, _PAGE))
        if not page:
            break
        after = page[-1][0]
        looked_at += len(page)
        going = [at.run_key for at, names in page if _goes(tx, rule_key, names, rates)]
        is_any = is_any or bool(going)
        while going and found < count and rounds < _ROUNDS:
            wanted, going = going[: count - found], going[count - found :]
            runs = set(wanted) - tried
            tried |= runs
            # The run row is the mutex of its steps: a Restart must not miss one that is moved.
            got = await lock_runs(tx, runs, wait=False) if runs else {}
            locked.update(got)
            found += sum(run_key in locked for run_key in wanted)
            rounds += len(got) < len(runs)
    return CanaryLine(sorted(locked), looked_at, is_any)


async def count_canaries(connection: Connection, rule_key: int, count: int) -> tuple[int, int]:
    """Count the steps that a canary of ``count`` lets go; and those that other rules hold, too.

    Of a rule that is settling only those that no other rule withholds. Locks nothing.
    """
    free, others = await count_leaving(connection, [rule_key])
    if not await is_settled(connection, rule_key):
        return min(free, count), others
    rates = await read_rates(connection)
    after: PausedAt | None = None
    going = 0
    while going < count:
        page = await paused_with_names(connection, rule_key, after, max(count, _PAGE))
        if not page:
            break
        after = page[-1][0]
        going += sum(_goes(connection, rule_key, names, rates) for _, names in page)
    return min(going, count), others


def _goes(
    connection: Connection, rule_key: int, names: StepNames, rates: Mapping[int, float]
) -> bool:
    """Return whether a canary of a rule lets a step go, by the rules at hand."""
    matching = set(connection.pauses.matching(names))
    others = matching - {rule_key}
    return rule_key in matching and rule_key in judge_release(rule_key, others, rates).let_go_by


async def let_canaries_go(tx: Tx, rule_key: int, line: CanaryLine, count: int) -> LetGo:
    """Let the ``count`` oldest steps of a canary go, in the runs that ``lock_canaries`` locked.

    The caller holds the pause lock, shared. Raises PauseRulesChanged.
    """
    return await let_steps_go(
        tx, rule_key, line.run_keys, count, await read_rates(tx), looked_at=line.looked_at
    )


async def read_rates(connection: Connection) -> dict[int, float]:
    """Return the rates of the releasing rules, by their keys."""
    return {key: one.rate for key, one in (await standing_releases(connection)).items()}
