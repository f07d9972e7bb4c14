"""How breakers change state: under the exclusive pause lock, from the state that they are in."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from zart_server.domain.breakers import MOST_COOLDOWNS, BreakerStatus
from zart_server.domain.commands import Caller
from zart_server.domain.model import StepError
from zart_server.store.breaking.closing import CLOSES
from zart_server.store.connection import Connection, Tx
from zart_server.store.leases import error_to_json
from zart_server.store.pausing.released import is_releasing
from zart_server.store.pausing.rules import LAST_LEASE
from zart_server.store.statement import Statement

# It stays open for longer if it opens again soon after it closed by itself. If somebody closed it,
# cooldowns are 0; closed_at is still to come where the clock went back since.
_OPEN = Statement(
    f"""
    UPDATE zart.breakers SET status = 'open', opened_at = statement_timestamp(),
        rule_key = (SELECT rule_key FROM zart.pause_rules WHERE rule_id = :rule_id),
        trip_count = trip_count + 1, last_error = :error,
        cooldowns = CASE
            WHEN opened_at IS NULL OR cooldown IS NULL
                OR statement_timestamp() >= closed_at + cooldown * cooldowns THEN 1
            ELSE LEAST(GREATEST(cooldowns * 2, 1), {MOST_COOLDOWNS}) END
    WHERE breaker_key = :breaker_key
    """,
    locks=("breakers",),
)
_CARRY = Statement(
    f"""
    INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)
    SELECT (SELECT rule_key FROM zart.pause_rules WHERE rule_id = :rule_id), execution_id,
        {LAST_LEASE}
    FROM zart.pause_exemptions WHERE rule_key = :before AND token_until IS NULL
    """
)


async def open_breaker(
    tx: Tx, breaker_key: int, rule_id: str, before: int | None, error: StepError | None
) -> None:
    """Open a closed breaker, whose rule ``rule_id`` is; it exempts what the one ``before`` did.

    The caller has locked the breaker, and holds the pause lock exclusively.
    """
    await tx.execute(
        _OPEN.text,
        *_OPEN.arguments(breaker_key=breaker_key, rule_id=rule_id, error=error_to_json(error)),
    )
    if before is not None:
        await tx.execute(_CARRY.text, *_CARRY.arguments(rule_id=rule_id, before=before))


# Of a breaker b that is not closed: its cooldown is over; nobody else ends its rule at a pace.
_IS_COOL = """(b.status = 'open'
    AND b.opened_at + b.cooldown * b.cooldowns <= statement_timestamp())"""
# It became half open by the clock of another database, before this one was promoted: what it lets
# go now would be none of its probes. Those from before are by that clock, and stay probes.
_IS_AHEAD = "(b.status = 'half_open' AND b.half_open_at > statement_timestamp())"
_IS_LEFT_ALONE = f"NOT {is_releasing('b.rule_key')}"


class DueBreaker(NamedTuple):
    """A breaker that is half open, or open and is to be.

    ``is_ahead``: it is half open since a moment that is still to come, and is to be so from now on.
    ``has_line``: a paused step that is due is attributed to its rule, and may try.
    """

    breaker_id: str
    status: BreakerStatus
    is_ahead: bool
    has_line: bool


# Compared as a whole, as no other index has it: that of lanes has its order, too.
_HAS_LINE = """EXISTS (
    SELECT FROM zart.held
    WHERE (rule_key, not_before, queue_no) > (b.rule_key, '-infinity'::timestamptz, -1)
      AND (rule_key, not_before) <= (b.rule_key, statement_timestamp()))"""


async def find_due(connection: Connection) -> list[DueBreaker]:
    """Return the breakers whose steps are to try, or try; locks nothing."""
    rows = await connection.fetch(
        f"SELECT breaker_id, status, {_IS_AHEAD},\n{_HAS_LINE}\nFROM zart.breakers b"
        f" WHERE status <> 'closed' AND (status = 'half_open' OR {_IS_COOL}) AND {_IS_LEFT_ALONE}"
        " ORDER BY breaker_key"
    )
    return [DueBreaker(row[0], BreakerStatus(row[1]), row[2], row[3]) for row in rows]


_IS_TO_TRY = f"({_IS_COOL} OR {_IS_AHEAD}) AND {_IS_LEFT_ALONE}"


async def is_to_try(connection: Connection, breaker_id: str) -> bool:
    """Return whether ``half_open`` would have the steps of a breaker try; locks nothing."""
    found: bool = await connection.fetchval(
        f"SELECT EXISTS (SELECT FROM zart.breakers b WHERE breaker_id = $1 AND {_IS_TO_TRY})",
        breaker_id,
    )
    return found


async def half_open(tx: Tx, breaker_key: int) -> bool:
    """Have the steps of an open breaker try, if it is time; return whether it is.

    One that is half open since a moment to come is so from now on. The caller has locked the
    breaker, and holds the pause lock exclusively.
    """
    return bool(
        await tx.execute(
            "UPDATE zart.breakers b SET status = 'half_open',"
            " half_open_at = statement_timestamp()"
            f" WHERE breaker_key = $1 AND {_IS_TO_TRY}",
            breaker_key,
        )
    )


_REOPEN = Statement(
    f"""
    UPDATE zart.breakers SET status = 'open', opened_at = statement_timestamp(),
        last_error = COALESCE(:error, last_error),
        cooldowns = LEAST(GREATEST(cooldowns, 1) * :times::integer, {MOST_COOLDOWNS})
    WHERE breaker_key = :breaker_key AND status <> 'closed'
      AND half_open_at IS NOT DISTINCT FROM :since
    """,
    locks=("breakers",),
)


async def reopen(
    tx: Tx, breaker_key: int, since: datetime | None, error: StepError | None, *, times: int
) -> bool:
    """Open a breaker again that is not closed, for so many ``times`` as long.

    ``since`` is when it became half open last, None: never. Return False, having done nothing, if
    it has become so since, or is closed. The caller has locked the breaker, and holds the pause
    lock exclusively.
    """
    values = _REOPEN.arguments(
        breaker_key=breaker_key, since=since, error=error_to_json(error), times=times
    )
    return bool(await tx.execute(_REOPEN.text, *values))


_CLOSE = Statement(
    f"""
    WITH ordinary AS (
        UPDATE zart.pause_rules SET breaker_id = ''
        WHERE rule_key = (SELECT rule_key FROM zart.breakers WHERE breaker_key = :breaker_key)
    )
    UPDATE zart.breakers SET {CLOSES} WHERE breaker_key = :breaker_key
    """,
    locks=("pause_rules", "breakers"),
)


async def close_before_its_rule(tx: Tx, breaker_key: int, caller: Caller) -> None:
    """Close a breaker whose rule goes on, since it ends at a pace, as an ordinary one from now on.

    Whatever becomes of that rule closes no breaker any more. The caller has locked the breaker, and
    holds the pause lock exclusively.
    """
    values = _CLOSE.arguments(breaker_key=breaker_key, deleted_by=caller.triggered_by)
    await tx.execute(_CLOSE.text, *values)
