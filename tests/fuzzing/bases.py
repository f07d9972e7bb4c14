"""Good requests for each RPC, which mutants are made of, and what has to be there for them."""

from __future__ import annotations

import itertools
import re
from collections import deque
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

import zart
from fuzzing.batch_bases import BatchBases
from fuzzing.prepared import DOUBTED, MANY_DOUBTS, put_in_doubt, releasing
from fuzzing.retention_bases import RetentionBases
from zart.gateway.bindings import all_services
from zart.models import LeasedTask, StepError
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import breaker_pb2 as breaker
from zart.v1 import breaker_service_pb2 as breakers
from zart.v1 import dispatch_service_pb2 as dispatch
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import in_doubt_pb2 as in_doubt
from zart.v1 import task_definition_pb2 as definition
from zart.v1.filter_pb2 import ExecutionFilter

TASK = "fuzzed"
_UNASKED = "nobody asks for it"  # so that no lease of it runs out
_DOOMED = 4
_TO_END = 100
_SETTINGS = breaker.Breaker(
    task_name="nobody's",
    step_pattern="a*",
    failure_threshold=5,
    window=Duration(seconds=60),
    min_failure_ratio=0.5,
    error_group_id="eg-1abcdefg",
)
STEPS = [
    definition.StepSpec(step_name="a", input_json="[1]"),
    definition.StepSpec(
        step_name="b",
        depends_on=["a"],
        handler="h",
        input=Value(number_value=1),
        retry_policy=definition.RetryPolicy(
            max_attempts=2,
            initial_backoff=Duration(seconds=1),
            backoff_multiplier=2,
            max_backoff=Duration(seconds=2),
        ),
        timeout=Duration(seconds=60),
    ),
]


def rpcs() -> list[MethodDescriptor]:
    """Return every RPC of ours."""
    return [rpc for service in all_services() for rpc in service.methods]


class Bases(BatchBases, RetentionBases):
    """Makes good requests for RPCs, by full name; each names an execution or a lease anew."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._doubts = itertools.count()
        self._dead: deque[str] = deque()
        self._leases: deque[LeasedTask] = deque()
        self._rule = self._breaker = self._releasing = ""
        self._doomed: deque[str] = deque()  # breakers to be deleted

    async def prepare(self, client: zart.Client, count: int) -> None:
        """Make so many executions with a dead step, so many leases, and so many to be leased."""
        retry = zart.Retry(max_attempts=1)
        steps = [zart.StepSpec("a", retry=retry), zart.StepSpec("b", ("a",), retry=retry)]
        await client.register_task(TASK, steps)
        for prefix, failed in (("dead", True), ("leased", False)):
            names = [f"{prefix}-{n}" for n in range(count)]
            await client.batch_start_executions([zart.Start(TASK, {}, name) for name in names])
            tasks = await client.lease_tasks("fuzzer", [TASK], max_tasks=1000, lease_duration=3600)
            if not failed:
                self._leases.extend(tasks)
                continue
            ending = zart.Failed(StepError("Broken", "", ""), retryable=False)
            await client.report_tasks(
                "fuzzer", [zart.Outcome(t.task_id, t.lease_token, ending) for t in tasks]
            )
            self._dead.extend(names)
        self._rule = (await client.pause(task_name="nobody's but this rule's")).rule_id
        self._releasing = await releasing(client)
        for _ in range(_DOOMED + 1):
            made = await client.create_breaker(task_name="nobody's", failure_threshold=1, window=1)
            self._doomed.append(made.breaker_id)
        self._breaker = self._doomed.pop()
        await put_in_doubt(client)
        opened = [f"open-{n}" for n in range(count)]
        for task, ids in ((TASK, opened), (_UNASKED, [f"end-{n}" for n in range(_TO_END)])):
            await client.batch_start_executions([zart.Start(task, {}, i, steps) for i in ids])
        await self.prepare_batches(client, opened[:100])

    def of(self, rpc: MethodDescriptor) -> Message:
        """Make a good request."""
        name = re.sub("(?<!^)(?=[A-Z])", "_", rpc.name).lower()
        made = getattr(self, f"_{name}", None)
        request: Message = GetMessageClass(rpc.input_type)() if made is None else made()
        return request

    def renew(self, request: Any) -> None:
        """Let a request made of a good one name an execution and leases of its own, too.

        So that one which goes through leaves the next one something to do.
        """
        if getattr(request, "execution_id", "") in self._dead:
            request.execution_id = self._execution()
        for item in (*getattr(request, "outcomes", ()), *getattr(request, "leases", ())):
            if (item.task_id, item.lease_token) == (
                self._leases[0].task_id,
                self._leases[0].lease_token,
            ):
                lease = self._lease()
                item.task_id, item.lease_token = lease.task_id, lease.lease_token

    def _execution(self) -> str:
        self._dead.rotate()
        return self._dead[0]

    def _lease(self) -> LeasedTask:
        self._leases.rotate()
        return self._leases[0]

    def _retry_step(self) -> Message:
        return admin.RetryStepRequest(
            execution_id=self._execution(), step_name="a", input_json="[2]"
        )

    def _complete_step(self) -> Message:
        return admin.CompleteStepRequest(
            execution_id=self._execution(), step_name="b", result=Value(number_value=1)
        )

    def _fail_step(self) -> Message:
        return admin.FailStepRequest(execution_id=self._execution(), step_name="b", message="no")

    def _restart(self) -> Message:
        return admin.RestartRequest(execution_id=self._execution())

    def _rerun(self) -> Message:
        return admin.RerunRequest(
            execution_id=self._execution(),
            force_rerun=["a"],
            inputs=[admin.StepInput(step_name="b", input=Value(number_value=2))],
            payload_json="[1]",
        )

    def _list_in_doubt(self) -> Message:
        return admin.ListInDoubtRequest(filter=ExecutionFilter(task_name=TASK))

    def _resolve_in_doubt(self) -> Message:
        return admin.ResolveInDoubtRequest(
            execution_id=f"{DOUBTED}-{next(self._doubts) % MANY_DOUBTS}",
            step_name="a",
            attempt=1,
            finding=in_doubt.IN_DOUBT_FINDING_HAPPENED,
        )

    def _list_runs(self) -> Message:
        return admin.ListRunsRequest(execution_id=self._execution())

    def _compare_runs(self) -> Message:
        return admin.CompareRunsRequest(
            execution_id=self._execution(), base_run_number=0, run_number=0
        )

    def _pause(self) -> Message:
        return admin.PauseRequest(
            task_name="nobody's", step_pattern="a*", expires_at=Timestamp(seconds=4_000_000_000)
        )

    def _resume(self) -> Message:
        return admin.ResumeRequest(task_name="nobody's")

    def _stop_release(self) -> Message:
        return admin.StopReleaseRequest(rule_id=self._releasing)

    def _update_pause_rule(self) -> Message:
        return admin.UpdatePauseRuleRequest(
            rule_id=self._rule, add_exempt_execution_ids=[self._execution()]
        )

    def _watch_pause_rule(self) -> Message:
        # What is of a rule of nobody's is drained soon.
        return admin.WatchPauseRuleRequest(
            rule_id=self._rule, until=admin.WatchUntil.WATCH_UNTIL_DRAINED
        )

    def _verify_pause_rule(self) -> Message:
        return admin.VerifyPauseRuleRequest(rule_id=self._rule)

    def _get_pause_rule(self) -> Message:
        return admin.GetPauseRuleRequest(rule_id=self._rule)

    def _create_breaker(self) -> Message:
        return breakers.CreateBreakerRequest(breaker=_SETTINGS)

    def _get_breaker(self) -> Message:
        return breakers.GetBreakerRequest(breaker_id=self._breaker)

    def _update_breaker(self) -> Message:
        changed = breaker.Breaker(breaker_id=self._breaker, failure_threshold=9)
        mask = FieldMask(paths=["failure_threshold"])
        return breakers.UpdateBreakerRequest(breaker=changed, update_mask=mask)

    def _delete_breaker(self) -> Message:
        self._doomed.rotate()
        return breakers.DeleteBreakerRequest(breaker_id=self._doomed[0])

    def _trip_breaker(self) -> Message:
        return breakers.TripBreakerRequest(breaker_id=self._breaker)

    def _reset_breaker(self) -> Message:
        return breakers.ResetBreakerRequest(breaker_id=self._breaker)

    def _start_execution(self) -> Message:
        return execution.StartExecutionRequest(
            execution_id=f"started-{next(self._numbers)}",
            task_name=TASK,
            payload_json="{}",
            steps=STEPS,
        )

    def _run_execution(self) -> Message:
        return execution.RunExecutionRequest(start=self._start_execution())  # type: ignore[arg-type]

    def _batch_start_executions(self) -> Message:
        name = f"batch-{next(self._numbers)}"
        item = execution.StartExecutionRequest(execution_id=name, task_name=TASK)
        return execution.BatchStartExecutionsRequest(requests=[item])

    def _get_execution(self) -> Message:
        return execution.GetExecutionRequest(execution_id=self._execution())

    def _get_step(self) -> Message:
        return execution.GetStepRequest(execution_id=self._execution(), step_name="a")

    def _explain_step(self) -> Message:
        return execution.ExplainStepRequest(execution_id=self._execution(), step_name="b")

    def _cancel_execution(self) -> Message:
        number = next(self._numbers) % _TO_END
        return execution.CancelExecutionRequest(execution_id=f"end-{number}")

    def _watch_execution(self) -> Message:
        return execution.WatchExecutionRequest(execution_id=self._execution())

    def _get_task_definition(self) -> Message:
        return execution.GetTaskDefinitionRequest(task_name=TASK)

    def _dispatch_tasks(self) -> Message:
        return dispatch.DispatchTasksRequest(number=1, lease=self._lease_tasks())  # type: ignore[arg-type]

    def _register_task(self) -> Message:
        made = definition.TaskDefinition(task_name=f"r-{next(self._numbers)}", steps=STEPS)
        return dispatch.RegisterTaskRequest(definition=made)

    def _lease_tasks(self) -> Message:
        return dispatch.LeaseTasksRequest(dispatcher_id="d", task_names=[TASK], max_tasks=1)

    def _get_step_results(self) -> Message:
        of = self._lease()
        return dispatch.GetStepResultsRequest(task_id=of.task_id, lease_token=of.lease_token)

    def _report_tasks(self) -> Message:
        lease = self._lease()
        for_so_long = Duration(seconds=9)
        wish = dispatch.LeaseNext(task_names=[TASK], max_tasks=1, lease_duration=for_so_long)
        outcome = dispatch.TaskOutcome(
            task_id=lease.task_id, lease_token=lease.lease_token, completed=dispatch.TaskCompleted()
        )
        return dispatch.ReportTasksRequest(dispatcher_id="d", outcomes=[outcome], lease_next=wish)

    def _extend_leases(self) -> Message:
        lease = self._lease()
        return dispatch.ExtendLeasesRequest(
            dispatcher_id="d",
            leases=[dispatch.LeaseRef(task_id=lease.task_id, lease_token=lease.lease_token)],
        )

    def _list_operations(self) -> Message:
        return audit.ListOperationsRequest(execution_id=self._execution())

    def _list_rule_holds(self) -> Message:
        return audit.ListRuleHoldsRequest(execution_id=self._execution())
