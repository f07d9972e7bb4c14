"""AdminService: each handler decodes, opens one transaction, calls the engine, encodes."""

from __future__ import annotations

from zart.v1 import admin_service_pb2 as pb
from zart.v1 import admin_service_pb2_grpc
from zart_server.api import decode_admin as decode
from zart_server.api import encode
from zart_server.api.checks import Checks, with_caller
from zart_server.api.context import Context
from zart_server.api.fields import name_of
from zart_server.api.mutations.batched import Batched
from zart_server.api.mutations.single import Mutations
from zart_server.api.page_tokens import encode_cursor, page_of
from zart_server.api.reading import Reading
from zart_server.aside import decoded
from zart_server.domain.commands import (
    Caller,
    Rerun,
    Rerunned,
    RerunPlan,
    Restart,
    Restarted,
    RetriedStep,
    RetryStep,
)
from zart_server.domain.errors import ZartError
from zart_server.engine.operations import pause, resume
from zart_server.engine.operations.rerun import rerun
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.store import reads
from zart_server.store.db import Database, Tx

_PAUSE_LOCK = "\0pause lock"  # no execution is called so


class AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Operates executions."""

    def __init__(self, db: Database, mutations: Mutations, reading: Reading) -> None:
        self._db = db
        self._reading = reading
        self._mutations = mutations
        self._retries = Batched(
            mutations, pb.RetryStepResponse, retry_steps, _retried, _execution_id
        )
        self._restarts = Batched(mutations, pb.RestartResponse, restart, _restarted, _execution_id)
        self._reruns = Batched(mutations, pb.RerunResponse, rerun, _rerunned, _execution_id)

    async def RetryStep(  # noqa: N802 - the proto's name
        self, request: pb.RetryStepRequest, context: Context
    ) -> pb.RetryStepResponse:
        """Revive a dead step."""
        return await self._retries.run(
            request, *await decoded(with_caller, decode.retry_step, request)
        )

    async def Restart(  # noqa: N802 - the proto's name
        self, request: pb.RestartRequest, context: Context
    ) -> pb.RestartResponse:
        """Create the next run from scratch."""
        return await self._restarts.run(
            request, *await decoded(with_caller, decode.restart, request)
        )

    async def Rerun(  # noqa: N802 - the proto's name
        self, request: pb.RerunRequest, context: Context
    ) -> pb.RerunResponse:
        """Create the next run with some results carried over, or only plan it."""
        command, caller = await decoded(with_caller, decode.rerun, request)
        if not command.validate_only:
            return await self._reruns.run(request, command, caller)
        # It changes nothing, so there is nothing to remember.
        plan = await _plan(self._db, command, caller, wait=False)
        if plan is None:
            async with self._mutations.room.turn(command.execution_id):
                plan = await _plan(self._db, command, caller, wait=True)
        if isinstance(plan, ZartError) or plan is None:
            raise plan or LookupError("a lock that was waited for was not got")
        return _rerunned(plan)

    async def ListRuns(  # noqa: N802 - the proto's name
        self, request: pb.ListRunsRequest, context: Context
    ) -> pb.ListRunsResponse:
        """List the runs of an execution."""
        with Checks() as check:
            execution_id = check(name_of, request.execution_id, "execution_id")
            size, cursor = check(page_of, request)
        async with self._reading.transaction() as tx:
            page = await reads.list_runs(tx, execution_id, cursor, size)
        return pb.ListRunsResponse(
            runs=map(encode.run, page.items),
            next_page_token=encode_cursor(request, page.next_cursor),
        )

    async def Pause(  # noqa: N802 - the proto's name
        self, request: pb.PauseRequest, context: Context
    ) -> pb.PauseResponse:
        """Add a pause rule, and count what it withholds once it does."""
        command, caller = with_caller(decode.pause, request)

        async def operate(tx: Tx) -> pb.PauseResponse:
            rule = await pause.pause(tx, command, caller, self._mutations.patience)
            return pb.PauseResponse(rule=encode.pause_rule(rule))

        async def complete(tx: Tx, response: pb.PauseResponse) -> None:
            counts = await pause.count_paused(tx, response.rule.rule_id)
            response.paused_steps = counts.paused_steps
            response.paused_steps_is_lower_bound = counts.is_lower_bound
            response.running_steps = counts.running_steps

        return await self._mutations.run(
            request, pb.PauseResponse, operate, complete, target=_PAUSE_LOCK, at_once=False
        )

    async def Resume(  # noqa: N802 - the proto's name
        self, request: pb.ResumeRequest, context: Context
    ) -> pb.ResumeResponse:
        """Delete pause rules."""
        command, caller = with_caller(decode.resume, request)

        async def operate(tx: Tx) -> pb.ResumeResponse:
            done = await resume.resume(tx, command, caller, self._mutations.patience)
            return pb.ResumeResponse(
                rules_deleted=done.rules_deleted,
                rules=map(encode.pause_rule, done.rules),
                released_steps=done.released_steps,
                released_steps_is_lower_bound=done.is_lower_bound,
                still_paused_steps=done.still_paused_steps,
            )

        return await self._mutations.run(
            request, pb.ResumeResponse, operate, target=_PAUSE_LOCK, at_once=False
        )

    async def ListPauseRules(  # noqa: N802 - the proto's name
        self, request: pb.ListPauseRulesRequest, context: Context
    ) -> pb.ListPauseRulesResponse:
        """List pause rules."""
        with Checks() as check:
            scope = check(decode.scope_of, request)
            size, cursor = check(page_of, request)
        async with self._reading.transaction() as tx:
            page = await reads.list_pause_rules(tx, scope, request.include_deleted, cursor, size)
        return pb.ListPauseRulesResponse(
            rules=map(encode.pause_rule, page.items),
            next_page_token=encode_cursor(request, page.next_cursor),
        )


async def _plan(
    db: Database, command: Rerun, caller: Caller, *, wait: bool
) -> Rerunned | ZartError | None:
    async with db.transaction() as tx:
        [plan] = await rerun(tx, [(command, caller)], wait=wait)
    return plan


def _execution_id(command: RetryStep | Restart | Rerun) -> str:
    return command.execution_id


def _retried(done: RetriedStep) -> pb.RetryStepResponse:
    step = encode.step(done.step)
    step.ClearField("result_json")
    step.ClearField("input_json")
    return pb.RetryStepResponse(new_task_id=done.task_id, run_id=done.run_id, step=step)


def _restarted(done: Restarted) -> pb.RestartResponse:
    return pb.RestartResponse(
        new_run_id=done.run.run_id,
        new_run_number=done.run.run_number,
        run=encode.run(done.run),
        fenced_steps=map(encode.fenced_step, done.fenced_steps),
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
