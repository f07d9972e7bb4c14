"""The mutations of AdminService, each with what the engine does for it."""

from __future__ import annotations

from zart.v1 import admin_service_pb2 as pb
from zart_server.api import decode_admin as decode
from zart_server.api import encode, encode_step
from zart_server.api.checks import with_caller
from zart_server.api.mutations.mutation import Grouping, InLine, Mutation
from zart_server.domain.commands import (
    Caller,
    Pause,
    Rerun,
    Rerunned,
    RerunPlan,
    Restart,
    Restarted,
    Resume,
    Resumed,
    RetriedStep,
    RetryStep,
)
from zart_server.domain.model import PauseRule
from zart_server.engine.operations.pause import count_paused, pause
from zart_server.engine.operations.rerun import rerun
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.resume import resume
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.store.connection import Autocommit, Tx

_PAUSE_LOCK = "\0pause lock"  # no execution is called so


def _execution_id(command: RetryStep | Restart | Rerun) -> str:
    return command.execution_id


def _pause_lock(_command: Pause | Resume) -> str:
    return _PAUSE_LOCK


def _retried(done: RetriedStep) -> pb.RetryStepResponse:
    step = encode_step.step(done.step)
    step.ClearField("result_json")
    step.ClearField("input_json")
    return pb.RetryStepResponse(new_task_id=done.task_id, run_id=done.run_id, step=step)


RETRY_STEP = Mutation(
    response_type=pb.RetryStepResponse,
    decode=with_caller(decode.retry_step),
    operate=retry_steps,
    encode=_retried,
    target=_execution_id,
)


def _restarted(done: Restarted) -> pb.RestartResponse:
    return pb.RestartResponse(
        new_run_id=done.run.run_id,
        new_run_number=done.run.run_number,
        run=encode.run(done.run),
        fenced_steps=map(encode.fenced_step, done.fenced_steps),
    )


RESTART = Mutation(
    response_type=pb.RestartResponse,
    decode=with_caller(decode.restart),
    operate=restart,
    encode=_restarted,
    target=_execution_id,
)


def _rerunned(done: Rerunned) -> pb.RerunResponse:
    return pb.RerunResponse(
        new_run_id=done.new_run_id,
        new_run_number=done.new_run_number,
        effective_rerun=done.plan.effective_rerun,
        preserved=done.plan.preserved,
        potentially_stale=_stale(done.plan),
        fenced_steps=map(encode.fenced_step, done.fenced_steps),
        plan_token=done.plan_token,
    )


def _stale(plan: RerunPlan) -> list[pb.PotentiallyStale]:
    return [
        pb.PotentiallyStale(
            preserved_step=stale.step_name,
            possibly_depends_on=stale.causes,
            omitted=stale.omitted,
        )
        for stale in plan.potentially_stale
    ]


RERUN = Mutation(
    response_type=pb.RerunResponse,
    decode=with_caller(decode.rerun),
    operate=rerun,
    encode=_rerunned,
    target=_execution_id,
)


def pause_mutation(
    within: float,
) -> Mutation[pb.PauseRequest, Pause, PauseRule, pb.PauseResponse]:
    """Return Pause; the pause lock has to be had ``within`` these seconds."""

    async def operate(
        connection: Autocommit, command: Pause, caller: Caller
    ) -> tuple[Tx, PauseRule]:
        return await pause(connection, command, caller, within)

    return Mutation(
        response_type=pb.PauseResponse,
        decode=with_caller(decode.pause),
        operate=InLine(operate),
        encode=_paused,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
        complete=_count_paused,
        is_whole=False,
    )


def _paused(rule: PauseRule) -> pb.PauseResponse:
    return pb.PauseResponse(rule=encode.pause_rule(rule))


async def _count_paused(connection: Autocommit, response: pb.PauseResponse) -> None:
    counts = await count_paused(connection, response.rule.rule_id)
    response.paused_steps = counts.paused_steps
    response.paused_steps_is_lower_bound = counts.is_lower_bound
    response.running_steps = counts.running_steps


def resume_mutation(
    within: float,
) -> Mutation[pb.ResumeRequest, Resume, Resumed, pb.ResumeResponse]:
    """Return Resume; the pause lock has to be had ``within`` these seconds."""

    async def operate(
        connection: Autocommit, command: Resume, caller: Caller
    ) -> tuple[Tx, Resumed]:
        return await resume(connection, command, caller, within)

    return Mutation(
        response_type=pb.ResumeResponse,
        decode=with_caller(decode.resume),
        operate=InLine(operate),
        encode=_resumed,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
    )


def _resumed(done: Resumed) -> pb.ResumeResponse:
    return pb.ResumeResponse(
        rules_deleted=done.rules_deleted,
        rules=map(encode.pause_rule, done.rules),
        released_steps=done.released_steps,
        released_steps_is_lower_bound=done.is_lower_bound,
        still_paused_steps=done.still_paused_steps,
    )
