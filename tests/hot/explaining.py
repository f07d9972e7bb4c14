"""Why steps are not completed: of those that are dead, queued, held, or wait for others."""

from __future__ import annotations

from hot.explained import Explained
from hot.scenario import scenario
from hot.states import MANY, OTHERS
from zart_server.store.reads.known_steps import read_known_steps

_RULE = """
    INSERT INTO zart.pause_rules (rule_key, rule_id, task_name, everything, reason, created_by)
    OVERRIDING SYSTEM VALUE VALUES (1, 'pr-line', 'many', false, '', '')
"""
_RELEASING = """
    INSERT INTO zart.pause_releases (rule_key, rate_per_second, credit, credit_at, started_by,
        principal, reason, incident) VALUES (1, 1, 0, now(), '', '', '', '')
"""
_EPOCH = "UPDATE zart.pause_epoch SET epoch = epoch + 1"


@scenario()
async def explaining(tx: Explained) -> None:
    await tx.sql.execute(_RULE)
    await tx.sql.execute(_EPOCH)
    for number in (1, 5, MANY + 1, MANY + 2):  # finished, dead, paused, queued
        for step_name in ("", "a", "b"):
            steps = (await read_known_steps(tx.tx, f"x-{number}", step_name, None)).explained()
            assert len(steps) <= 2


# Whatever is in flight is looked at, where nobody has asked for the task lately.
@scenario(OTHERS, whole="leases")
async def explaining_what_nobody_asks_for(tx: Explained) -> None:
    await tx.sql.execute(
        "UPDATE zart.task_names SET last_asked_at = now() - interval '1 h' WHERE task_name = 'many'"
    )
    await tx.sql.execute("UPDATE zart.leases SET lease_expires_at = now() + interval '1 h'")
    known = await read_known_steps(tx.tx, f"x-{MANY + 2}", "a", None)
    assert known.run.at_work == OTHERS


@scenario(2_000)  # whole lines are counted, of 10,000 each
async def explaining_behind_many(tx: Explained) -> None:
    for statement in (_RULE, _RELEASING, _EPOCH):
        await tx.sql.execute(statement)
    for number in (MANY + 19_997, MANY + 19_998):
        for step_name in ("", "a", "b"):
            steps = (await read_known_steps(tx.tx, f"x-{number}", step_name, None)).explained()
            assert len(steps) == (2 - bool(step_name))
