"""Executions of which a step may have had its effect, though nobody reported it in time."""

from __future__ import annotations

from typing import Any

from rig import Rig

import zart

ONE = {"a": ()}
STOP = {"if_in_doubt": zart.IfInDoubt.STOP}


async def in_doubt(
    rig: Rig, execution_id: str = "x", *, task: str = "t", late: Any = None, graph: Any = None
) -> None:
    """Start an execution of which a step is in doubt at once."""
    await rig.start(execution_id, graph or ONE, task=task, **STOP)
    leased = await rig.lease_one("a", execution_id, task=task)
    for ending in (zart.Lost(), late):
        if ending is not None:
            await rig.report(zart.Outcome(leased.task_id, leased.lease_token, ending))
