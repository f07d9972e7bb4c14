"""Judges the plan that a caller applies, and makes the token of one that a caller asks for.

A plan is the deed itself, done under the same locks and rolled back. So an operation has one thing
to do for plans: to say, before it writes, what it has decided.
"""

from __future__ import annotations

from collections.abc import Collection

from zart_server.domain.errors import ZartError
from zart_server.domain.plans import Decisions, Planning
from zart_server.store.clock import read_clock
from zart_server.store.connection import Connection


async def judge_plan(connection: Connection, planning: Planning, decisions: Decisions) -> str:
    """Compare decisions with the plan that a request applies; return the token of one it asks for.

    Called under the locks that guard what was decided, before anything is written. The token is
    empty for a deed. Raises PlanChanged.
    """
    now = await read_clock(connection)
    planning.check(decisions, now)
    return planning.token_of(decisions, now)


async def moved(
    connection: Connection,
    planning: Planning,
    bound: Collection[str],
    changed: str,
    error: ZartError,
) -> ZartError:
    """Return an error of how things stand, or PlanChanged in its place where a plan is applied.

    Its plan was not refused, so ``changed`` was otherwise then: whoever applies a plan learns that,
    and not what is found in place of what was planned. ``bound`` has the names of the decisions.
    """
    if planning.token is None:
        return error
    return planning.moved(bound, changed, await read_clock(connection)) or error
