"""Inputs that are long together: an execution can be read, watched and exported all the same."""

from __future__ import annotations

import json

from rig import Rig, specs

LARGE = "y" * 1_000_000
NAMES = tuple(f"s{n}" for n in range(13))
GRAPH = {**dict.fromkeys(NAMES, ()), "end": NAMES}


async def test_an_execution_with_long_inputs_and_results_can_be_read(rig: Rig) -> None:
    handle = await rig.client.start("t", execution_id="x", steps=specs(GRAPH, input=LARGE))
    while tasks := await rig.lease():
        for task in tasks:
            assert task.input == LARGE
            await rig.complete(task, result=LARGE if task.step_name in NAMES else "done")

    assert await handle.result() == "done"
    steps = (await rig.client.get_execution("x")).steps
    assert [step.input for step in steps] == [LARGE] * 4 + [None] * 10
    assert [step.input_omitted for step in steps] == [False] * 4 + [True] * 10
    assert [step.result_omitted for step in steps] == [False] * 4 + [True] * 10
    last = await rig.client.get_step("x", "end")
    assert (last.input, last.input_omitted) == (LARGE, False)
    line = json.loads(await rig.client.export_execution("x"))
    exported = line["runs"][0]["steps"]
    assert [json.loads(step["inputJson"]) for step in exported] == [LARGE] * 14
    assert not any(step["inputOmitted"] for step in exported)


async def test_corrected_inputs_count_with_those_of_the_definition(rig: Rig) -> None:
    graph: dict[str, tuple[str, ...]] = dict.fromkeys(NAMES[:6], ())
    await rig.start("x", {**graph, "none": ()})
    steps = specs(graph, input="y" * 700_000)
    await rig.client.start("t", execution_id="y", steps=[*steps, *specs({"none": ()})])
    await rig.client.rerun("y", force_rerun=["s1"], inputs={"s1": "z" * 700_000})

    of_none = (await rig.client.get_execution("x")).steps
    assert not any(step.input_omitted for step in of_none)
    told = (await rig.client.get_execution("y")).steps
    assert [step.input_omitted for step in told] == [False] * 5 + [True, False]
    assert [step.input is None for step in told] == [False] * 5 + [True, True]
    assert (await rig.client.get_step("y", "s5")).input == "y" * 700_000
