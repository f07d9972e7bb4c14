"""Bodies of 16 MiB that would be most work to read: nobody else waits for them, nor lacks memory.

Anybody may send them. ``json`` holds the interpreter's lock from one call of ours to the next.
"""

from __future__ import annotations

import asyncio
import bisect
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


def parts_of(shape: str) -> list[str]:
    """Make as many parts of a body as it has room for, with commas between."""
    begin, each, end = SHAPES[shape]
    make = functools.cache(each) if each(0) == each(1) else each
    found, left = [], LARGEST - len(begin + end)
    for number in itertools.count():
        part = make(number)
        left -= len(part.encode()) + 1
        if left < 0:
            break
        found.append(part)
    return found


def in_objects(part: str, number: int) -> Callable[[int], str]:
    """Have so many of something in an object."""
    return lambda _: f'{{"a":[{",".join([part] * number)}]}}'


def wide(number: int) -> str:
    """Make a name of few bytes that takes much memory."""
    return f"{chr(0x20000 + number % 40_000)}{number // 40_000:x}"


PAYLOAD = ('{"payload":[', "]}")
SHAPES: dict[str, tuple[str, Callable[[int], str], str]] = {
    "members with lists": ("{", lambda n: f'"{n:x}":[]', "}"),
    "members with texts": ('{"payload":{', lambda n: f'"{n:x}":"{n:x}"', "}}"),
    "members with wide texts": ('{"payload":{', lambda n: f'"{wide(n)}":"\U0001f600"', "}}"),
    "members with literals": ("{", lambda n: f'"{n:x}":true', "}"),
    "members with objects": ("{", lambda n: f'"{n:x}":{{}}', "}"),
    "members of one name": ("{", lambda _: '"":[]', "}"),
    "lists": (PAYLOAD[0], lambda _: "[]", PAYLOAD[1]),
    "lists in lists": (PAYLOAD[0], lambda _: "[" * 50 + "]" * 50, PAYLOAD[1]),
    "lists in deep lists": (PAYLOAD[0], lambda _: "[" * 900 + "]" * 900, PAYLOAD[1]),
    "lists in objects": (PAYLOAD[0], in_objects("[]", 300_000), PAYLOAD[1]),
    "literals": (PAYLOAD[0], lambda _: "null", PAYLOAD[1]),
    "texts": (PAYLOAD[0], lambda n: f'"{n:x}"', PAYLOAD[1]),
    "wide texts": (PAYLOAD[0], lambda _: '"\u0436"', PAYLOAD[1]),
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


ONE_TEXT = {"escapes"}
OFTEN = {  # each part is a call of ours: to note a million takes a minute
    "members with objects",
    "objects",
    "objects in objects",
    "numbers",
    "numbers in objects",
}


@functools.cache
def body_of(shape: str) -> bytes:
    """Make the largest body of a shape."""
    begin, _, end = SHAPES[shape]
    return (begin + ",".join(parts_of(shape)) + end).encode()


def heaviest_of(shape: str) -> bytes:
    """Make the largest body of a shape that is not too heavy, with objects that end a stretch."""
    begin, _, end = SHAPES[shape]
    parts = parts_of(shape)
    between = ",{}," if begin.endswith("[") else ',"-":{},'

    def body(number: int, at_a_stretch: int) -> bytes:
        begins = range(0, number, at_a_stretch)
        stretches = (parts[n : min(n + at_a_stretch, number)] for n in begins)
        return (begin + between.join(map(",".join, stretches)) + end).encode()

    at_a_stretch = most(len(parts), lambda number: body(number, number))
    return body(most(len(parts), lambda number: body(number, at_a_stretch)), at_a_stretch)


def most(number: int, body: Callable[[int], bytes]) -> int:
    """Find how many parts are not too heavy, but for a fortieth of them."""
    numbers = range(1, number + 1, max(1, number // 40))
    return numbers[bisect.bisect_left(numbers, True, key=lambda n: is_heavy(body(n))) - 1]


def is_heavy(body: bytes) -> bool:
    """Return whether it is refused for its weight."""
    try:
        check_weight(body)
    except Refusal:
        return True
    return False


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
    is_read_bit_by_bit(monkeypatch, body)


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - ONE_TEXT))
def test_so_is_the_heaviest_that_is_read(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    """What is refused for its weight at 16 MiB, once it is smaller, or has an object now and then.

    Lists in lists weighed one each, and took a hundred bytes: 16 MiB of them 800 MiB.
    """
    body = heaviest_of(shape)
    if shape in OFTEN:
        takes_no_more_than_there_is(body)
    else:
        is_read_bit_by_bit(monkeypatch, body)


def is_read_bit_by_bit(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Read it: neither holds it up others, nor takes it more memory than there is."""
    stretches = Stretches(monkeypatch)
    takes_no_more_than_there_is(body)
    stretches.note()
    assert stretches.most < AT_ONCE


def takes_no_more_than_there_is(body: bytes) -> None:
    """Read it: there is memory for it."""
    tracemalloc.start()
    with contextlib.suppress(Refusal):
        parse_object(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print("PEAK", peak >> 20)
    assert peak < MEMORY, f"{peak / 2**20:.0f} MiB"


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
    "lists with spaces": lambda: (
        json.dumps({"payload": [[]] * 399_000}).replace("[]", "[ ]").encode()
    ),
    "lists with a text": lambda: start(payload=[["a"]] * 228_000),
    "lists in lists": lambda: start(payload=[[[[[]]]]] * 99_000),
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
