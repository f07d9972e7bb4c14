"""Asks for the plan that is shown before somebody is asked; a repeat may have none left to show."""

from __future__ import annotations

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
)

T = TypeVar("T")
# How a plan is refused of what was done: it left nothing to do.
_NOTHING_LEFT = (NotFound, NothingPaused, NothingSelected, RuleNotActive, RulesAmbiguous)


def planned(session: Session, call: Call[T]) -> T | None:
    """Return a plan; None for a repeat without one that is to be sent all the same.

    Only the server knows whether a request was done before. Raises what the call does.
    """
    try:
        return session.client.send(call)
    except Refused as none:
        if not (session.mutation.may_repeat and isinstance(none, _NOTHING_LEFT)):
            raise
        session.asking.line(f"{none.message}, unless it was done before")
        session.confirm("send it all the same?")
        return None
