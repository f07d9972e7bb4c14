"""What rules match costs what is of their tasks, however many rules and other tasks there are."""

from __future__ import annotations

import random
from typing import Any

from hot.explained import explained
from lanes import queue

from zart_server.domain.model import PauseScope
from zart_server.store.claims import Claim, claim_past_settling
from zart_server.store.db import Database
from zart_server.store.due import Begin, due_lanes
from zart_server.store.pausing.counting import Withheld, undrained_rules, withheld_steps
from zart_server.store.pausing.matching import LANE_MAY_MATCH, any_matches_lane
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK
from zart_server.store.reads.blast_radius import count_matched_now

MANY = 300
OTHER_LANES = f"""
    INSERT INTO zart.lanes (task_name, handler, step_name)
    SELECT 't-' || n, 'h', 's' FROM generate_series(1, {MANY}) n
"""
ONE_LEASED_OF_EACH = """
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, lease_token, started_at,
        lease_expires_at, lease_seconds, step_name, dispatcher_id, principal)
    SELECT -lane, 0, lane, 1, 0, 0, 3, 600, lane, now(), now(), lane, now(),
        now() + interval '1 second', 30, step_name, 'd', ''
    FROM zart.lanes
"""
ALL_SETTLE = """
    INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'settle' FROM zart.pause_rules
"""
PATTERNS = ["s", "^s1", "2$", "x", "^s[12]$"]
# As a lane is compared with each rule.
PLAIN = f"EXISTS (SELECT FROM settling r WHERE {{which}} AND {LANE_MAY_MATCH}"
IS_KNOWN = "(r.step_regex IS NULL OR l.step_name IS NOT NULL)"
COMPARED = f"""
    WITH settling AS MATERIALIZED (
        SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[])
            r(task_name, step_regex, is_whole)
    )
    SELECT l.*, {any_matches_lane("settling", "true", unknown="true")} AS may,
        {PLAIN.format(which="true")}) AS may_plain,
        {any_matches_lane("settling", "is_whole", unknown="false")} AS does,
        {PLAIN.format(which="is_whole")} AND {IS_KNOWN}) AS does_plain
    FROM unnest($4::text[], $5::text[]) l(task_name, step_name)
"""


async def add_rules(sql: Any, tasks: list[str], step: str | None = None) -> list[int]:
    """Add a rule of each of these tasks, ``step`` as pattern and regex; return their keys."""
    rows = await sql.fetch(
        """
        INSERT INTO zart.pause_rules (rule_id, task_name, step_pattern, step_regex, everything,
            reason, created_by, epoch)
        SELECT 'pr-' || gen_random_uuid(), task, $2::text, '^' || $2 || '$', false, '', '', 1
        FROM unnest($1::text[]) task
        RETURNING rule_key
        """,
        tasks,
        step,
    )
    return [row[0] for row in rows]


async def test_what_a_rule_of_a_task_withholds_is_looked_for_in_its_lanes(store: Database) -> None:
    await queue(store, lanes=3, tasks=2)
    async with explained(store) as tx:
        await tx.sql.execute(OTHER_LANES)
        some, none = await add_rules(tx.sql, ["t", "t-1"])
        await tx.sql.execute(ALL_SETTLE)
        withheld = await withheld_steps(tx.tx, [some, none])
        now = await count_matched_now(tx.tx, PauseScope(None, "t", "s[12]"), "^s[12]$", 100)

        assert withheld == {some: Withheld(6, False), none: Withheld(0, False)}
        assert now.ready == 4
        assert [plan.looked_at("lanes") < 40 for plan in tx.plans] == [True, True]


async def test_what_a_rule_without_a_task_withholds_is_looked_for_in_all_lanes(
    store: Database,
) -> None:
    await queue(store, lanes=3, tasks=2)
    async with store.transaction() as tx:
        now = await count_matched_now(tx, PauseScope(None, None, "s1"), "^s1$", 100)
        assert now.ready == 2


async def test_what_is_in_flight_of_a_rule_is_looked_up_by_its_task(store: Database) -> None:
    async with explained(store) as tx:
        await tx.sql.execute(OTHER_LANES)
        await tx.sql.execute(ONE_LEASED_OF_EACH)
        await add_rules(tx.sql, [f"t-{n}" for n in range(1, MANY + 1)])
        await add_rules(tx.sql, ["none"])
        await add_rules(tx.sql, ["t-1"], "x")
        await add_rules(tx.sql, ["t-1"], "s")
        until = await tx.sql.fetchval("SELECT max(lease_expires_at) FROM zart.leases")
        seen = await undrained_rules(tx.tx)
        rows, busiest = tx.plans[0].most_at_a_node

        assert [rule.running for rule in seen] == [1] * MANY + [0, 0, 1]
        assert [rule.silent for rule in seen] == [1] * MANY + [0, 0, 1]
        assert {rule.silent_until for rule in seen if rule.running} == {until}
        assert rows < 4 * MANY, busiest


async def test_a_lane_is_matched_as_if_it_were_compared_with_each_rule(store: Database) -> None:
    chance = random.Random(5)
    lanes = [(task, step) for task in "tuv" for step in (None, "s", "s1", "s2", "y")]
    said = set()
    for _ in range(200):
        settling = [
            (
                chance.choice([None, "t", "u"]),
                chance.choice([None, *PATTERNS]),
                chance.random() < 0.5,
            )
            for _ in range(chance.choice([0, 1, 1, 2, 3]))
        ]
        columns = [list(column) for column in zip(*settling, strict=True)] or [[], [], []]
        async with store.transaction() as tx:
            rows = await tx.fetch(COMPARED, *columns, *map(list, zip(*lanes, strict=True)))
        for row in rows:
            assert (row["may"], row["does"]) == (row["may_plain"], row["does_plain"]), settling
            said.add((row["may"], row["does"]))
    assert said == {(True, True), (True, False), (False, False)}


async def test_no_lane_is_compared_with_settling_rules_of_other_tasks(store: Database) -> None:
    await queue(store, lanes=MANY, tasks=1)
    others = [f"other-{n}" for n in range(MANY)]
    async with explained(store, first=SHARE_PAUSE_LOCK) as tx:
        await add_rules(tx.sql, others)
        await add_rules(tx.sql, others, "s1*")
        await add_rules(tx.sql, ["t"], "s[0-9]")
        await tx.sql.execute(ALL_SETTLE)
        due = await due_lanes(tx.tx, ["t"], Begin())
        claimed, _ = await claim_past_settling(tx.tx, Claim(["t"], None, 20, "d", "", 30), Begin())

        assert (len(due.lanes), len(claimed)) == (MANY - 10, 20)
        for plan in tx.plans:
            rows, busiest = plan.most_at_a_node
            assert rows < 10 * MANY, busiest
