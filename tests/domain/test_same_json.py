"""JSON texts are compared by what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.same_json import are_same

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(value=VALUES)
def test_layout_and_order_make_no_difference(value: Any) -> None:
    assert are_same(json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False))
    assert are_same(json.dumps(value, sort_keys=True), f"\n {json.dumps(value)} ")


@given(one=VALUES, other=VALUES)
def test_it_is_the_equality_of_what_python_reads_but_for_booleans(one: Any, other: Any) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, bool):
            return ("boolean", value)
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list) else value

    assert are_same(json.dumps(one), json.dumps(other)) is (plain(one) == plain(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("100", "1e2"),
        ("-0.0", "0"),
        ('"\\u00e9"', '"é"'),
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}'),
        ('{"a": 1, "a": 2}', '{"a": 2}'),
        ("9" * 5000, "9" * 5000 + ".0"),
        ("1e-99999999999999999999", " 1e-99999999999999999999"),
        (None, None),
    ],
)
def test_the_same(one: str | None, other: str | None) -> None:
    assert are_same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("0", "false"),
        ("0", "null"),
        ("1", '"1"'),
        ("[1, 2]", "[2, 1]"),
        ('{"a": null}', "{}"),
        ("9007199254740992", "9007199254740993"),
        ("0.1", "0.10000000000000000001"),
        ("null", None),
        (None, "null"),
    ],
)
def test_not_the_same(one: str | None, other: str | None) -> None:
    assert not are_same(one, other)
