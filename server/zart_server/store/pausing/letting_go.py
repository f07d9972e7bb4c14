"""Lets go paused steps of a rule that goes on matching them: one attempt of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.pacing import Release
from zart_server.domain.rule_set import Judgement
from zart_server.store.arrays import numbers
from zart_server.store.connection import Connection, Tx
from zart_server.store.pace import CREDIT
from zart_server.store.pausing.paused import PausedStep, release
from zart_server.store.statement import Statement

# The credit is that of this moment, less what is spent.
_LET_GO = Statement(
    f"""
    WITH let_go AS (
        INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)
        SELECT u.*, t.token
        FROM unnest(:rule_keys::text::bigint[], :run_keys::text::bigint[],
            :step_nos::text::integer[], :attempts::text::integer[]) u
        CROSS JOIN (SELECT zart.last_token() AS token OFFSET 0) t
        ON CONFLICT (rule_key, run_key, step_no, attempt) DO UPDATE
        SET token_from = excluded.token_from, token_until = NULL, released_at = excluded.released_at
    )
    UPDATE zart.pause_releases
    SET credit = {CREDIT} - :spent::integer,
        credit_at = statement_timestamp(), released_steps = released_steps + :spent::integer
    WHERE rule_key = :rule_key AND ended_at IS NULL
    """,
    locks=("pause_releases",),
)


async def let_go(
    tx: Tx,
    rule_key: int,
    steps: Sequence[PausedStep],
    releases: Sequence[Release],
    judged: Judgement,
) -> int | None:
    """Do with paused steps what was judged of each; return how many the rule itself let go.

    Return None, having done nothing, if the rules have changed since the steps were ``judged``.
    Spends the rule's credit if it is releasing. The caller has locked the runs and holds the pause
    lock, shared.
    """
    judgement = Judgement([one.withheld_by for one in releases], judged.epoch)
    if await release(tx, steps, judgement) is None:
        return None
    let_go = [step for step, one in zip(steps, releases, strict=True) for _ in one.let_go_by]
    spent = sum(rule_key in one.let_go_by for one in releases)
    values = _LET_GO.arguments(
        rule_key=rule_key,
        rule_keys=numbers(by for one in releases for by in one.let_go_by),
        run_keys=numbers(step.run_key for step in let_go),
        step_nos=numbers(step.step_no for step in let_go),
        attempts=numbers(step.attempt for step in let_go),
        spent=spent,
    )
    await tx.execute(_LET_GO.text, *values)
    return spent


class PromisedCanary(NamedTuple):
    """So many steps of a rule are to be released once it is settled.

    Of those that were ready when it was promised, none of which has a greater ``last_queue_no``.
    """

    rule_key: int
    steps: int
    last_queue_no: int


async def promise_canary(
    tx: Tx, rule_key: int, steps: int, last_queue_no: int | None = None
) -> None:
    """Have so many steps more released once the rule is settled, of those that are ready by now.

    The caller holds the pause lock, shared, and has seen the rule settling; or it has taken them,
    and they could not go: of those that were ready up to this ``last_queue_no``.
    """
    await tx.execute(
        "INSERT INTO zart.pause_canaries AS c (rule_key, steps, last_queue_no)"
        " VALUES ($1, $2, COALESCE($3::bigint, zart.last_queue_no()))"
        " ON CONFLICT (rule_key) DO UPDATE SET steps = c.steps + excluded.steps,"
        " last_queue_no = GREATEST(c.last_queue_no, excluded.last_queue_no)",
        rule_key,
        steps,
        last_queue_no,
    )


async def promised_canaries(connection: Connection) -> list[PromisedCanary]:
    """Return what is promised of rules that are settled."""
    rows = await connection.fetch(
        "SELECT rule_key, steps, last_queue_no FROM zart.pause_canaries c WHERE NOT EXISTS ("
        "SELECT FROM zart.pause_work w WHERE w.rule_key = c.rule_key AND work = 'settle' OFFSET 0)"
        " ORDER BY rule_key"
    )
    return [PromisedCanary(*row) for row in rows]


async def promised_steps(connection: Connection, rule_key: int) -> int:
    """Return how many steps of a rule are to be released once it is settled."""
    steps: int | None = await connection.fetchval(
        "SELECT steps FROM zart.pause_canaries WHERE rule_key = $1", rule_key
    )
    return steps or 0


async def take_canary(tx: Tx, canary: PromisedCanary) -> int:
    """Return how many steps are to be released, and forget it: the caller does it now.

    Return 0 if more has been promised since, of steps that became ready since.
    """
    steps: int | None = await tx.fetchval(
        "DELETE FROM zart.pause_canaries WHERE rule_key = $1 AND last_queue_no = $2"
        " RETURNING steps",
        canary.rule_key,
        canary.last_queue_no,
    )
    return steps or 0
