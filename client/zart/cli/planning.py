"""Asks for what a command looks at first, as a plan; for a repeat there may be nothing left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

from zart.calls.call import Call
from zart.cli.session import Session
from zart.errors import (
    NotFound,
    NothingPaused,
    NothingSelected,
    Refused,
    RuleNotActive,
    RulesAmbiguous,
    ScopeMatchesNothing,
)
from zart.models import OperationKind

T = TypeVar("T")
# How a plan is refused of what was done: it left nothing to do.
_NOTHING_LEFT = (
    NotFound,
    NothingPaused,
    NothingSelected,
    RuleNotActive,
    RulesAmbiguous,
    ScopeMatchesNothing,
)
# A server knows a request for 7 days: with an hour to spare it is answered, and not done anew.
_KNOWN_FOR = timedelta(days=7) - timedelta(hours=1)


def planned(session: Session, call: Call[T], *kinds: OperationKind) -> T | None:
    """Return a plan, or what else is looked at first; None for a repeat, on record as these kinds.

    Without a plan no token says what is meant: what was not done before is not sent then. Raises
    what the call does.
    """
    try:
        return session.client.send(call)
    except Refused as none:
        if not isinstance(none, _NOTHING_LEFT) or not was_done(session, *kinds):
            raise
        return None


def was_done(session: Session, *kinds: OperationKind) -> bool:
    """Return whether something of these kinds is on record under the request id that was given."""
    mine = session.mutation
    if not mine.may_repeat:
        return False
    since = datetime.now(UTC) - _KNOWN_FOR
    made = session.client.list_operations(
        kinds=kinds, triggered_by=mine.triggered_by, created_after=since
    )
    return any(each.request_id == mine.request_id for each in made)
