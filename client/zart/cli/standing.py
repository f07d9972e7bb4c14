"""Tells how a pause rule stands by now that an earlier call of the same request made."""

from __future__ import annotations

from zart.calls import admin
from zart.cli.session import Session
from zart.errors import PauseRuleNotFound, Refused, Unreachable
from zart.models import Paused, PauseRuleStatus


def tell_if_it_ended(session: Session, answer: Paused) -> None:
    """Say so where an answer is of then, and its rule withholds all that it matches no longer."""
    if not (answer.replayed and session.mutation.may_repeat):
        return
    try:
        rule = session.client.send(admin.get_pause_rule(answer.rule_id))
    except PauseRuleNotFound:
        session.tell(f"{answer.rule_id} is no longer there: it withholds nothing now")
        return
    except (Refused, Unreachable, TimeoutError):  # it has been made all the same
        session.tell(f"whether {answer.rule_id} still stands could not be looked up")
        return
    if rule.status is PauseRuleStatus.ACTIVE:
        return
    by = f", by {rule.deleted_by}" if rule.deleted_by else ""
    less = "less and less" if rule.status is PauseRuleStatus.RELEASING else "nothing"
    session.tell(f"{answer.rule_id} is {rule.status} by now{by}: it withholds {less}")
