"""Globs: Python's reading and PostgreSQL's agree, and odd ones are refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import asyncpg
from hypothesis import given
from hypothesis import strategies as st
from specification import equals_scope, rule_matches

from zart_server.domain.globs import check_glob, matches, to_regex
from zart_server.domain.model import PauseScope

ALPHABET = "ab-*?[]!{},\\.+$^|()"
PATTERNS = st.text(alphabet=ALPHABET, max_size=10)
NAMES = st.text(alphabet="ab-*?[]{},\\.+$", max_size=8)


def is_valid(pattern: str) -> bool:
    """Whether a pattern is taken."""
    try:
        check_glob(pattern)
    except ValueError:
        return False
    return True


async def test_postgresql_and_python_agree(db: asyncpg.Connection[asyncpg.Record]) -> None:
    pairs: list[tuple[str, str, bool]] = []

    @given(pattern=PATTERNS.filter(is_valid), names=st.lists(NAMES, max_size=5))
    def collect(pattern: str, names: list[str]) -> None:
        pairs.extend((to_regex(pattern), name, matches(pattern, name)) for name in names)

    collect()
    rows = await db.fetch(
        "SELECT r, n, n ~ r AS found FROM unnest($1::text[], $2::text[]) u(r, n)",
        [p[0] for p in pairs],
        [p[1] for p in pairs],
    )
    assert len(pairs) > 100
    assert [(row["r"], row["n"], row["found"]) for row in rows] == pairs


def put_together(parts: Sequence[str], most: int) -> list[str]:
    """Return all that can be made of up to so many parts."""
    return ["".join(made) for n in range(most + 1) for made in product(parts, repeat=n)]


async def test_they_agree_on_all_that_is_short(db: asyncpg.Connection[asyncpg.Record]) -> None:
    """Texts that overlap, stand in another order, or are one of several."""
    made = {
        *put_together(["a", "b", "*", "?", "{,a}", "[!a]"], 4),
        *put_together(["a", "b", "*"], 6),
        *(f"*{middle}*" for middle in put_together(["a", "b", "?", "*", "{a,b}"], 4)),
    }
    patterns = sorted(made - {""})
    names = put_together(["a", "b"], 4)
    rows = await db.fetch(
        "SELECT g, array_agg(n) FILTER (WHERE n ~ r) AS found"
        " FROM unnest($1::text[], $2::text[]) u(g, r) CROSS JOIN unnest($3::text[]) n GROUP BY g",
        patterns,
        list(map(to_regex, patterns)),
        names,
    )
    assert len(rows) > 2500
    for row in rows:
        found = {name for name in names if matches(row["g"], name)}
        assert found == set(row["found"] or ()), row["g"]


PRINTABLE = st.characters(exclude_categories=["Cc", "Cs"])


@given(name=st.text(PRINTABLE, min_size=1, max_size=20))
def test_an_escaped_name_matches_itself_alone(name: str) -> None:
    pattern = "".join(f"\\{char}" for char in name)
    assert matches(pattern, name)
    assert not matches(pattern, name + "x")
    assert matches("*", name)
    assert matches("?" * len(name), name)


@given(
    scope=st.tuples(*[st.one_of(st.none(), st.sampled_from("xyz"))] * 3),
    names=st.tuples(*[st.sampled_from("xyz")] * 3),
)
def test_a_rule_matches_when_each_field_it_sets_does(
    scope: tuple[str | None, str | None, str | None], names: tuple[str, str, str]
) -> None:
    rule = PauseScope(*scope)
    assert rule_matches(rule, *names) is all(
        want in (None, got) for want, got in zip(scope, names, strict=True)
    )
    assert equals_scope(rule, PauseScope())
    assert equals_scope(rule, rule)
