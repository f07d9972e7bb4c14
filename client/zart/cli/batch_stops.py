"""Who stopped a batch: told, and asked about before it goes on against what that person did."""

from __future__ import annotations

from zart.cli.planning import was_done
from zart.cli.render import when
from zart.cli.session import Session
from zart.models import Batch, BatchPauseCause, BatchStatus, BatchStop, OperationKind


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

    It is looked for among those that are paused: GetBatch counts what became of all its items.
    What is not there is left to the server. Where nothing tells who paused it, as by a server that
    tells that of no batch, nobody is asked. Raises BadParameter where nobody would see the
    question, and typer.Abort unless it is yes.
    """
    paused = session.client.list_batches(statuses=[BatchStatus.PAUSED])
    found = next((each for each in paused if each.batch_id == batch_id), None)
    if found is None or found.stop is None or _is_own(session, found, found.stop):
        return
    if was_done(session, OperationKind.RESUME_BATCH):
        return
    identity = f"; identity {found.stop.principal}" if found.stop.principal else ""
    session.asking.line(f"{batch_id} was paused {stop_of(found)}{identity}")
    session.confirm("have it go on?")


def _is_own(session: Session, b: Batch, stop: BatchStop) -> bool:
    """Return whether who stopped a batch is who asks, by all that is known of that person.

    Whom the server verifies it to be is known where it created the batch.
    """
    me = session.mutation.triggered_by
    return stop.stopped_by == me and (b.created_by != me or stop.principal == b.principal)
