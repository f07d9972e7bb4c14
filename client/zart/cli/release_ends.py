"""How a release that was followed has ended: all steps went at its pace, or somebody stepped in."""

from __future__ import annotations

from zart.cli.render import when
from zart.cli.session import Session
from zart.cli.values import counted, written_rate
from zart.errors import Refused, Unreachable
from zart.models import Operation, OperationKind, PauseRule, PauseRuleRelease, PauseRuleStatus

_ENDINGS = (
    OperationKind.RELEASE_END,
    OperationKind.STOP_RELEASE,
    OperationKind.BREAKER_OPENED,
    OperationKind.RESUME,
    OperationKind.EXPIRE,
)
_DID = {
    OperationKind.STOP_RELEASE: "the release was stopped",
    OperationKind.BREAKER_OPENED: "its breaker was opened again",
    OperationKind.RESUME: "the rest was let go at once",
    OperationKind.EXPIRE: "its time was up, and the rest went at once",
}


def tell_end(session: Session, last: PauseRule, rule: PauseRule) -> bool:
    """Say how a release has ended, and what goes on with it; return whether that is as asked.

    ``last`` is the rule as it was releasing last, ``rule`` as it is now.
    """
    release = last.release if rule.release is None else rule.release
    went = counted(0 if release is None else release.released_steps, "step")
    how = _ending_of(session, rule.rule_id)
    if _is_as_asked(rule, release, how):
        session.print(f"{rule.rule_id} is {rule.status}, {went} released")
        return True
    what = "the release was ended" if how is None else _DID.get(how.kind, "the release was ended")
    who = _by(rule.deleted_by, "", "") if how is None else _by_whom(how)
    is_standing = rule.deleted_at is None
    kept = rule if is_standing else last
    left = f"{kept.paused_steps}{'+' * kept.paused_steps_is_lower_bound}"
    stays = f"it withholds {left}" if is_standing else f"it withheld {left} more when last seen"
    session.print(
        f"{rule.rule_id} is {rule.status}: {what}{who}", f"{went} released at the pace; {stays}"
    )
    if is_standing and release is not None:
        rate = f"{written_rate(release.rate_per_second)}/s"
        session.advise("this has it go on", "resume", "--rule-id", rule.rule_id, "--rate", rate)
    return False


def _ending_of(session: Session, rule_id: str) -> Operation | None:
    """Return by what a release has ended, the last that is on record; None: it cannot be told."""
    try:
        made = session.client.list_operations(rule_id=rule_id, kinds=_ENDINGS)
        return next((each for each in made if not _lets_some_go(each)), None)
    except (Refused, Unreachable, TimeoutError):  # how it stands is told all the same
        return None


def _lets_some_go(operation: Operation) -> bool:
    """Return whether it is a canary, or begins a release or gives it another pace."""
    made = operation.made
    is_resume = operation.kind is OperationKind.RESUME
    return is_resume and made is not None and bool(made.canary or made.rate_per_second)


def _is_as_asked(rule: PauseRule, release: PauseRuleRelease | None, how: Operation | None) -> bool:
    """Return whether all steps went at a pace; where no record tells, by who has ended the rule."""
    if rule.status is not PauseRuleStatus.RESUMED:
        return False
    if how is None:
        return release is not None and release.started_by == rule.deleted_by
    return how.kind is OperationKind.RELEASE_END


def _by_whom(how: Operation) -> str:
    return _by(how.triggered_by, when(how.created_at), how.reason)


def _by(who: str, at: str, reason: str) -> str:
    told = f" by {who}" if who else ""
    return f"{told}{at and ' at '}{at}{reason and ': '}{reason}"
