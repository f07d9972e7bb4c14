"""What tools and type checkers see of the client: real signatures, and the types of a task.

The types are judged by `make types`: what must not pass is marked, and an unused mark is an error.
"""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Coroutine
from typing import Any, TypedDict, assert_type
from unittest import mock

import pytest
from rig import Rig

import zart


class Order(TypedDict):
    """A payload."""

    user: int


order = zart.Task[Order, str]("order")


@order.step()
async def lookup(ctx: zart.StepContext[Order]) -> dict[str, int]:
    assert_type(ctx.payload, Order)
    return {"id": ctx.payload["user"]}


@order.step(depends_on=[lookup])
def charge(ctx: zart.StepContext[Order]) -> str:
    assert_type(ctx.result_of(lookup), dict[str, int])
    return f"charged {ctx.result_of(lookup)['id']}"


@order.step(depends_on=[charge])
def untyped(ctx: zart.StepContext) -> str:
    assert_type(ctx.payload, Any)
    return ctx.result_of(charge)


plain = zart.Task("plain")


@plain.step()
async def anything(ctx: zart.StepContext) -> object:
    assert_type(ctx.payload, Any)
    return ctx.payload["whatever"]


async def test_payload_and_result_have_the_types_of_the_task(rig: Rig) -> None:
    await rig.client.register_task("order", order.specs)
    handle = await rig.client.start(order, Order(user=7), execution_id="x")
    assert_type(handle, zart.Handle[str])
    assert_type(handle.result(), Coroutine[Any, Any, str]).close()
    assert_type(rig.client.handle("x", order), zart.Handle[str])
    assert_type(rig.client.handle("x"), zart.Handle[Any])
    assert_type(await zart.testing.run(order, Order(user=7)), str)
    assert await zart.testing.run(order, Order(user=7)) == "charged 7"
    assert await zart.testing.run(plain, {"whatever": 1}) == 1


def never_run(client: zart.Client, sync: zart.SyncClient) -> None:
    """Say what a type checker must refuse."""
    client.start(order, 7)  # type: ignore[misc, unused-coroutine]
    assert_type(sync.start(order, Order(user=7)).result(), str)
    assert_type(sync.start("order", 7).result(), Any)
    assert_type(sync.run(order, Order(user=7)), str)
    client.run(order, 7)  # type: ignore[misc, unused-coroutine]
    sync.run(order, {"user": 7})  # type: ignore[misc]  # as README.md says
    assert_type(sync.start(plain, object()).result(), Any)

    @order.step(name="wrong")  # type: ignore[arg-type]
    async def wrong(ctx: zart.StepContext[int]) -> None:
        pass


@pytest.mark.parametrize("kind", [zart.Client, zart.SyncClient])
def test_signatures_are_real(kind: type) -> None:
    methods = {
        name: method
        for name, method in vars(kind).items()
        if not name.startswith("_") and inspect.isfunction(method)
    }
    assert len(methods) > 20
    for name, method in methods.items():
        signature = inspect.signature(method)
        assert next(iter(signature.parameters)) == "self", name
        assert not str(signature.return_annotation).startswith(("Call[", "ListCall[")), name
    assert "-> 'RetriedStep'" in pydoc.render_doc(kind.retry_step)  # type: ignore[attr-defined]
    listing = "SyncListing" if kind is zart.SyncClient else "Listing"
    assert f"-> '{listing}[Operation]'" in pydoc.render_doc(kind.list_operations)  # type: ignore[attr-defined]


async def test_the_client_can_be_stood_in_for(rig: Rig) -> None:
    bound = inspect.signature(rig.client.list_operations)
    assert list(bound.parameters)[:2] == ["execution_id", "kind"]
    assert list(bound.parameters)[-2:] == ["page_size", "page_token"]

    stand_in = mock.create_autospec(zart.Client, instance=True)
    await stand_in.retry_step("x", "a", max_attempts=2)
    stand_in.list_operations(execution_id="x")
    with pytest.raises(TypeError, match="no_such"):
        await stand_in.retry_step("x", "a", no_such=1)
    with pytest.raises(TypeError):
        stand_in.list_operations("x")
    of_class = mock.create_autospec(zart.SyncClient)
    of_class("channel").restart("x", payload=1)


async def test_json_text_is_sent_as_it_is_written(rig: Rig) -> None:
    text = '{"n": 12345678901234567.89, "a": 1,  "a": 2, "big": ' + "1" * 5000 + "}"
    steps = [zart.StepSpec("a", input=zart.JsonText("[1.10]"))]
    await rig.client.start("t", zart.JsonText(text), execution_id="x", steps=steps)
    (run,) = await rig.db.fetch("SELECT payload_json FROM zart_execution_runs")
    assert run["payload_json"] == text
    await rig.client.restart("x", payload=zart.JsonText("1.50"))
    texts = await rig.db.fetch("SELECT payload_json FROM zart_execution_runs ORDER BY run_number")
    assert [row["payload_json"] for row in texts] == [text, "1.50"]


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "1 2", "[1e400]", "[" * 100_000])
def test_other_text_is_no_json_text(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's words
        zart.JsonText(text)
