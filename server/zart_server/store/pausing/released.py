"""How a rule with a release is read: as part of the rule."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from zart_server.domain.pacing import PauseRuleRelease


def standing(attempt: str) -> str:
    """Return the condition that a row of released_steps stands, for what reads all of a rule.

    By it the index of those is found, which the lookup of one attempt, IS NULL, is not to use.
    """
    return f"COALESCE({attempt}.token_until, -1) = -1"


def seconds_since(moment: str) -> str:
    """Return how many seconds ago a moment was, as SQL; NULL: never, or by the clock not yet."""
    return f"""CASE WHEN {moment} <= statement_timestamp() THEN
        EXTRACT(epoch FROM statement_timestamp() - {moment})::float8 END"""


def is_releasing(rule: str) -> str:
    """Return the condition that a rule, by its key, is RELEASING."""
    return f"""EXISTS (
        SELECT FROM zart.pause_releases z
        WHERE z.rule_key = {rule} AND z.ended_at IS NULL OFFSET 0)"""


def release_of(rule: str) -> str:
    """Return a query for the release by which a rule ends, or ended, as JSON; NULL: none."""
    return f"""(
        SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
            z.expected_end_at, z.started_by, z.is_waiting)
        FROM zart.pause_releases z WHERE z.rule_key = {rule}.rule_key
          AND (z.ended_at IS NULL OR z.ended_at >= {rule}.deleted_at))"""


def release_from_json(text: str | None) -> PauseRuleRelease | None:
    """Return the release that ``release_of`` gave."""
    if text is None:
        return None
    values: list[Any] = json.loads(text)
    rate, released, started_at, expected_end_at, started_by, is_waiting = values
    return PauseRuleRelease(
        rate_per_second=rate,
        released_steps=released,
        started_at=datetime.fromisoformat(started_at),
        expected_end_at=expected_end_at and datetime.fromisoformat(expected_end_at),
        started_by=started_by,
        waiting_for_dispatchers=is_waiting,
    )
