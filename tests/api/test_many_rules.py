"""What is told of many pause rules at once fits into its answer, whatever they exempt and say."""

from __future__ import annotations

from typing import Any

from rig import Rig

RULES, EXEMPT = 400, 170
REASON = "r" * 1000
_RULES = f"""
    INSERT INTO zart.pause_rules (rule_id, task_name, everything, created_by, reason)
    SELECT 'pr-' || lpad(n::text, 8, '0'), 'nobody', false, '', '{REASON}'
    FROM generate_series(1, {RULES}) n;
    UPDATE zart.pause_epoch SET epoch = epoch + 1
"""
_EXEMPTIONS = f"""
    INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)
    SELECT rule_key, rpad('x-' || n, 250, '-'), 0
    FROM zart.pause_rules, generate_series(1, {EXEMPT}) n;
    UPDATE zart.pause_epoch SET epoch = epoch + 1
"""


async def test_rules_that_exempt_many_are_resumed_by_scope(rig: Rig) -> None:
    await rig.db.execute(_RULES)
    await rig.db.execute(_EXEMPTIONS)
    one = await rig.client.resume(rule_id="pr-00000001")
    assert len(one.rules[0].exempt_execution_ids) == EXEMPT

    plan = await rig.client.resume(task_name="nobody", validate_only=True)
    asked: dict[str, Any] = {
        "task_name": "nobody",
        "plan_token": plan.plan_token,
        "request_id": "r",
    }
    done = await rig.client.resume(**asked)
    again = await rig.client.resume(**asked)
    assert (plan.planned, done.replayed, again.replayed) == (True, False, True)
    ids = [f"pr-{n:08}" for n in range(2, RULES + 1)]
    for answer in (plan, done, again):
        assert answer.rules_deleted == len(ids)
        found = [rule.rule_id for rule in answer.rules]
        assert found == ids[: len(found)]
        assert 300 < len(found) < len(ids)
        assert {len(rule.exempt_execution_ids) for rule in answer.rules} == {100}
    assert await rig.client.list_pause_rules() == []


async def test_of_many_equal_rules_the_first_are_told(rig: Rig) -> None:
    await rig.db.execute(_RULES)
    plan = await rig.client.pause(task_name="nobody", validate_only=True)
    paused = await rig.client.pause(task_name="nobody", plan_token=plan.plan_token)
    for answer in (plan, paused):
        equal = [told.rule_id for told in answer.warnings if told.kind == "EQUAL_RULE"]
        assert equal == [f"pr-{n:08}" for n in range(1, 101)]
        assert [told.kind for told in answer.warnings[100:]] == ["MATCHES_NOTHING"]
