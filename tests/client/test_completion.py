"""A shell completes commands, and the names and ids that a server knows."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

import pytest
from rig import CHAIN, Rig, eventually

import zart
from zart.testing.server import ServerUnderTest


async def completed(address: str, line: str) -> list[str]:
    """Return what bash would show when Tab is pressed at the end of a line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zart.cli", stdout=PIPE, stderr=PIPE,
        env={
            **os.environ,
            "ZART_ADDRESS": address,
            "_ZART_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
    )  # fmt: skip
    out, err = await process.communicate()
    assert err == b""
    return out.decode().split()


async def shown_at_last(address: str, line: str) -> list[str]:
    """Return what bash shows once it shows something, to a person who presses Tab until it does.

    Nothing is shown where a server does not answer soon, as on a busy machine; never a part of it.
    """
    found: list[str] = []

    async def is_shown() -> bool:
        found.extend(await completed(address, line))
        return bool(found)

    await eventually(is_shown)
    return found


@pytest.fixture
async def known(rig: Rig) -> dict[str, str]:
    """Make one of everything."""
    await rig.client.register_task("order", [zart.StepSpec("a")])
    await rig.start("order-7", CHAIN)
    rule = await rig.client.pause(task_name="order")
    made = await rig.client.create_breaker(task_name="t", failure_threshold=1, window=60)
    batch = await rig.client.create_batch(zart.CancelExecution(), execution_ids=["order-7"])
    return {"RULE": rule.rule_id, "BREAKER": made.breaker_id, "BATCH": batch.batch_id}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("zart stop-", ["stop-release"]),
        ("zart start or", ["order"]),
        ("zart pause --task-name o", ["order"]),
        ("zart why order-", ["order-7"]),
        ("zart resume --rule-id p", ["RULE"]),
        ("zart verify ", ["RULE"]),
        ("zart exempt pr-x or", ["order-7"]),
        ("zart pause-update p", ["RULE"]),
        ("zart batch restart --execution-id or", ["order-7"]),
        ("zart breaker trip ", ["BREAKER"]),
        ("zart batch show b", ["BATCH"]),
        ("zart list --of-batch b", ["BATCH"]),
    ],
)
async def test_it_completes_what_there_is(
    zart_server: ServerUnderTest, known: dict[str, str], line: str, shown: list[str]
) -> None:
    found = await shown_at_last(zart_server.address, line)
    assert found == [known.get(name, name) for name in shown]


@pytest.mark.usefixtures("known")
async def test_of_what_there_is_not_nothing_is_shown(zart_server: ServerUnderTest) -> None:
    assert await completed(zart_server.address, "zart why x") == []


HOSTILE = ("order-$(id)", "order-`id`", "order-8;id", "order-8|id", "order 8", "order'8", "orderé")


async def test_what_a_shell_would_not_take_as_it_is_is_not_offered(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    harmless = ["order-8", "order/8:a.b@c+d=e,f_g"]
    for name in (*HOSTILE, *harmless):
        await rig.start(name, CHAIN)
    assert sorted(await shown_at_last(zart_server.address, "zart why order")) == harmless


async def test_where_no_server_answers_nothing_is_shown() -> None:
    assert await completed("127.0.0.1:1", "zart verify ") == []
