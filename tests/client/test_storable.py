"""A result that no server stores fails its step before it is sent: a test without one finds it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from dispatching import dispatching, start
from hypothesis import given
from hypothesis import strategies as st
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.calls.payload import json_text
from zart.dispatcher.storable import why_not_stored
from zart.testing.server import ServerUnderTest
from zart_server.domain.errors import InvalidField
from zart_server.domain.json_text import MAX_DEPTH, check_json


def nested(depth: int) -> Any:
    """Return a value that is nested so deep, with brackets in strings that mean nothing."""
    value: Any = "]}[{" * depth
    for level in range(depth):
        value = [value] if level % 2 else {'["\\': value}
    return value


NUL = "the result, a dict, holds the character U+0000"
DEEP = f"the result, a list, is nested more than {MAX_DEPTH} deep"
REFUSED: dict[str, tuple[Any, str]] = {
    "in a string": ({"a": ["x\x00y"]}, NUL),
    "in a key": ({"\x00": 1}, NUL),
    "after backslashes": ({"a": "\\\\\x00"}, NUL),
    "nested": (nested(MAX_DEPTH + 2), DEEP),
}
STORED = [
    {"a": r"\u0000"},
    {"a": r"\\u0000"},
    nested(MAX_DEPTH),
    ["[" * 1000],
    [[]] * 1000,
    zart.JsonText(r'["\\u0000 ] \" [", 1.50]'),
]


def returning(value: Any) -> Callable[[Any], Any]:
    async def step(_ctx: zart.StepContext) -> Any:
        return value

    return step


@pytest.mark.parametrize(("value", "told"), REFUSED.values(), ids=REFUSED)
async def test_it_is_told_alike_in_process_and_by_a_dispatcher(
    rig: Rig, zart_server: ServerUnderTest, value: Any, told: str
) -> None:
    task = zart.Task("t")
    task.step(name="a")(returning(value))
    with pytest.raises(zart.RunFailed, match=re.escape(told)):
        await zart.testing.run(task)
    async with dispatching(zart_server, task):
        await (await start(rig, task)).run(timeout=GIVE_UP)
    step = await rig.client.get_step("x", "a")
    assert (step.status, step.attempt) == ("DEAD", 1)
    assert step.last_error is not None
    assert (step.last_error.type, step.last_error.message) == ("ResultNotJson", told)


@pytest.mark.parametrize("value", STORED)
async def test_what_only_looks_like_it_is_stored(
    rig: Rig, zart_server: ServerUnderTest, value: Any
) -> None:
    task = zart.Task("t")
    task.step(name="a")(returning(value))
    async with dispatching(zart_server, task):
        run = await (await start(rig, task)).run(timeout=GIVE_UP)
    assert run.result == json.loads(json_text(value))


ANY = st.recursive(
    st.text(st.sampled_from('\x00\\u0"[]{}é'), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(ANY, st.integers(0, MAX_DEPTH + 3))
def test_it_is_what_the_server_refuses(value: Any, levels: int) -> None:
    for level in range(levels):
        value = [value] if level % 2 else {"[": value}
    text = json_text(value)
    refused = ""
    try:
        check_json(text, "result_json")
    except InvalidField as error:
        refused = str(error)
    why = why_not_stored(text)
    assert bool(why) == bool(refused), (text, refused)
    assert why in refused
