"""Starts, operations of executions, and what makes their repeats safe."""

from __future__ import annotations

from hot.explained import Explained
from hot.scenario import BATCH, scenario
from hot.states import MANY
from zart_server.domain.by_hand import CompleteStep, FailStep
from zart_server.domain.commands import (
    Caller,
    CancelExecution,
    Cancelled,
    Rerun,
    Restart,
    RetryStep,
    StartExecution,
)
from zart_server.domain.model import IfExists, IfRunning
from zart_server.domain.operations import OperationKind, OperationStatus
from zart_server.engine.operations.cancel import cancel_executions
from zart_server.engine.operations.complete_step import complete_steps
from zart_server.engine.operations.fail_step import fail_steps
from zart_server.engine.operations.requests import RequestKey, find_answers, store_answers
from zart_server.engine.operations.rerun import rerun
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.engine.operations.start import start_executions
from zart_server.store.executions import Kind, NewExecution
from zart_server.store.lessees import Lessees
from zart_server.store.operation_attempts import OperationAttempt, record_attempts
from zart_server.store.pausing.judging import judge
from zart_server.store.requests import Answered, complete_response
from zart_server.store.runs import differing_payloads, run_exists
from zart_server.store.start_fast import start_fast

CALLER = Caller("tester")
REFUSED = OperationAttempt(OperationStatus.REFUSED, OperationKind.RESTART, CALLER, "x-1")


@scenario()
async def keeping_refusals_on_record(tx: Explained) -> None:
    await record_attempts(tx.alone, [REFUSED] * BATCH)


QUEUED = MANY + 2  # an execution; the one before is held


@scenario(100)
async def starting(tx: Explained) -> None:
    starts = [
        StartExecution(f"new-{n}", "many", "1", None, IfExists.FAIL, CALLER) for n in range(100)
    ]
    results = await start_executions(tx.tx, starts)
    assert {type(result).__name__ for result in results} == {"Execution"}


@scenario(8)
async def starting_at_once(tx: Explained) -> None:
    key, version = await tx.sql.fetchrow(
        "SELECT definition_key, version FROM zart.definitions"
        " WHERE task_name = 'many' AND version = 1"
    )
    judgement = await judge(tx.tx, [])
    kind = Kind("many", key, version, Caller())
    new = [NewExecution(f"new-{n}", kind, "1") for n in range(8)]
    to = Lessees()
    for _ in new:
        to.add(None)
    answers = [
        Answered(RequestKey("", "StartExecution", each.execution_id), b"", b"") for each in new
    ]
    done = await start_fast(tx.alone, new, judgement, to, [False] * len(new), answers)
    assert done.started.keys() == {each.execution_id for each in new}


async def _restart(tx: Explained, first: int) -> None:
    wanted = [
        (Restart(f"x-{n}", None, IfRunning.SUPERSEDE, None), CALLER)
        for n in range(first, first + 20)
    ]
    for wait in (False, True):
        done = await restart(tx.tx, wanted, wait=wait)
        assert {type(result).__name__ for result in done} == {"Restarted"}


@scenario(20)
async def restarting_finished(tx: Explained) -> None:
    await _restart(tx, 1)


@scenario(20)
async def restarting_begun(tx: Explained) -> None:
    await _restart(tx, QUEUED - 1)


@scenario(20)
async def rerunning(tx: Explained) -> None:
    wanted = [
        (Rerun(f"x-{n}", ("b",), (), True, IfRunning.SUPERSEDE, None), CALLER) for n in range(1, 21)
    ]
    done = await rerun(tx.tx, wanted, wait=True)
    assert {type(result).__name__ for result in done} == {"Rerunned"}


@scenario()
async def comparing_payloads(tx: Explained) -> None:
    pairs = {(n, MANY + n) for n in range(1, BATCH + 1)}  # none of these runs has one
    assert await differing_payloads(tx.tx, pairs) == set()


@scenario(20)
async def retrying(tx: Explained) -> None:
    wanted = [(RetryStep(f"x-{n}", "b", None, None, None), CALLER) for n in range(5, 105, 5)]
    done = await retry_steps(tx.tx, wanted, wait=True)
    assert {type(result).__name__ for result in done} == {"RetriedStep"}


@scenario(20)
async def ending_by_hand(tx: Explained) -> None:
    completed = [(CompleteStep(f"x-{n}", "b", "1"), CALLER) for n in range(5, 105, 5)]
    done = await complete_steps(tx.tx, completed, wait=True)
    assert {type(result).__name__ for result in done} == {"EndedStep"}
    failed = [(FailStep(f"x-{n}", "a", "no"), CALLER) for n in (QUEUED, QUEUED - 1)]
    assert {type(one).__name__ for one in await fail_steps(tx.tx, failed, wait=True)} == {
        "EndedStep"
    }


@scenario(1)
async def cancelling(tx: Explained) -> None:
    for n in (QUEUED, QUEUED - 1):
        [cancelled] = await cancel_executions(
            tx.tx, [(CancelExecution(f"x-{n}", None), CALLER)], wait=True
        )
        assert isinstance(cancelled, Cancelled)


@scenario(20)
async def repeating(tx: Explained) -> None:
    keys = [RequestKey("", "Restart", f"{n}") for n in range(2 * MANY - 10, 2 * MANY + 10)]
    known = await find_answers(tx.tx, dict.fromkeys(keys, b""))
    new = [Answered(key, b"", b"response") for key in keys if key not in known]
    await store_answers(tx.tx, new)
    await complete_response(tx.tx, keys[0], b"response")
    assert len(new) == 9


@scenario(1)
async def looking_for_a_run(tx: Explained) -> None:
    assert await run_exists(tx.tx, QUEUED, 0)
