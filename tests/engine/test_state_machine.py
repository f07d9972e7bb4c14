"""All operations in random order against a model; the invariants are checked now and then."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import asyncpg
from engine.ending_by_hand import EndingByHand
from engine.model import ATTEMPTS, Run, fresh
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from invariants import broken
from rig import specs
from waiting import eventually

import zart
from zart import errors
from zart.calls.payload import UNSET
from zart.models import StepError
from zart.testing.server import ServerUnderTest

GRAPHS = [
    {"a": ()},
    {"a": (), "b": ("a",), "c": ("b",)},
    {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")},
    {"a": (), "b": (), "c": ("a", "b"), "d": ("b",)},
]
INPUTS = st.none() | st.integers(1, 2)
PATTERNS = ["a", "[bc]", "*", "{c,d}"]
_numbers, _looks = itertools.count(), itertools.count()


class Operating(EndingByHand):
    """Drives the server and the model side by side."""

    db: asyncpg.Connection[Any]
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.task = f"t{next(_numbers)}"

    def sql(self, call: Any) -> Any:
        """Run a coroutine on the database's loop."""
        return self.loop.run_until_complete(call)

    async def _is_settled(self) -> bool:
        return not await self.db.fetchval("SELECT count(*) FROM zart.pause_work")

    def is_settled(self) -> bool:
        """Return whether queued and held rows are where the rules want them."""
        return bool(self.sql(self._is_settled()))

    def settle(self) -> None:
        """Wait until they are."""
        self.sql(eventually(self._is_settled))

    @rule(graph=st.sampled_from(GRAPHS))
    def start(self, graph: dict[str, tuple[str, ...]]) -> None:
        execution_id = f"{self.task}-{len(self.model.executions)}"
        retry = zart.Retry(ATTEMPTS, 0.0)
        self.client.start(self.task, execution_id=execution_id, steps=specs(graph, retry=retry))
        self.model.executions[execution_id] = [fresh(graph)]

    @rule(n=st.integers(1, 5))
    def lease(self, n: int) -> None:
        is_settled = self.is_settled()
        found = self.client.lease_tasks("d", [self.task], max_tasks=n, lease_duration=3600)
        for task in found:
            run = self.model.executions[task.execution_id][-1]
            step = run.steps[task.step_name]
            assert step.status == "READY"
            assert not self.model.paused(task.execution_id, task.step_name)
            step.status, step.token = "RUNNING", task.lease_token
            inputs = step.corrections + 1
            key = f"{task.run_id}/{task.step_name}/{inputs}" if step.corrections else ""
            assert (task.input, task.idempotency_key) == (step.input, key)
            self.model.leases.append((task.execution_id, task.run_number, task))
        ready = [
            (e, name)
            for e, runs in self.model.executions.items()
            for name, s in runs[-1].steps.items()
            if s.status == "READY" and not self.model.paused(e, name)
        ]
        assert len(found) == n or not ready or not is_settled

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), how=st.sampled_from(["ok", "ok", "ok", "fail", "die", "release"]))
    def report(self, data: Any, how: str) -> None:
        # Not of a range that depends on how many were leased, which a rule that settles decides.
        place = data.draw(st.integers(0, 99)) % len(self.model.leases)
        execution_id, run_number, task = self.model.leases.pop(place)
        ending: Any = {
            "ok": zart.Completed(how),
            "fail": zart.Failed(StepError("E", "e", ""), retryable=True, retry_after=0),
            "die": zart.Failed(StepError("E", "e", ""), retryable=False),
            "release": zart.Released(),
        }[how]
        outcome = zart.Outcome(task.task_id, task.lease_token, ending)
        (result,) = self.client.report_tasks("d", [outcome])
        runs = self.model.executions[execution_id]
        step = runs[run_number].steps[task.step_name]
        is_current = run_number == len(runs) - 1 and (step.status, step.token) == (
            "RUNNING",
            task.lease_token,
        )
        assert result.status == ("RECORDED" if is_current else "LEASE_LOST")
        again = self.client.report_tasks("d", [outcome])[0].status
        assert again == ("ALREADY_RECORDED" if is_current else "LEASE_LOST")
        if not is_current:
            return
        step.counted += how != "release"
        if how == "ok":
            step.status = "COMPLETED"
            runs[-1].open()
        elif how == "die" or step.counted >= step.budget:
            step.status = "DEAD"
        else:
            step.status = "READY"

    @precondition(lambda self: self.model.executions)
    @rule(data=st.data(), value=INPUTS)
    def retry_step(self, data: Any, value: int | None) -> None:
        execution_id, run = self.pick(data)
        name = data.draw(st.sampled_from(sorted(run.steps)))
        step = run.steps[name]
        try:
            answer = self.client.retry_step(
                execution_id, name, input=UNSET if value is None else value
            )
        except errors.RunFinished:
            assert run.cancelled
        except errors.StepNotDead:
            assert step.status != "DEAD"
        else:
            assert step.status == "DEAD"
            assert not run.cancelled
            step.status, step.budget = "PENDING", step.counted + ATTEMPTS
            run.open()  # it may have failed by hand before it was ready
            step.correct(value)
            assert answer.step.input_corrections == step.corrections
            is_queued = step.status == "READY" and not self.model.paused(execution_id, name)
            assert bool(answer.new_task_id) is is_queued

    @precondition(lambda self: self.model.executions)
    @rule(data=st.data())
    def restart(self, data: Any) -> None:
        execution_id, run = self.pick(data)
        in_flight = {n for n, s in run.steps.items() if s.status == "RUNNING"}
        answer = self.client.restart(execution_id)
        assert {s.step_name for s in answer.fenced_steps} == in_flight
        self._supersede(execution_id, fresh({n: s.deps for n, s in run.steps.items()}))

    @precondition(lambda self: self.model.executions)
    @rule(data=st.data(), downstream=st.booleans(), value=INPUTS)
    def rerun(self, data: Any, downstream: bool, value: int | None) -> None:  # noqa: FBT001 - drawn
        execution_id, run = self.pick(data)
        force = set(data.draw(st.lists(st.sampled_from(sorted(run.steps)), max_size=2)))
        corrected = data.draw(st.sampled_from(sorted(run.steps))) if value is not None else ""
        wanted = force | {n for n in (corrected,) if n and run.steps[n].input != value}
        wanted |= {n for n, s in run.steps.items() if s.status != "COMPLETED"}
        if downstream:
            for name, step in run.steps.items():  # in dependency order
                if wanted.intersection(step.deps):
                    wanted.add(name)
        try:
            answer = self.client.rerun(
                execution_id,
                force_rerun=sorted(force),
                include_downstream=downstream,
                inputs={corrected: value} if corrected else None,
            )
        except errors.NothingToRerun:
            assert not wanted
            return
        assert set(answer.effective_rerun) == wanted
        new = Run({n: s.again() for n, s in run.steps.items()})
        if corrected and new.steps[corrected].input != value:
            new.steps[corrected].input, new.steps[corrected].corrections = value, 1
        for name, step in new.steps.items():
            if name not in wanted:
                step.status = "COMPLETED"
        new.open()
        self._supersede(execution_id, new)

    def _supersede(self, execution_id: str, new: Run) -> None:
        runs = self.model.executions[execution_id]
        if not runs[-1].finished:
            runs[-1].cancel()
        runs.append(new)

    @precondition(lambda self: self.model.executions)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        execution_id, run = self.pick(data)
        try:
            self.client.cancel_execution(execution_id)
        except errors.RunFinished:
            assert run.finished
        else:
            assert not run.finished
            run.cancel()

    @precondition(lambda self: self.model.executions and len(self.model.rules) < 4)
    @rule(data=st.data(), pattern=st.sampled_from([*PATTERNS, None]))
    def pause(self, data: Any, pattern: str | None) -> None:
        scope: dict[str, Any] = {"execution_id": self.pick(data)[0]}
        if pattern is not None:
            scope["step_pattern"] = pattern
            if data.draw(st.booleans()):
                del scope["execution_id"]
        answer = self.client.pause(task_name=self.task, **scope)
        self.model.rules[answer.rule_id] = scope
        self.settle()

    @precondition(lambda self: self.model.rules and self.model.executions)
    @rule(data=st.data(), is_settled=st.booleans())
    def exempt(self, data: Any, is_settled: bool) -> None:  # noqa: FBT001 - drawn
        """Exempt an execution, or match it again, and perhaps go on before that is settled."""
        rule_id = data.draw(st.sampled_from(sorted(self.model.rules)))
        execution_id, run = self.pick(data)
        exempt = self.model.exempt.setdefault(rule_id, set())
        ready = [name for name, step in run.steps.items() if step.status == "READY"]
        before = {name for name in ready if self.model.paused(execution_id, name)}
        if execution_id in exempt:
            exempt.remove(execution_id)
            answer = self.client.update_pause_rule(rule_id, unexempt=[execution_id])
        else:
            exempt.add(execution_id)
            answer = self.client.update_pause_rule(rule_id, exempt=[execution_id])
        after = {name for name in ready if self.model.paused(execution_id, name)}
        assert answer.released_steps == len(before - after)
        assert answer.withheld_again_steps == len(after - before)
        if is_settled:
            self.settle()

    @precondition(lambda self: self.model.rules)
    @rule(data=st.data())
    def resume(self, data: Any) -> None:
        rule_id = data.draw(st.sampled_from(sorted(self.model.rules)))
        self.client.resume(rule_id=rule_id)
        del self.model.rules[rule_id]
        self.settle()

    @invariant()
    def the_invariants_hold(self) -> None:
        if next(_looks) % 3 == 0:  # they look at all that there is, of all examples
            assert self.sql(broken(self.db, settled=self.is_settled())) == {}

    @invariant()
    def the_model_agrees(self) -> None:
        for execution_id, runs in self.model.executions.items():
            state = self.client.get_execution(execution_id)
            run = runs[-1]
            assert state.run.run_number == len(runs) - 1
            shown = {
                name: ("PAUSED" if self.model.paused(execution_id, name) else "SCHEDULED")
                if step.status == "READY"
                else step.status
                for name, step in run.steps.items()
            }
            assert {s.step_name: s.status.value for s in state.steps} == shown
            if run.finished:
                assert state.run.status == run.end
            else:
                assert not state.run.status.is_finished

    def teardown(self) -> None:
        for rule_id in self.model.rules:
            self.client.resume(rule_id=rule_id)
        self.settle()
        assert self.sql(broken(self.db, settled=True)) == {}


def test_operations_in_any_order_agree_with_the_model(zart_server: ServerUnderTest) -> None:
    loop = asyncio.new_event_loop()
    db = loop.run_until_complete(asyncpg.connect(zart_server.database_url))
    with zart.connect_sync(zart_server.address, triggered_by="machine") as client:

        class Bound(Operating):
            pass

        Bound.client, Bound.db, Bound.loop = client, db, loop
        try:
            run_state_machine_as_test(
                Bound,
                settings=settings(max_examples=25, stateful_step_count=30, print_blob=True),
            )
        finally:
            loop.run_until_complete(db.close())
            loop.close()
