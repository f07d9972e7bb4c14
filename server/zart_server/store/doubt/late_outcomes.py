"""Keeps what dispatchers report of attempts that are in doubt already: evidence, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.doubt import LateOutcome
from zart_server.store.connection import Connection
from zart_server.store.leases import NAMED, LeaseKey, columns_of, error_to_json
from zart_server.store.lookups import only
from zart_server.store.statement import Statement


class TooLate(NamedTuple):
    """An outcome that was reported too late, and the lease that it names."""

    lease: LeaseKey
    outcome: LateOutcome


# One that says no more than that the attempt was broken off makes room for one that tells more.
_TELLS_LITTLE = "('timed_out', 'lost')"
_KEEP = Statement(
    f"""
    WITH found AS MATERIALIZED (
        SELECT d.run_key, d.step_no, d.attempt, u.n, u.status, u.omitted::boolean AS omitted,
            u.result, u.error
        FROM unnest({NAMED},
            :statuses::text[], :omitted::text[], :results::text[], :errors::text[])
        WITH ORDINALITY
            u(run_key, step_no, token, of_principal, status, omitted, result, error, n)
        CROSS JOIN LATERAL (
            SELECT * FROM zart.in_doubt
            WHERE in_doubt.run_key = u.run_key AND in_doubt.step_no = u.step_no OFFSET 0) d
        WHERE d.lease_token = u.token AND d.principal = (:principals::text[])[of_principal]
          AND (d.swept OR d.ended_as <> u.status)
    ), kept AS (
        UPDATE zart.in_doubt d SET late_status = f.status, late_result = f.result::json,
            late_omitted = f.omitted, late_error = f.error::json,
            late_received_at = statement_timestamp()
        FROM found f
        WHERE d.run_key = {only("f.run_key")} AND d.step_no = f.step_no AND d.attempt = f.attempt
          AND (d.late_status IS NULL
               OR d.late_status IN {_TELLS_LITTLE} AND f.status NOT IN {_TELLS_LITTLE})
    )
    SELECT n FROM found
    """,
    locks=("in_doubt",),
)


async def keep_late_outcomes(connection: Connection, reported: Sequence[TooLate]) -> set[int]:
    """Keep outcomes with the attempts in doubt that they are of; return the indexes of these.

    The first stays that tells how the attempt ended. A repeat of the very report that ended the
    attempt is none.
    """
    rows = await connection.fetch(
        _KEEP.text,
        *_KEEP.arguments(
            **columns_of([item.lease for item in reported]),
            statuses=[item.outcome.status.value for item in reported],
            omitted=["t" if item.outcome.omitted else "f" for item in reported],
            results=[item.outcome.result_json for item in reported],
            errors=[error_to_json(item.outcome.error) for item in reported],
        ),
    )
    return {row["n"] - 1 for row in rows}
