"""Records a batch of outcomes, one of two ways: the same is recorded either way."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.dispatch import Outcome
from zart_server.engine.dispatch.complete_fast import complete_fast
from zart_server.engine.dispatch.outcome_batch import Recorded, find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.store.connection import Autocommit
from zart_server.store.patience import MOMENT, at_most


async def record_outcomes(
    connection: Autocommit, outcomes: Sequence[Outcome], patience: float = MOMENT
) -> Recorded | None:
    """Record outcomes whose token is current: by the fast path, or else in a transaction.

    Those whose run another transaction has locked are stragglers, and so may be those of an attempt
    that is in doubt. Return None, having done nothing,
    if several may make too many steps ready at once: they are to be recorded in parts. Locks as
    ``complete_fast`` does, or as ``record_in_general``. No lock below the runs is waited for longer
    than ``patience``, in seconds. Raises StoreConflict, having done nothing, where one is held so
    long: as a rule by somebody who has not locked the run.
    """
    batch = await find_batch(connection, outcomes)
    if batch.is_wide and len(outcomes) > 1:
        return None
    done = await complete_fast(connection, batch)
    if done is None:
        tx = await connection.begin(f"BEGIN;{at_most(patience)}")
        done = await record_in_general(tx, batch)
    return done
