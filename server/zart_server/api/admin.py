"""AdminService: a handler runs its mutation, or decodes, reads in one transaction, and encodes."""

from __future__ import annotations

from zart.v1 import admin_service_pb2 as pb
from zart.v1 import admin_service_pb2_grpc
from zart_server.api import decode_admin as decode
from zart_server.api import encode
from zart_server.api.checks import Checks
from zart_server.api.context import Context
from zart_server.api.fields import name_of
from zart_server.api.mutations.admin import (
    RERUN,
    RESTART,
    RETRY_STEP,
    pause_mutation,
    resume_mutation,
)
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.page_tokens import encode_cursor, page_of
from zart_server.api.reading import Reading
from zart_server.aside import decoded
from zart_server.domain.commands import Caller, Rerun, Rerunned
from zart_server.domain.errors import ZartError
from zart_server.engine.operations.rerun import rerun
from zart_server.store import reads
from zart_server.store.db import Database


class AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Operates executions."""

    def __init__(self, db: Database, mutations: Mutations, reading: Reading) -> None:
        self._db = db
        self._reading = reading
        self._mutations = mutations
        self._pause = pause_mutation(mutations.patience)
        self._resume = resume_mutation(mutations.patience)

    async def RetryStep(  # noqa: N802 - the proto's name
        self, request: pb.RetryStepRequest, context: Context
    ) -> pb.RetryStepResponse:
        """Revive a dead step."""
        return await self._mutations.run(RETRY_STEP, request)

    async def Restart(  # noqa: N802 - the proto's name
        self, request: pb.RestartRequest, context: Context
    ) -> pb.RestartResponse:
        """Create the next run from scratch."""
        return await self._mutations.run(RESTART, request)

    async def Rerun(  # noqa: N802 - the proto's name
        self, request: pb.RerunRequest, context: Context
    ) -> pb.RerunResponse:
        """Create the next run with some results carried over, or only plan it."""
        if not request.validate_only:
            return await self._mutations.run(RERUN, request)
        # It changes nothing, so there is nothing to remember.
        command, caller = await decoded(RERUN.decode, request)
        plan = await _plan(self._db, command, caller, wait=False)
        if plan is None:
            async with self._mutations.room.turn(command.execution_id):
                plan = await _plan(self._db, command, caller, wait=True)
        if isinstance(plan, ZartError) or plan is None:
            raise plan or LookupError("a lock that was waited for was not got")
        return RERUN.encode(plan)

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
        return await self._mutations.run(self._pause, request)

    async def Resume(  # noqa: N802 - the proto's name
        self, request: pb.ResumeRequest, context: Context
    ) -> pb.ResumeResponse:
        """Delete pause rules."""
        return await self._mutations.run(self._resume, request)

    async def GetPauseRule(  # noqa: N802 - the proto's name
        self, request: pb.GetPauseRuleRequest, context: Context
    ) -> pb.GetPauseRuleResponse:
        """Return a pause rule."""
        rule_id = name_of(request.rule_id, "rule_id")
        async with self._reading.transaction() as tx:
            rule = await reads.get_pause_rule(tx, rule_id)
        return pb.GetPauseRuleResponse(rule=encode.pause_rule(rule))

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
