"""Statements: named parameters become numbers, and nothing else of the text changes but blanks."""

from __future__ import annotations

import pytest

from zart_server.store.statement import Statement, indented


def test_parameters_are_numbered_in_the_order_of_the_text() -> None:
    statement = Statement("SELECT :b::text, :a, (:b::text[])[:a]")

    assert statement.text == "SELECT $1::text, $2, ($1::text[])[$2]"
    assert statement.arguments(a=1, b="x") == ("x", 1)


def test_one_parameter_and_none_are_bound_likewise() -> None:
    assert Statement("SELECT :a").arguments(a=(1, 2)) == ((1, 2),)
    assert Statement("SELECT 1").arguments() == ()


@pytest.mark.parametrize(
    "text", ["':run:0'", "'it''s :x'", '"a :x"', "x -- of :x, isn't it", "x::text", "a[1:2]"]
)
def test_what_is_no_parameter_stays(text: str) -> None:
    assert Statement(f"SELECT {text}").text == f"SELECT {text}"


@pytest.mark.parametrize("values", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 2}])
def test_values_must_be_those_of_the_parameters(values: dict[str, int]) -> None:
    with pytest.raises((TypeError, KeyError)):
        Statement("SELECT :a, :b").arguments(**values)


def test_lines_are_indented_by_their_parentheses() -> None:
    text = """
        WITH
    a AS (
    SELECT b,
    c FROM d
        WHERE e = ANY(ARRAY(
    SELECT f))
            )
            , g AS (SELECT)
    SELECT * FROM a
    """

    assert indented(text).split("\n") == [
        "WITH a AS (",
        "    SELECT b,",
        "        c FROM d",
        "    WHERE e = ANY(ARRAY(",
        "        SELECT f))",
        "), g AS (SELECT)",
        "SELECT * FROM a",
    ]


def test_a_long_line_is_broken_outside_of_parentheses_and_strings() -> None:
    columns = ", ".join(f"column_{n}" for n in range(9))

    assert indented(f"SELECT {columns}, ' FROM ', (SELECT FROM b) FROM c WHERE d").split("\n") == [
        f"SELECT {columns}, ' FROM ', (SELECT FROM b)",
        "FROM c",
        "WHERE d",
    ]
