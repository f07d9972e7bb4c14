"""Who stopped a batch: told, and asked about before it goes on against what that person did."""

from __future__ import annotations

from zart.calls import batch as calls
from zart.cli.planning import planned, was_done
from zart.cli.render import when
from zart.cli.session import Session
from zart.models import Batch, BatchPauseCause, OperationKind


def stop_of(b: Batch) -> str:
    """Write when somebody stopped a batch, who, and why; empty: nobody did, or none knows who."""
    stop = b.stop
    if stop is None:
        return ""
    incident = f" ({stop.incident})" if stop.incident not in ("", b.incident) else ""
    reason = f": {stop.reason}" if stop.reason else ""
    return f"{when(stop.stopped_at)}, by {stop.stopped_by or 'nobody named'}{reason}{incident}"


def advise_paused(session: Session, b: Batch) -> None:
    """Say of a batch that was followed that it is paused, and what comes next.

    What another person paused is looked at first: who follows it may not know why.
    """
    stop = b.stop
    is_own = stop is not None and (stop.stopped_by, stop.principal) == (b.created_by, b.principal)
    if b.pause_cause is BatchPauseCause.OPERATOR and not is_own:
        who = "somebody" if stop is None else stop.stopped_by or "somebody"
        session.advise(
            f"{who} has paused {b.batch_id}: ask before it goes on; this tells how it stands",
            "batch", "show", b.batch_id,
        )  # fmt: skip
        return
    session.advise(f"{b.batch_id} is paused; this has it go on", "batch", "resume", b.batch_id)


def confirm_going_on(session: Session, batch_id: str) -> None:
    """Ask before a batch goes on that somebody else has paused; a repeat that was done is not.

    Raises BadParameter where nobody would see the question, and typer.Abort unless it is yes.
    """
    found = planned(session, calls.get_batch(batch_id), OperationKind.RESUME_BATCH)
    if found is None or found.pause_cause is not BatchPauseCause.OPERATOR:
        return
    if found.stop is not None and found.stop.stopped_by == session.mutation.triggered_by:
        return
    if was_done(session, OperationKind.RESUME_BATCH):
        return
    who = stop_of(found) or "by somebody, of whom there is no record any more"
    session.asking.line(f"{batch_id} was paused {who}")
    session.confirm("have it go on?")
