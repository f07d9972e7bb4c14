"""The mutations of AdminService, each with what the engine does for it."""

from __future__ import annotations

from functools import partial

from zart.v1 import admin_service_pb2 as pb
from zart.v1.pause_rule_pb2 import PauseRule as PauseRuleMessage
from zart_server.api import decode_admin as decode
from zart_server.api import encode, encode_step
from zart_server.api.checks import with_caller
from zart_server.api.mutations.mutation import Grouping, InLine, Mutation
from zart_server.api.pages import first_that_fit
from zart_server.domain.commands import (
    Caller,
    Pause,
    PauseCounts,
    Rerun,
    Rerunned,
    Restart,
    Restarted,
    Resume,
    Resumed,
    RetriedStep,
    RetryStep,
    UpdatedPauseRule,
    UpdatePauseRule,
)
from zart_server.domain.graph import MAX_STEPS
from zart_server.domain.model import PauseRule
from zart_server.domain.pacing import StopRelease
from zart_server.domain.pause_plans import Paused
from zart_server.domain.rerun import RerunPlan
from zart_server.engine.operations.pause import count_paused, pause, warn
from zart_server.engine.operations.plan_pause import plan_pause
from zart_server.engine.operations.release import stop
from zart_server.engine.operations.rerun import rerun
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.resume import plan_resume, resume
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.engine.operations.update_pause_rule import plan_update, update_pause_rule
from zart_server.store import reads
from zart_server.store.connection import Autocommit, Tx

PAUSE_LOCK = "\0pause lock"  # no execution is called so


def _execution_id(command: RetryStep | Restart | Rerun) -> str:
    return command.execution_id


def _pause_lock(_command: Pause | UpdatePauseRule | Resume | StopRelease) -> str:
    return PAUSE_LOCK


def _retried(done: RetriedStep) -> pb.RetryStepResponse:
    step = encode_step.step(done.step)
    step.ClearField("result_json")
    step.ClearField("input_json")
    return pb.RetryStepResponse(
        new_task_id="" if done.plan_token else done.task_id,
        run_id=done.run_id,
        step=step,
        plan_token=done.plan_token,
        planned=bool(done.plan_token),
    )


RETRY_STEP = Mutation(
    response_type=pb.RetryStepResponse,
    decode=with_caller(decode.retry_step),
    operate=retry_steps,
    encode=_retried,
    target=_execution_id,
)


def _restarted(done: Restarted) -> pb.RestartResponse:
    return pb.RestartResponse(
        new_run_id="" if done.plan_token else done.run.run_id,
        new_run_number=done.run.run_number,
        run=encode.run(done.run),
        fenced_steps=map(encode.fenced_step, done.fenced_steps),
        plan_token=done.plan_token,
        planned=bool(done.plan_token),
    )


RESTART = Mutation(
    response_type=pb.RestartResponse,
    decode=with_caller(decode.restart),
    operate=partial(restart, most_steps=MAX_STEPS),
    encode=_restarted,
    target=_execution_id,
)


def _rerunned(done: Rerunned) -> pb.RerunResponse:
    return pb.RerunResponse(
        new_run_id="" if done.plan_token else done.new_run_id,
        new_run_number=done.new_run_number,
        effective_rerun=done.plan.effective_rerun,
        preserved=done.plan.preserved,
        potentially_stale=_stale(done.plan),
        fenced_steps=map(encode.fenced_step, done.fenced_steps),
        plan_token=done.plan_token,
        planned=bool(done.plan_token),
    )


def _stale(plan: RerunPlan) -> list[pb.PotentiallyStale]:
    return [
        pb.PotentiallyStale(
            preserved_step=stale.step_name,
            possibly_depends_on=stale.causes,
            omitted=stale.omitted,
            depends_on_payload=stale.depends_on_payload,
        )
        for stale in plan.potentially_stale
    ]


RERUN = Mutation(
    response_type=pb.RerunResponse,
    decode=with_caller(decode.rerun),
    operate=partial(rerun, most_steps=MAX_STEPS),
    encode=_rerunned,
    target=_execution_id,
)


def pause_mutation(
    within: float,
) -> Mutation[pb.PauseRequest, Pause, Paused, pb.PauseResponse]:
    """Return Pause; the pause lock has to be had ``within`` these seconds."""

    async def operate(connection: Autocommit, command: Pause, caller: Caller) -> tuple[Tx, Paused]:
        return await pause(connection, command, caller, within)

    return Mutation(
        response_type=pb.PauseResponse,
        decode=with_caller(decode.pause),
        operate=InLine(operate, plan_pause),
        encode=_paused,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
        complete=_count_paused,
        is_whole=False,
    )


def _paused(done: Paused) -> pb.PauseResponse:
    plan = done.plan
    if plan is None:
        return pb.PauseResponse(rule=encode.pause_rule(done.rule))
    radius = plan.radius
    rule = encode.pause_rule(done.rule)
    rule.ClearField("created_at")  # it is not there
    _tell_counts(rule, radius.counts)
    return pb.PauseResponse(
        rule=rule,
        paused_steps=radius.counts.paused_steps,
        paused_steps_is_lower_bound=radius.counts.is_lower_bound,
        running_steps=radius.counts.running_steps,
        warnings=encode.pause_warnings(plan.warnings),
        planned=True,
        plan_token=plan.plan_token,
        executions=radius.executions,
        executions_is_lower_bound=radius.executions_is_lower_bound,
        oldest_ready_at=encode.timestamp(radius.oldest_ready_at),
        sample_execution_ids=radius.sample_execution_ids,
    )


async def _count_paused(connection: Autocommit, response: pb.PauseResponse) -> None:
    warnings = await warn(connection, response.rule.rule_id)
    response.warnings.extend(encode.pause_warnings(warnings))
    counts = await count_paused(connection, response.rule.rule_id)
    response.paused_steps = counts.paused_steps
    response.paused_steps_is_lower_bound = counts.is_lower_bound
    response.running_steps = counts.running_steps
    _tell_counts(response.rule, counts)


def _tell_counts(rule: PauseRuleMessage, counts: PauseCounts) -> None:
    rule.paused_steps = counts.paused_steps
    rule.paused_steps_is_lower_bound = counts.is_lower_bound
    rule.running_steps = counts.running_steps


def update_pause_rule_mutation(
    within: float,
) -> Mutation[
    pb.UpdatePauseRuleRequest, UpdatePauseRule, UpdatedPauseRule, pb.UpdatePauseRuleResponse
]:
    """Return UpdatePauseRule; the pause lock has to be had ``within`` these seconds."""

    async def operate(
        connection: Autocommit, command: UpdatePauseRule, caller: Caller
    ) -> tuple[Tx, UpdatedPauseRule]:
        return await update_pause_rule(connection, command, caller, within)

    return Mutation(
        response_type=pb.UpdatePauseRuleResponse,
        decode=with_caller(decode.update_pause_rule),
        operate=InLine(operate, plan_update),
        encode=_updated,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
        complete=_count,
        is_whole=False,
    )


def _updated(done: UpdatedPauseRule) -> pb.UpdatePauseRuleResponse:
    return pb.UpdatePauseRuleResponse(
        rule=encode.pause_rule(done.rule),
        released_steps=done.released_steps,
        withheld_again_steps=done.withheld_again_steps,
        warnings=[
            encode.no_such_execution(f"add_exempt_execution_ids[{place}]", execution_id)
            for place, execution_id in done.unknown.items()
        ],
        plan_token=done.plan_token,
        planned=bool(done.plan_token),
    )


async def _count(
    connection: Autocommit, response: pb.UpdatePauseRuleResponse | pb.StopReleaseResponse
) -> None:
    rule = await reads.get_pause_rule(await connection.begin(), response.rule.rule_id)
    counts = rule.counts
    _tell_counts(
        response.rule, PauseCounts(counts.paused, counts.paused_is_lower_bound, counts.running)
    )


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
        operate=InLine(operate, plan_resume),
        encode=_resumed,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
    )


def _resumed(done: Resumed) -> pb.ResumeResponse:
    return pb.ResumeResponse(
        rules_deleted=done.rules_deleted,
        rules=first_that_fit(done.rules, encode.pause_rule),
        released_steps=done.released_steps,
        released_steps_is_lower_bound=done.is_lower_bound,
        still_paused_steps=done.still_paused_steps,
        planned=bool(done.plan_token),
        plan_token=done.plan_token,
        still_releasing_rules=done.still_releasing_rules,
    )


def stop_release_mutation(
    within: float,
) -> Mutation[pb.StopReleaseRequest, StopRelease, PauseRule, pb.StopReleaseResponse]:
    """Return StopRelease; the pause lock has to be had ``within`` these seconds."""

    async def operate(
        connection: Autocommit, command: StopRelease, caller: Caller
    ) -> tuple[Tx, PauseRule]:
        return await stop(connection, command, caller, within)

    return Mutation(
        response_type=pb.StopReleaseResponse,
        decode=with_caller(decode.stop_release),
        operate=InLine(operate),
        encode=_stopped,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
        complete=_count,
        is_whole=False,
    )


def _stopped(rule: PauseRule) -> pb.StopReleaseResponse:
    return pb.StopReleaseResponse(rule=encode.pause_rule(rule))
