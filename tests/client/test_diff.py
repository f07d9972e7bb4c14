"""The command that shows two runs side by side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from client.scripted import Run
from google.protobuf.duration_pb2 import Duration
from rig import Rig

from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_pb2 as states


def test_diff(run: Run) -> None:
    def side(status: states.StepStatus.ValueType, **fields: Any) -> admin.RunSide:
        return admin.RunSide(status=status, **fields)

    done, dead = states.STEP_STATUS_COMPLETED, states.STEP_STATUS_DEAD
    error = states.StepError(type="Declined", message="no")
    answer = admin.CompareRunsResponse(
        base=states.Run(run_id="x:run:0", run_number=0, status=states.RUN_STATUS_FAILED),
        compared=states.Run(run_id="x:run:1", run_number=1, status=states.RUN_STATUS_COMPLETED),
        steps=[
            admin.ComparedStep(
                step_name="a",
                base=side(done, attempts=1),
                compared=side(done),
                result_equal=True,
                preserved=True,
            ),
            admin.ComparedStep(
                step_name="b",
                base=side(dead, attempts=3, duration=Duration(seconds=2), error=error),
                compared=side(done, attempts=1),
            ),
            admin.ComparedStep(
                step_name="c", base=side(done), compared=side(done), result_equal=False
            ),
            admin.ComparedStep(step_name="d", compared=side(done)),
        ],
    )
    code, out, _, (request,) = run("diff x 0 1", ("CompareRuns", answer))
    assert code == 0
    assert (request.base_run_number, request.run_number) == (0, 1)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "payload another" in lines
    assert "a COMPLETED COMPLETED kept" in lines
    assert "b DEAD (3) COMPLETED 2 s → - Declined: no" in lines
    assert "c COMPLETED COMPLETED another" in lines
    assert "d no such step COMPLETED" in lines
    _, _, _, (request,) = run("diff x", ("CompareRuns", answer))
    assert not request.HasField("base_run_number")
    assert not request.HasField("run_number")


async def test_what_a_run_between_the_two_made_is_not_called_kept(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await rig.start("x", {"a": (), "b": (), "c": (), "d": ()})
    first = {task.step_name: task for task in await rig.lease()}
    await rig.fail(first.pop("b"))
    await rig.complete(*first.values(), result=1)
    await rig.client.rerun("x", force_rerun=["a", "c"])
    await rig.complete(*await rig.lease(), result=2)
    await rig.client.rerun("x", force_rerun=["c"])
    await rig.complete(*await rig.lease(), result=2)

    def rows(base: int) -> dict[str, list[str]]:
        assert main(["diff", "--address", zart_server.address, "x", str(base), "2"]) == 0
        found = [line.split() for line in capsys.readouterr().out.splitlines()]
        return {line[0]: line for line in found if line and line[0] in "abcd"}

    found = await asyncio.to_thread(rows, 0)
    assert found["a"][:4] == ["a", "COMPLETED", "COMPLETED", "another"]
    assert "→" in found["a"]
    assert found["b"][:3] == ["b", "DEAD", "COMPLETED"]
    assert "kept" not in found["b"]
    assert found["c"][3] == "another"
    assert found["d"] == ["d", "COMPLETED", "COMPLETED", "kept"]

    found = await asyncio.to_thread(rows, 1)
    assert [found[name][3:] for name in "abd"] == [["kept"]] * 3
