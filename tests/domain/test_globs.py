"""Globs: Python's reading and PostgreSQL's agree, and odd ones are refused."""

from __future__ import annotations

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.globs import check_glob, matches, to_regex
from zart_server.domain.model import PauseScope
from zart_server.domain.pausing import equals_scope, rule_matches

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
