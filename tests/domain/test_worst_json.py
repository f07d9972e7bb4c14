"""No JSON text within the limit takes long to check, whatever it holds, and each is judged right."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from computing import cpu_seconds
from hypothesis import example, given
from hypothesis import strategies as st

from zart_server.domain.errors import InvalidField
from zart_server.domain.json_text import MAX_BYTES, MAX_DEPTH, check_json

# A quadratic check takes minutes to hours for one of these, a linear one some hundredths of this.
SECONDS = 3.0


def filled(begin: str, part: str, end: str, separator: str = "") -> str:
    """Make a text as large as is taken."""
    room = MAX_BYTES - len((begin + end).encode()) - len(part.encode())
    return begin + part + (separator + part) * (room // len((separator + part).encode())) + end


WORST = {
    "a cut JSON-in-JSON": filled("[" * 65 + '"', '\\"', ""),
    "brackets in a cut string": filled('"' + "[" * 65, '\\"', ""),
    "backslashes without an end": filled("[" * 65 + '"', "\\", ""),
    "quotes": filled("[" * 65, '"', ""),
    "lists": filled("[", "[]", "]", ","),
    "objects": filled("[", "{}", "]", ","),
    "deep lists": filled("[", "[" * 63 + "]" * 63, "]", ","),
    "opened for ever": "[" * MAX_BYTES,
    "objects opened for ever": filled("", '{"":', ""),
    "keys": filled("{", '"":0', "}", ","),
    "strings": filled("[", '""', "]", ","),
    "numbers": filled("[", "0", "]", ","),
    "floats": filled("[", "0e0", "]", ","),
    "large floats": filled("[", "1e308", "]", ","),
    "digits": "9" * MAX_BYTES,
    "digits of a fraction": filled("0.", "9", ""),
    "digits of an exponent": filled("1e-", "9", ""),
    "escapes": filled('"', "\\n", '"'),
    "escaped letters": filled('["\\ud83d\\ude00",', '"\\u0041"', "]", ","),
    "pairs": filled('"', "\\ud83d\\ude00", '"'),
    "half a pair, at the end": filled('"', "\\u0041", '\\ud83d"'),
    "wide characters": filled('"', "🚀", '"'),
    "space": filled("", " ", "0"),
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_texts_take_no_time(name: str) -> None:
    text = WORST[name]
    assert MAX_BYTES - 200 < len(text.encode()) <= MAX_BYTES
    try:
        json.loads(text, parse_int=len)
        is_json = "half" not in name
    except (ValueError, RecursionError):
        is_json = False
    with cpu_seconds(SECONDS):
        try:
            check_json(text, "payload_json")
        except InvalidField:
            assert not is_json
        else:
            assert is_json
    assert gc.isenabled()


def judged_slowly(text: str) -> bool:
    """Tell by walking the parsed value what check_json tells by the text."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse, object_pairs_hook=_all_members)
    except ValueError:
        return False
    if _depth(value) > MAX_DEPTH or re.search(r"inf", repr(_floats(value))):
        return False
    return not any(re.search("[\ud800-\udfff\x00]", each) for each in _texts([value]))


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)):
            yield from _texts(item)
        elif isinstance(item, str):
            yield item


def _all_members(pairs: list[tuple[str, Any]]) -> list[Any]:
    return [part for pair in pairs for part in pair]


def _floats(value: Any) -> list[float]:
    if isinstance(value, list):
        return [number for item in value for number in _floats(item)]
    return [value] if isinstance(value, float) else []


PIECES = st.sampled_from([
    "[", "]", "{", "}", ",", ":", '"', "\\", '\\"', "\\\\", "\\u0000", "\\ud83d", "\\ude00", "\\n",
    "\\u0041", "a", "\x00", "\t", "é", "🚀", "0", "-1", "1.5", "1e400", "-1e400", "1e308", "NaN",
    "null", "true", " ", '"a":', "[" * 64, "]" * 64, "," * 2, '"\\ud83d\\ude00"', '"\\\\u0000"',
])  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES, max_size=8).map(
    lambda parts: f'["{"".join(parts)}"]'))  # fmt: skip
@example('{"\\ud83d":0}')
@example('{"a":1e400,"a":0}')
@example('["\\\\ud83d"]')
@example("[" * 65 + "]" * 65)
@example("[" * 64 + "]" * 64)
def test_it_is_judged_as_a_walk_of_its_value_would(text: str) -> None:
    try:
        check_json(text, "x")
        is_taken = True
    except InvalidField:
        is_taken = False
    assert is_taken is judged_slowly(text)
