"""What is taken as JSON is what PostgreSQL and every parser take alike."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.errors import InvalidField, PayloadTooLarge
from zart_server.domain.json_text import check_json

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner,
        max_size=4),
    max_leaves=20,
)  # fmt: skip


async def test_what_is_taken_comes_back_equal_from_the_database(
    db: asyncpg.Connection[asyncpg.Record],
) -> None:
    texts: list[str] = []

    @given(VALUES)
    def collect(value: Any) -> None:
        text = json.dumps(value)
        check_json(text, "payload_json")
        texts.append(text)

    collect()
    rows = await db.fetch("SELECT t::json::text AS t FROM unnest($1::text[]) t", texts)
    assert [json.loads(row["t"]) for row in rows] == [json.loads(t) for t in texts]


@given(st.text(max_size=30))
def test_what_is_taken_is_json(text: str) -> None:
    try:
        check_json(text, "x")
    except InvalidField:
        return
    json.loads(text)


def test_the_size_limit_is_in_bytes() -> None:
    check_json('"' + "x" * (1024 * 1024 - 2) + '"', "x")
    with pytest.raises(PayloadTooLarge):
        check_json('"' + "x" * (1024 * 1024 - 1) + '"', "x")
    with pytest.raises(PayloadTooLarge):
        check_json('"' + "ü" * (512 * 1024) + '"', "x")
