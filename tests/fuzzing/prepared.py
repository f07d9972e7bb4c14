"""What has to be there for good requests: a rule that lets steps go slowly, attempts in doubt."""

from __future__ import annotations

import zart

SLOW = "released slowly"
DOUBTED = "doubted"
MANY_DOUBTS = 100


async def releasing(client: zart.Client) -> str:
    """Make a rule that lets its steps go for minutes, and return its id."""
    rule_id = (await client.pause(task_name=SLOW)).rule_id
    await client.register_task(SLOW, [zart.StepSpec("a")])
    names = [f"slow-{n}" for n in range(10)]
    await client.batch_start_executions([zart.Start(SLOW, {}, name) for name in names])
    await client.resume(rule_id=rule_id, rate_per_second=0.01)
    return rule_id


async def put_in_doubt(client: zart.Client) -> None:
    """Put attempts of executions in doubt."""
    await client.register_task(DOUBTED, [zart.StepSpec("a", if_in_doubt=zart.IfInDoubt.STOP)])
    names = [f"{DOUBTED}-{n}" for n in range(MANY_DOUBTS)]
    await client.batch_start_executions([zart.Start(DOUBTED, {}, name) for name in names])
    tasks = await client.lease_tasks("fuzzer", [DOUBTED], max_tasks=MANY_DOUBTS)
    outcomes = [zart.Outcome(t.task_id, t.lease_token, zart.Lost()) for t in tasks]
    await client.report_tasks("fuzzer", outcomes)
