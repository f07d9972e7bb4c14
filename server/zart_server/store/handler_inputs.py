"""Reads what the handlers of leased tasks need: long payloads, and results of dependencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import asyncpg

from zart_server.domain.json_text import MAX_BYTES, utf8_size
from zart_server.domain.step_resolution import StepResolution
from zart_server.store.connection import Connection
from zart_server.store.statement import Statement

# Longer texts are only read once it is known that they fit into the response.
READ_AT_ONCE = 8192
# Bytes of text that one read of results makes of what is stored compressed, at the very most. What
# a text comes to is known by unpacking it only, which takes a millisecond for a megabyte.
_UNPACKED_AT_ONCE = 128 * 1024 * 1024
_PACKED = 255  # times as long as where it is stored, a text is at most: lz4's bound, pglz's is 88
# Steps s, and o, where the result of each stands: that of a preserved one in an earlier run.
RESULTS = """{keys} u(run_key, step_no)
        CROSS JOIN LATERAL (
            SELECT run_key, step_no, source_run_key FROM zart.steps
            WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
        CROSS JOIN LATERAL (
            SELECT result, resolution FROM zart.steps
            WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
            OFFSET 0) o"""
# JSON is made a text once: measured and sent as it is stored, it is unpacked each time.
_UPSTREAM = Statement(f"""
    SELECT s.run_key, s.step_no,
        CASE WHEN octet_length(t.result) <= :at_once THEN t.result END AS result,
        COALESCE(octet_length(t.result), pg_column_size(o.result), 0) AS bytes,
        COALESCE(o.resolution = :skipped, false) AS is_skipped,
        t.result IS NOT NULL OR pg_column_compression(o.result) IS NULL AS is_measured
    FROM {RESULTS.format(keys="unnest(:run_keys::bigint[], :step_nos::integer[])")}
    CROSS JOIN LATERAL (
        SELECT CASE WHEN CASE WHEN pg_column_compression(o.result) IS NULL
                THEN pg_column_size(o.result) <= :at_once::integer + 4  -- its head
                ELSE least({_PACKED} * pg_column_size(o.result), {MAX_BYTES}) <= :most::integer END
            THEN o.result::text END AS result
        OFFSET 0) t
""")
# The key after the n-th, of those that are gone through one by one.
_NEXT = """measured m CROSS JOIN LATERAL (
    SELECT (:run_keys::bigint[])[m.n + 1], (:step_nos::integer[])[m.n + 1])"""
_MEASURED = Statement(f"""
    WITH RECURSIVE measured AS (
        SELECT 0 AS n, 0::bigint AS total, NULL::bigint AS run_key, NULL::integer AS step_no,
            NULL::text AS result, 0 AS bytes, false AS is_skipped
        UNION ALL
        SELECT m.n + 1, m.total + t.bytes, s.run_key, s.step_no,
            CASE WHEN t.bytes <= :at_once THEN t.result END, t.bytes,
            COALESCE(o.resolution = :skipped, false)
        FROM {RESULTS.format(keys=_NEXT)}
        CROSS JOIN LATERAL (
            SELECT result, COALESCE(octet_length(result), 0) AS bytes
            FROM (SELECT o.result::text AS result OFFSET 0) made OFFSET 0) t
        WHERE m.total <= :most AND m.n < cardinality(:run_keys)
    )
    SELECT run_key, step_no, result, bytes, is_skipped, true AS is_measured
    FROM measured WHERE n > 0
""")


class Upstream(NamedTuple):
    """A step's result, as text where it is short, and its size in bytes.

    ``is_skipped``: an operator skipped the step. Not ``is_measured``: the size is what it takes
    where it is stored, compressed; the text is longer. See ``measure``.
    """

    text: str | None
    size: int
    is_skipped: bool
    is_measured: bool = True


def keep_short(connection: Connection, results: Mapping[tuple[int, int], str]) -> None:
    """Have the short ones of results at hand for later reads, once what is done is committed.

    By run key and step number: results that dispatchers report, and that are recorded. A completed
    step never changes, which the database sees to, and no run key is given to another run.
    """
    short = {key: text for key, text in results.items() if utf8_size(text) <= READ_AT_ONCE}
    if short:
        connection.once_committed(partial(connection.results.add, short))


async def read_upstream(
    connection: Connection, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Upstream]:
    """Return results by (run key, step number), reading those that are not at hand.

    However many they are, and whatever they would be as text: what may be too much together is not
    unpacked, and not measured. What is stored as it is has its size without being read.
    """
    at_hand = connection.results.at_hand(wanted)
    found = {
        key: Upstream(text, utf8_size(text), is_skipped=False) for key, text in at_hand.items()
    }
    wanted = [key for key in wanted if key not in found]
    if not wanted:
        return found
    rows = await connection.fetch(
        _UPSTREAM.text, *_arguments(_UPSTREAM, wanted, _UNPACKED_AT_ONCE // len(wanted))
    )
    return found | _by_key(rows)


async def measure(
    connection: Connection, wanted: Sequence[tuple[int, int]], most: int
) -> dict[tuple[int, int], Upstream]:
    """Measure results one by one, in this order, until they have more than ``most`` bytes.

    Returns those that were measured, the first at least.
    """
    rows = await connection.fetch(_MEASURED.text, *_arguments(_MEASURED, wanted, most))
    return _by_key(rows)


def _arguments(
    statement: Statement, wanted: Sequence[tuple[int, int]], most: int
) -> tuple[object, ...]:
    return statement.arguments(
        run_keys=[run_key for run_key, _ in wanted],
        step_nos=[step_no for _, step_no in wanted],
        most=most,
        at_once=READ_AT_ONCE,
        skipped=StepResolution.SKIPPED_BY_OPERATOR.value,
    )


def _by_key(rows: Sequence[asyncpg.Record]) -> dict[tuple[int, int], Upstream]:
    return {(row[0], row[1]): Upstream(*row[2:]) for row in map(tuple, rows)}


async def read_short(
    connection: Connection, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """Return results by (run key, step number), but long ones and those of skipped steps.

    Reads those that are not at hand, for whoever holds locks: what is stored as more than it may be
    as text is not even unpacked.
    """
    found = connection.results.at_hand(wanted)
    wanted = [key for key in wanted if key not in found]
    if not wanted:
        return found
    rows = await connection.fetch(
        f"""
        SELECT s.run_key, s.step_no, t.result
        FROM {RESULTS.format(keys="unnest($1::bigint[], $2::integer[])")}
        CROSS JOIN LATERAL (
            SELECT CASE WHEN pg_column_size(o.result) <= $3 THEN o.result::text END AS result
            OFFSET 0) t
        WHERE octet_length(t.result) <= $3 AND o.resolution IS DISTINCT FROM $4
        """,
        [run_key for run_key, _ in wanted],
        [step_no for _, step_no in wanted],
        READ_AT_ONCE,
        StepResolution.SKIPPED_BY_OPERATOR.value,
    )
    return found | {(row[0], row[1]): row[2] for row in rows}


async def read_large(
    connection: Connection, run_keys: Sequence[int], wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """Read long texts: payloads of runs, under step number -1, and results of steps."""
    rows = await connection.fetch(
        f"""
        SELECT r.run_key, -1 AS step_no, COALESCE(r.payload, p.payload) AS text
        FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
            SELECT run_key, payload, payload_run_key FROM zart.runs
            WHERE run_key = u.run_key OFFSET 0) r
        LEFT JOIN LATERAL (
            SELECT payload FROM zart.runs WHERE run_key = r.payload_run_key OFFSET 0) p ON true
        UNION ALL
        SELECT s.run_key, s.step_no, o.result
        FROM {RESULTS.format(keys="unnest($2::bigint[], $3::integer[])")}
        """,
        run_keys,
        [run_key for run_key, _ in wanted],
        [step_no for _, step_no in wanted],
    )
    return {(row["run_key"], row["step_no"]): row["text"] for row in rows}
