"""AdminService: a handler runs its mutation, or decodes, reads in one transaction, and encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from zart.v1 import admin_service_pb2 as pb
from zart.v1 import admin_service_pb2_grpc
from zart_server import aside
from zart_server.api import decode_admin as decode
from zart_server.api import doubt, encode, encode_receipt
from zart_server.api.checks import Checks
from zart_server.api.context import Context
from zart_server.api.encode_compared import compared_runs
from zart_server.api.fields import name_of
from zart_server.api.mutations.admin import (
    RERUN,
    RESTART,
    RETRY_STEP,
    pause_mutation,
    resume_mutation,
    stop_release_mutation,
    update_pause_rule_mutation,
)
from zart_server.api.mutations.by_hand import COMPLETE_STEP, FAIL_STEP
from zart_server.api.mutations.doubt import RESOLVE_IN_DOUBT
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.page_tokens import page_of
from zart_server.api.pages import add_page
from zart_server.api.reading import Reading
from zart_server.api.verifying import Verifying
from zart_server.domain.commands import Page
from zart_server.engine.background.drains import Drains
from zart_server.engine.background.rule_watches import RuleWatches
from zart_server.store import reads
from zart_server.store.pausing.counting import withheld_steps
from zart_server.store.pausing.rules import active_of

_STEP_BYTES = 200  # about, of a step that is encoded


class AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Operates executions."""

    def __init__(
        self,
        mutations: Mutations,
        reading: Reading,
        drains: Drains,
        rule_watches: RuleWatches,
    ) -> None:
        self._drains = drains
        self._rule_watches = rule_watches
        self._reading = reading
        self._verifying = Verifying(reading)
        self._mutations = mutations
        self._pause = pause_mutation(mutations.patience)
        self._update_pause_rule = update_pause_rule_mutation(mutations.patience)
        self._resume = resume_mutation(mutations.patience)
        self._stop_release = stop_release_mutation(mutations.patience)

    async def RetryStep(
        self, request: pb.RetryStepRequest, context: Context
    ) -> pb.RetryStepResponse:
        """Revive a dead step."""
        return await self._mutations.run(RETRY_STEP, request)

    async def CompleteStep(
        self, request: pb.CompleteStepRequest, context: Context
    ) -> pb.CompleteStepResponse:
        """Complete a step by hand."""
        return await self._mutations.run(COMPLETE_STEP, request)

    async def FailStep(self, request: pb.FailStepRequest, context: Context) -> pb.FailStepResponse:
        """Fail a step by hand."""
        return await self._mutations.run(FAIL_STEP, request)

    async def Restart(self, request: pb.RestartRequest, context: Context) -> pb.RestartResponse:
        """Create the next run from scratch."""
        return await self._mutations.run(RESTART, request)

    async def Rerun(self, request: pb.RerunRequest, context: Context) -> pb.RerunResponse:
        """Create the next run with some results carried over."""
        return await self._mutations.run(RERUN, request)

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """List the runs of an execution."""
        with Checks() as check:
            execution_id = check(name_of, request.execution_id, "execution_id")
            size, cursor = check(page_of, request)
        async with self._reading.transaction(snapshot=True) as tx:
            page = await reads.list_runs(tx, execution_id, cursor, size)
        response = pb.ListRunsResponse()
        response.next_page_token = await add_page(request, page, encode.run, response.runs.append)
        return response

    async def CompareRuns(
        self, request: pb.CompareRunsRequest, context: Context
    ) -> pb.CompareRunsResponse:
        """Return two runs side by side."""
        wanted = decode.compare_runs(request)
        async with self._reading.transaction(snapshot=True) as tx:
            found = await reads.compare_runs(tx, *wanted)
        return await aside.done(_STEP_BYTES * len(found.steps), compared_runs, found)

    async def ListInDoubt(
        self, request: pb.ListInDoubtRequest, context: Context
    ) -> pb.ListInDoubtResponse:
        """List attempts in doubt."""
        with Checks() as check:
            wanted = check(doubt.doubts_wanted, request)
            size, cursor = check(page_of, request)
        async with self._reading.connection() as connection:
            page = await reads.list_in_doubt(connection, wanted, cursor, size)
        response = pb.ListInDoubtResponse()
        response.next_page_token = await add_page(
            request, page, doubt.attempt, response.items.append
        )
        return response

    async def ResolveInDoubt(
        self, request: pb.ResolveInDoubtRequest, context: Context
    ) -> pb.ResolveInDoubtResponse:
        """Record what was found out about an attempt in doubt."""
        return await self._mutations.run(RESOLVE_IN_DOUBT, request)

    async def Pause(self, request: pb.PauseRequest, context: Context) -> pb.PauseResponse:
        """Add a pause rule, and count what it withholds once it does."""
        return await self._mutations.run(self._pause, request)

    async def UpdatePauseRule(
        self, request: pb.UpdatePauseRuleRequest, context: Context
    ) -> pb.UpdatePauseRuleResponse:
        """Change whom a pause rule exempts, and when it ends."""
        return await self._mutations.run(self._update_pause_rule, request)

    async def Resume(self, request: pb.ResumeRequest, context: Context) -> pb.ResumeResponse:
        """Delete pause rules, or have one let steps go at a pace."""
        return await self._mutations.run(self._resume, request)

    async def StopRelease(
        self, request: pb.StopReleaseRequest, context: Context
    ) -> pb.StopReleaseResponse:
        """Have a releasing rule withhold again whatever it matches."""
        return await self._mutations.run(self._stop_release, request)

    async def GetPauseRule(
        self, request: pb.GetPauseRuleRequest, context: Context
    ) -> pb.GetPauseRuleResponse:
        """Return a pause rule."""
        rule_id = name_of(request.rule_id, "rule_id")
        async with self._reading.transaction(snapshot=True) as tx:
            rule = await reads.get_pause_rule(tx, rule_id)
        return pb.GetPauseRuleResponse(rule=encode.pause_rule(rule))

    async def VerifyPauseRule(
        self, request: pb.VerifyPauseRuleRequest, context: Context
    ) -> pb.VerifyPauseRuleResponse:
        """Return the receipt of a pause rule."""
        with Checks() as check:
            rule_id = check(name_of, request.rule_id, "rule_id")
        return encode_receipt.receipt(await self._verifying.verify(rule_id))

    async def ListPauseRules(
        self, request: pb.ListPauseRulesRequest, context: Context
    ) -> pb.ListPauseRulesResponse:
        """List pause rules."""
        with Checks() as check:
            scope = check(decode.scope_of, request)
            size, cursor = check(page_of, request)
        async with self._reading.connection() as connection:
            page = await reads.list_pause_rules(
                connection, scope, request.include_deleted, cursor, size
            )
            withheld = await withheld_steps(connection, active_of(page.items))
        rules = await self._drains.counted(page.items, withheld)
        counted = Page(tuple(rules), page.cursors, page.next_cursor)
        response = pb.ListPauseRulesResponse()
        response.next_page_token = await add_page(
            request, counted, encode.pause_rule, response.rules.append
        )
        return response

    async def WatchPauseRule(
        self, request: pb.WatchPauseRuleRequest, context: Context
    ) -> AsyncIterator[pb.WatchPauseRuleResponse]:
        """Stream a pause rule with its counts."""
        rule_id, until = decode.watch_pause_rule(request)
        async with aclosing(self._rule_watches.watch(rule_id, until)) as all_told:
            async for rule in all_told:
                yield pb.WatchPauseRuleResponse(
                    rule=encode.pause_rule(rule),
                    silent_steps=rule.counts.silent,
                    silent_until=encode.timestamp(rule.counts.silent_until),
                )
