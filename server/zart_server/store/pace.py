"""The credit of a pace, by the database's clock: what a release or a batch may do now."""

from __future__ import annotations

# Of a row with its rate_per_second, credit and credit_at: one second's worth at most. A pace begins
# at its first move, with one; and anew where the last move is still to come: it was by the clock of
# another database, before this one was promoted.
CREDIT = """LEAST(GREATEST(rate_per_second, 1), CASE WHEN credit_at > statement_timestamp() THEN 1
    ELSE credit + rate_per_second * COALESCE(
        EXTRACT(epoch FROM statement_timestamp() - credit_at), 0)::float8 END)"""
