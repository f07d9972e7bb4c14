"""Bodies of 16 MiB that would be most work to read: nobody else waits for them, nor lacks memory.

Anybody may send them. ``json`` holds the interpreter's lock from one call of ours to the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from gateway.scripted import Scripted
from gateway.sending import Http

from zart.gateway import strict_json
from zart.gateway.statuses import Refusal
from zart.gateway.strict_json import parse_object
from zart.gateway.weighing import check_weight

LARGEST = 16 * 1024 * 1024
START = "/api/v1/executions"
AT_ONCE = 1_000_000  # blocks of memory, made while nothing else runs: a good request has 800,000
MEMORY = 256 * 1024 * 1024  # of 512 MiB that a gateway has
STEP = {
    "stepName": "reserve",
    "dependsOn": ["a"],
    "handler": "order.reserve",
    "inputJson": "{}",
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.5s",
        "backoffMultiplier": 2.5,
        "maxBackoff": "60s",
    },
    "timeout": "30s",
    "ifInDoubt": 2,
}


def filled(begin: str, each: Callable[[int], str], end: str, size: int = LARGEST) -> bytes:
    """Make a body that has as many of something as there is room for, with commas between."""
    found, left = [], size - len(begin + end)
    for number in itertools.count():
        part = each(number)
        left -= len(part) + 1
        if left < 0:
            break
        found.append(part)
    return (begin + ",".join(found) + end).encode()


def in_objects(part: str, number: int) -> Callable[[int], str]:
    """Have so many of something in an object."""
    return lambda _: f'{{"a":[{",".join([part] * number)}]}}'


PAYLOAD = ('{"payload":[', "]}")
SHAPES: dict[str, tuple[str, Callable[[int], str], str]] = {
    "members with lists": ("{", lambda n: f'"{n:x}":[]', "}"),
    "members with texts": ('{"payload":{', lambda n: f'"{n:x}":"{n:x}"', "}}"),
    "members with literals": ("{", lambda n: f'"{n:x}":true', "}"),
    "members with objects": ("{", lambda n: f'"{n:x}":{{}}', "}"),
    "members of one name": ("{", lambda _: '"":[]', "}"),
    "lists": (PAYLOAD[0], lambda _: "[]", PAYLOAD[1]),
    "lists in lists": (PAYLOAD[0], lambda _: "[" * 50 + "]" * 50, PAYLOAD[1]),
    "lists in objects": (PAYLOAD[0], in_objects("[]", 300_000), PAYLOAD[1]),
    "literals": (PAYLOAD[0], lambda _: "null", PAYLOAD[1]),
    "texts": (PAYLOAD[0], lambda n: f'"{n:x}"', PAYLOAD[1]),
    "empty texts": (PAYLOAD[0], lambda _: '""', PAYLOAD[1]),
    "texts in objects": (PAYLOAD[0], lambda n: f'{{"a":["{n:x}","{n:x}1","{n:x}2"]}}', PAYLOAD[1]),
    "objects": (PAYLOAD[0], lambda _: "{}", PAYLOAD[1]),
    "objects with lists": (PAYLOAD[0], lambda n: f'{{"{n:x}":[]}}', PAYLOAD[1]),
    "objects in objects": (PAYLOAD[0], lambda _: '{"a":' * 30 + "0" + "}" * 30, PAYLOAD[1]),
    "numbers": (PAYLOAD[0], str, PAYLOAD[1]),
    "numbers in objects": (PAYLOAD[0], in_objects("0.5", 100_000), PAYLOAD[1]),
    "mixed": ("{", lambda n: f'"{n:x}":[[],"{n:x}",null,{{"a":""}},0]', "}"),
    "escapes": ('{"reason":"', lambda _: '\\"[]{}:' * 1000, '"}'),
}


@functools.cache
def body_of(shape: str) -> bytes:
    """Make the body of a shape."""
    begin, each, end = SHAPES[shape]
    return filled(begin, functools.cache(each) if each(0) == each(1) else each, end)


class Stretches:
    """Notes how many blocks of memory are made from one call of ours to the next."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.most = 0
        self._before = sys.getallocatedblocks()
        for name in ("_object", "_integer", "_float"):
            patch.setattr(strict_json, name, self._noting(getattr(strict_json, name)))

    def _noting(self, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def noted(found: Any) -> Any:
            self.note()
            return read(found)

        return noted

    def note(self) -> None:
        """Note what was made since the last time."""
        now = sys.getallocatedblocks()
        self.most, self._before = max(self.most, now - self._before), now


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_read_bit_by_bit_and_becomes_no_more_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    body = body_of(shape)
    assert LARGEST * 0.9 < len(body) <= LARGEST
    stretches = Stretches(monkeypatch)
    tracemalloc.start()
    with contextlib.suppress(Refusal):
        parse_object(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stretches.note()

    assert stretches.most < AT_ONCE
    assert peak < MEMORY


async def test_others_are_answered_beside_them(scripted: Scripted, http_scripted: Http) -> None:
    json_ = {"Content-Type": "application/json"}
    for shape in ("members with lists", "mixed", "lists in objects"):
        send = functools.partial(http_scripted.send, "POST", START, body_of(shape), json_)
        sending = asyncio.create_task(asyncio.to_thread(send))
        answered = 0
        while not sending.done():
            assert (await asyncio.to_thread(http_scripted.get, "/healthz")).status == 200
            answered += 1
        assert (await sending).status in {400, 413}
        assert answered
    assert scripted.requests == []


def start(**fields: object) -> bytes:
    """Make the body of a start."""
    return json.dumps({"taskName": "t", **fields}, separators=(",", ":")).encode()


TEXT = json.dumps([{"a": [1]}] * 90_000)  # a megabyte
FITTING: dict[str, Callable[[], bytes]] = {  # the heaviest that a server takes, of each kind
    "lists": lambda: start(payload=[[]] * 399_000),
    "values": lambda: start(payload=[""] * 533_000),
    "members": lambda: start(payload={str(n): "" for n in range(266_000)}),
    "members with lists": lambda: start(payload={str(n): [] for n in range(228_000)}),
    "objects": lambda: start(payload=[{}] * 399_000),
    "objects of one member": lambda: start(payload=[{"a": ""}] * 159_000),
    "names": lambda: start(steps=[{"dependsOn": ["a"] * 399_000}]),
    "starts": lambda: start(requests=[{"taskName": "t", "steps": [STEP] * 50}] * 1000),
    "texts": lambda: start(steps=[{"stepName": str(n), "inputJson": TEXT} for n in range(12)]),
}


@pytest.mark.parametrize("kind", FITTING)
def test_what_a_server_takes_is_not_too_heavy(kind: str) -> None:
    body = FITTING[kind]()
    assert len(body) <= LARGEST
    assert parse_object(body) == json.loads(body)


@pytest.mark.parametrize("begin", range(-8, 9))
def test_what_is_within_texts_weighs_nothing_wherever_it_is_cut(begin: int) -> None:
    """It is looked at in pieces: an escape may begin in one and end in the next."""
    texts = ['\\"[,' * 5, "\\" * 7, '\\\\"', "[,:{}" * 200_000]
    for text in texts:
        padding = "x" * (64 * 1024 + begin - len('{"a":"","b":"'))
        body = json.dumps({"a": padding, "b": text, "c": text * 2, "d": "[" * 2_000_000}).encode()
        check_weight(body)
        with pytest.raises(Refusal):
            check_weight(body[:-1] + b',"e":[' + b"[]," * 500_000 + b"[]]}")
