"""Rows that may be heavy: of a page only so many are read as one answer can have, and one more.

A thousand of them would take gigabytes of the server's memory. ``api/pages.py`` then sees to the
answer's size, byte by byte.
"""

from __future__ import annotations

PAGE_BYTES = 8 * 1024 * 1024


def first_of(rows: str, size: str, order: str) -> str:
    """Return the query of the first ``rows``, a part of a WITH, in no order; one at least.

    A row is among them where all before it, in ``order``, have at most ``:page_bytes`` together;
    ``size`` is how many bytes a row has. ``n_rows`` of each is how many there are of all.
    """
    return f"""
        SELECT * FROM (
            SELECT *, count(*) OVER () AS n_rows, sum({size}) OVER (
                ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM {rows}) sized
        WHERE COALESCE(bytes_before, 0) <= :page_bytes::bigint
    """
