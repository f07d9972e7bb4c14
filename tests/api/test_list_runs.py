"""ListRuns tells each run as GetExecution does, payload and result included, page by page."""

from __future__ import annotations

from typing import Any

from rig import CHAIN, Rig

MEBIBYTE = "x" * ((1 << 20) - 1000)  # a little less: a run has other fields, too
WIDE = {"a": (), "b": (), "c": ()}


async def _told(rig: Rig, execution_id: str = "x") -> list[tuple[Any, Any]]:
    """Return the payload and the result of each run, as each is told by itself."""
    runs = [run async for run in rig.client.list_runs(execution_id)]
    states = [
        await rig.client.get_execution(execution_id, run_number=run.run_number) for run in runs
    ]
    assert [run.run_number for run in runs] == list(range(len(runs)))
    assert [(run.payload, run.result) for run in runs] == [
        (state.run.payload, state.run.result) for state in states
    ]
    return [(run.payload, run.result) for run in runs]


async def test_each_run_has_its_payload_and_its_result(rig: Rig) -> None:
    first = {"user": 1, "big": 123456789012345678901234567890}
    await rig.start("x", CHAIN, payload=first)
    await rig.work()
    await rig.client.rerun("x", force_rerun=["a"], preserve=["c"])
    await rig.work()
    await rig.client.restart("x", payload=[2])
    await rig.work(fail=["b"])
    await rig.client.restart("x")

    assert await _told(rig) == [(first, "c"), (first, "c"), ([2], None), ([2], None)]


async def test_no_payload_and_several_results(rig: Rig) -> None:
    await rig.start("x", WIDE)
    await rig.work()
    assert await _told(rig) == [(None, {"a": "a", "b": "b", "c": "c"})]


async def test_a_result_that_is_too_long_to_be_sent_is_left_out(rig: Rig) -> None:
    wide = {f"s-{number}": () for number in range(5)}
    for execution_id, results in (("long", 5), ("fits", 3)):
        await rig.start(execution_id, wide, payload=execution_id)
        for number, task in enumerate(await rig.lease()):
            await rig.complete(task, result=MEBIBYTE if number < results else 1)

    assert await _told(rig, "long") == [("long", None)]
    ((_, result),) = await _told(rig, "fits")
    assert sorted(result) == sorted(wide)
    assert sum(text == MEBIBYTE for text in result.values()) == 3


async def test_a_page_ends_early_at_eight_mebibytes(rig: Rig) -> None:
    """Each run has the first one's payload, of a mebibyte; every second one a result as long."""
    await rig.start("x", {"a": ()}, payload=MEBIBYTE)
    for number in range(1, 10):
        if number % 2:
            await rig.complete(*await rig.lease(), result=MEBIBYTE)
        await rig.client.restart("x")
    pages = [page async for page in rig.client.list_runs("x", page_size=1000).pages()]

    assert [[run.run_number for run in page.items] for page in pages] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
    ]
    runs = [run for page in pages for run in page.items]
    assert all(run.payload == MEBIBYTE for run in runs)
    assert [run.result for run in runs] == [MEBIBYTE if n % 2 == 0 else None for n in range(10)]
