"""Pieces of batches of which PostgreSQL hears nothing for too long, so that it ends them."""

from __future__ import annotations

from batching import load_runs
from outliving import outlived
from rig import Rig, specs

from zart.testing.server import ServerUnderTest
from zart_server.domain.commands import Caller, Rerun, Rerunned
from zart_server.domain.errors import RunActive, ZartError
from zart_server.domain.model import IfRunning
from zart_server.engine.operations.rerun import rerun
from zart_server.store.connection import Tx

EACH = 300  # executions whose reruns are planned in one transaction
STEPS = 10_000


async def test_plans_of_many_large_reruns_are_heard_of(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    names = [f"step-{n}" for n in range(STEPS)]
    chain = dict(zip(names, [(), *[(name,) for name in names]], strict=False))
    await load_runs(rig, EACH, "running")
    await rig.client.register_task("large", specs(chain))
    await rig.db.execute(
        "UPDATE zart.runs SET definition_key = (SELECT max(definition_key) FROM zart.definitions)"
    )
    wanted = [
        Rerun(f"x-{n}", (names[0],), (), include_downstream=True, if_running=IfRunning.FAIL,
              expected_run_number=0)
        for n in range(EACH)
    ]  # fmt: skip

    async def plan(tx: Tx) -> list[Rerunned | ZartError | None]:
        return await rerun(tx, [(one, Caller()) for one in wanted], wait=True)

    found = await outlived(zart_server.database_url, plan)
    assert [type(one) for one in found] == [RunActive] * EACH
