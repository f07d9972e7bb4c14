"""What a rule matches: the database's answer is that of the specification in Python."""

from __future__ import annotations

import random

from rig import Rig
from specification import equals_scope, rule_matches

from zart_server.domain.model import PauseScope

IDS = ["order_1", "orderX1", "order%", "x:run:0"]
TASKS = ["t", "t*", "T"]
STEPS = ["send-mail", "send-sms", "sendXmail", "charge", "a,b", "[x]"]
PATTERNS = ["send-*", "send?mail", "{charge,send-sms}", "[a-c]*", "*", "\\[x\\]", "a,b", "[!s]*"]


def scopes(chance: random.Random, count: int) -> list[PauseScope]:
    """Draw scopes, each field set as often as not, never all unset."""
    found: list[PauseScope] = []
    while len(found) < count:
        scope = PauseScope(
            chance.choice([None, *IDS]), chance.choice([None, *TASKS]),
            chance.choice([None, *PATTERNS]),
        )  # fmt: skip
        if not scope.is_empty:
            found.append(scope)
    return found


_RULED_BY = """
    SELECT (SELECT rule_id FROM zart.pause_rules
            WHERE rule_key = zart.{}_rule(i, t, s, 7, 0, $4))
    FROM unnest($1::text[], $2::text[], $3::text[]) u(i, t, s)
"""
Triple = tuple[str, str, str]


async def ruled_by(
    rig: Rig, kind: str, triples: list[Triple], attempt: int | None
) -> dict[Triple, str | None]:
    """Return the rule that the database has pause each step."""
    columns = [list(column) for column in zip(*triples, strict=True)]
    rows = await rig.db.fetch(_RULED_BY.format(kind), *columns, attempt)
    return {triple: row[0] for triple, row in zip(triples, rows, strict=True)}


async def ruled_by_settling(
    rig: Rig, settling: set[str], triples: list[Triple], attempt: int | None
) -> dict[Triple, str | None]:
    """Return the same where just these rules are settling, and undo that."""
    undone = rig.db.transaction()
    await undone.start()
    try:
        await rig.db.execute("DELETE FROM zart.pause_work")
        await rig.db.execute(
            "INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'settle'"
            " FROM zart.pause_rules WHERE rule_id = ANY($1::text[])",
            list(settling),
        )
        return await ruled_by(rig, "settling", triples, attempt)
    finally:
        await undone.rollback()


async def make_exempt(rig: Rig, exempt: dict[str, list[str]], let_go: set[str]) -> None:
    """Have rules exempt executions and let an attempt go, and none besides."""
    key = "(SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1)"
    await rig.db.execute("DELETE FROM zart.pause_exemptions; DELETE FROM zart.released_steps")
    await rig.db.executemany(
        f"INSERT INTO zart.pause_exemptions SELECT {key}, id, 0, $3 FROM unnest($2::text[]) id",
        [(rule_id, ids, None) for rule_id, ids in exempt.items()]
        + [(rule_id, ["ended"], 5) for rule_id in exempt],
    )
    await rig.db.executemany(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from,"
        f" token_until) SELECT {key}, 7, 0, 1, 0, $2::bigint",
        [(rule_id, None if rule_id in let_go else 5) for rule_id in exempt],
    )


async def test_rules_match_in_the_database_as_specified(rig: Rig) -> None:
    chance = random.Random(7)
    rules: list[tuple[str, PauseScope]] = []
    triples = [(i, t, s) for i in IDS for t in TASKS for s in STEPS]
    for number, scope in enumerate(scopes(chance, 60)):
        paused = await rig.client.pause(
            execution_id=scope.execution_id, task_name=scope.task_name,
            step_pattern=scope.step_pattern,
        )  # fmt: skip
        rules.append((paused.rule.rule_id, scope))
        if number % 5:
            continue
        exempt = {rule_id: chance.sample(IDS, chance.randint(0, 2)) for rule_id, _ in rules}
        let_go = set(chance.sample([rule_id for rule_id, _ in rules], len(rules) // 4))
        await make_exempt(rig, exempt, let_go)
        settling = set(chance.sample([rule_id for rule_id, _ in rules], len(rules) // 2))
        for attempt in (1, None):
            by_all = await ruled_by(rig, "pausing", triples, attempt)
            by_settling = await ruled_by_settling(rig, settling, triples, attempt)
            for triple in triples:
                expected = [
                    rule_id
                    for rule_id, scope_ in rules
                    if rule_matches(scope_, *triple, exempt[rule_id])
                    and (attempt is None or rule_id not in let_go)
                ]
                assert by_all[triple] == next(iter(expected), None), triple
                of_these = [rule_id for rule_id in expected if rule_id in settling]
                assert by_settling[triple] == next(iter(of_these), None), triple
        # Resume by a scope: just the rules whose own fields equal all that it names.
        asked = next(s for s in scopes(chance, 50) if any(equals_scope(r, s) for _, r in rules))
        resumed = await rig.client.resume(
            execution_id=asked.execution_id, task_name=asked.task_name,
            step_pattern=asked.step_pattern,
        )  # fmt: skip
        gone = {r for r, scope_ in rules if equals_scope(scope_, asked)}
        assert {r.rule_id for r in resumed.rules} == gone
        rules = [(r, scope_) for r, scope_ in rules if r not in gone]


async def test_a_started_step_is_held_by_the_oldest_rule_that_matches(rig: Rig) -> None:
    chance = random.Random(11)
    rules = []
    for scope in scopes(chance, 12):
        paused = await rig.client.pause(
            execution_id=scope.execution_id, task_name=scope.task_name,
            step_pattern=scope.step_pattern,
        )  # fmt: skip
        rules.append((paused.rule.rule_id, scope))
    for execution_id in IDS:
        task = chance.choice(TASKS)
        await rig.start(execution_id, dict.fromkeys(STEPS, ()), task=task)
        state = await rig.client.get_execution(execution_id)
        for step in state.steps:
            names = execution_id, task, step.step_name
            expected = next((r for r, scope in rules if rule_matches(scope, *names)), "")
            assert step.paused_by == expected, step.step_name
            assert (step.status == "PAUSED") == bool(expected)
