"""The fast path of a report: completes steps and enqueues the next ones by one statement.

Without a transaction: most outcomes that come one by one are such, and a round trip is felt.
"""

from __future__ import annotations

from zart_server.domain.dispatch import Completed
from zart_server.domain.model import AttemptStatus
from zart_server.engine.dispatch.enqueue import names_of_ready, rows_of
from zart_server.engine.dispatch.outcome_batch import Ended, OutcomeBatch, Recorded, conclude
from zart_server.engine.dispatch.ready_steps import ReadySteps
from zart_server.store.connection import Autocommit
from zart_server.store.end_leases import Verdict, end_and_enqueue
from zart_server.store.pausing.judging import judge

_FEW = 50


async def complete_fast(connection: Autocommit, batch: OutcomeBatch) -> Recorded | None:
    """Record completed steps.

    Return None, having done nothing, if the general path is needed: a step failed or belongs to a
    rerun, or to a run of which a step was ended by hand; a dependant waits for other steps too; two
    report the same step, of whom one does not hold its lease;
    another transaction has locked a run; the pause rules have changed; or the steps are many, or
    those that they make ready, which would keep a Pause waiting, since the pause lock is taken
    before the leases end. Locks the runs, then the pause lock, then the leases.
    """
    firsts = batch.firsts
    lasts = _lasts(batch) if 0 < len(firsts) <= _FEW and not batch.is_wide else None
    if lasts is None:
        return None
    ready_steps = ReadySteps(batch.runs, batch.definitions, batch.outcomes)
    verdicts = []
    for lease, n in firsts.items():
        ending = batch.outcomes[n].ending
        if not isinstance(ending, Completed):
            return None
        verdicts.append(Verdict(lease, AttemptStatus.COMPLETED, ending.result_json))
        ready_steps.completed(lease.run_key, lease.step_no, ending.result_json, n)
    judgement = await judge(connection, names_of_ready(ready_steps.ready))
    indexes = {n: index for index, n in enumerate(firsts.values(), 1)}
    ready = rows_of(ready_steps.ready, judgement)
    ready.after = [indexes[n] for n in ready_steps.after]
    done = await end_and_enqueue(connection, verdicts, lasts, ready)
    if done is None:
        return None
    ended = {n for lease, n in firsts.items() if (lease.run_key, lease.step_no) in done.ended}
    seconds_of: dict[str, list[float]] = {}
    for (run_key, _), seconds in done.ended.items():
        seconds_of.setdefault(batch.task_of(run_key), []).append(seconds)
    took: Ended = {(task, AttemptStatus.COMPLETED): all_ for task, all_ in seconds_of.items()}
    of_ready = judgement.beside(ready_steps.ready)
    for n, (item, rule) in zip(ready_steps.after, of_ready, strict=True):
        if n in ended and rule is None:
            item.announce(connection)
    completed = [lease for lease, n in firsts.items() if n in ended]
    leased = ready_steps.leased(done.leases)
    return await conclude(connection, batch, ended, completed, took, leased, is_committed=True)


def _lasts(batch: OutcomeBatch) -> list[int] | None:
    """Return the indexes, from 1, of the last steps of runs; None: the fast path will not do."""
    if len({lease[:2] for lease in batch.firsts}) < len(batch.firsts):
        return None  # what has ended is told by step, not by who reported it
    lasts = []
    for index, (run_key, step_no, _, _) in enumerate(batch.firsts, 1):
        run = batch.runs[run_key]
        graph = batch.definitions[run.definition_key].graph
        after = graph.dependants[step_no]
        if run.is_rerun:  # what is preserved lets later steps run before earlier ones
            return None
        if graph.sinks == (step_no,):
            # All others lead to it, so all of them are completed.
            lasts.append(index)
        elif not after or any(len(graph.depends_on[dep]) > 1 for dep in after):
            return None
    return lasts
