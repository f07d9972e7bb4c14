"""What puts attempts in doubt, and what resolves them, in random order against a model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from invariants import broken

import zart
from zart import errors
from zart.models import LeasedTask, StepError
from zart.testing.server import ServerUnderTest

# `pay` must not run twice; `look` may.
STEPS = [
    zart.StepSpec("pay", retry=zart.Retry(2, 0.0), if_in_doubt=zart.IfInDoubt.STOP),
    zart.StepSpec("look", retry=zart.Retry(2, 0.0)),
]
ENDINGS: dict[str, Callable[[], Any]] = {
    "completed": zart.Completed,
    "failed": lambda: zart.Failed(StepError("E", "e", ""), retryable=False),
    "lost": zart.Lost,
    "timed_out": zart.TimedOut,
    "released": zart.Released,
    "not_begun": lambda: zart.Released(not_begun=True),
}
_UNTOLD = {"lost", "timed_out", "released"}
_numbers = itertools.count()


@dataclass
class Run:
    """A run of the model: of each step its status, and of each attempt in doubt what is known."""

    steps: dict[str, str] = field(default_factory=lambda: {"pay": "READY", "look": "READY"})
    counted: dict[str, int] = field(default_factory=lambda: {"pay": 0, "look": 0})
    budget: dict[str, int] = field(default_factory=lambda: {"pay": 2, "look": 2})
    doubts: dict[int, str] = field(default_factory=dict)  # attempt → open, happened, or resolved
    news: bool = False  # whether pay was found, since it began, to have happened in a run before
    running: int = 0  # the attempt of pay that is in flight
    is_cancelled: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether nothing moves in it."""
        return self.is_cancelled or not {"READY", "RUNNING"} & set(self.steps.values())

    @property
    def has_doubt(self) -> bool:
        """Whether pay is not to be run again just so."""
        known = {"open", "happened"} & set(self.doubts.values())
        return (bool(known) or self.news) and self.steps["pay"] != "COMPLETED"

    def end(self) -> None:
        """Break off what has not ended."""
        if self.is_finished:
            return
        if self.steps["pay"] == "RUNNING":
            self.doubts[self.running] = "open"
        self.is_cancelled = True
        for name, status in self.steps.items():
            if status in {"READY", "RUNNING"}:
                self.steps[name] = "CANCELLED"


class Doubting(RuleBasedStateMachine):
    """Drives the server and the model of one execution side by side."""

    client: zart.SyncClient
    db: asyncpg.Connection[Any]
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.id = f"doubt-{next(_numbers)}"
        self.client.start(self.id, execution_id=self.id, steps=STEPS)
        self.runs = [Run()]
        self.leases: list[LeasedTask] = []
        self.ended: list[tuple[LeasedTask, str]] = []

    @rule()
    def lease(self) -> None:
        for task in self.client.lease_tasks("d", [self.id], max_tasks=2, lease_duration=3600):
            run = self.runs[-1]
            assert run.steps[task.step_name] == "READY"
            run.steps[task.step_name] = "RUNNING"
            if task.step_name == "pay":
                run.running = task.attempt
            self.leases.append(task)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), how=st.sampled_from(sorted(ENDINGS)))
    def report(self, data: Any, how: str) -> None:
        task = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        run, name = self.runs[task.run_number], task.step_name
        is_current = run.steps[name] == "RUNNING" and task.run_number == len(self.runs) - 1
        assert self._tell(task, how) == ("RECORDED" if is_current else "LEASE_LOST")
        if not is_current:
            return
        self.ended.append((task, how))
        if how != "not_begun" and not (how == "released" and name == "look"):
            run.counted[name] += 1
        if how == "completed":
            run.steps[name] = "COMPLETED"
        elif name == "pay" and how in _UNTOLD:
            run.steps[name] = "DEAD"
            run.doubts[task.attempt] = "open"
        elif how == "failed" or run.counted[name] >= run.budget[name]:
            run.steps[name] = "DEAD"
        else:
            run.steps[name] = "READY"

    def _tell(self, task: LeasedTask, how: str) -> str:
        outcome = zart.Outcome(task.task_id, task.lease_token, ENDINGS[how]())
        return self.client.report_tasks("d", [outcome])[0].status.value

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), how=st.sampled_from(sorted(ENDINGS)))
    def report_again(self, data: Any, how: str) -> None:
        task, before = data.draw(st.sampled_from(self.ended))
        in_doubt = task.attempt in self.runs[task.run_number].doubts and task.step_name == "pay"
        # Released without a word is taken as lost: to say lost then is to say it again.
        is_lost = {how, before} <= {"lost", "released"}
        is_repeat = how == before or is_lost
        late = in_doubt and not is_repeat
        assert self._tell(task, how) == ("LEASE_LOST" if late else "ALREADY_RECORDED")

    @rule(name=st.sampled_from(["pay", "look"]), accept=st.booleans())
    def retry_step(self, name: str, accept: bool) -> None:  # noqa: FBT001 - drawn
        run = self.runs[-1]
        try:
            self.client.retry_step(self.id, name, accept_in_doubt=accept)
        except errors.RunFinished:
            assert run.is_cancelled
        except errors.StepInDoubt:
            assert not accept
            assert name == "pay"
            assert run.has_doubt
        except errors.StepNotDead:
            assert run.steps[name] != "DEAD"
        else:
            assert run.steps[name] == "DEAD"
            assert name == "look" or accept or not run.has_doubt
            run.steps[name], run.budget[name] = "READY", run.counted[name] + 2
            if name == "pay":
                for attempt, known in run.doubts.items():
                    run.doubts[attempt] = "resolved" if known == "open" else known

    @rule(verb=st.sampled_from(["restart", "rerun"]), accept=st.booleans())
    def run_again(self, verb: str, accept: bool) -> None:  # noqa: FBT001 - drawn
        run = self.runs[-1]
        is_broken_off = run.steps["pay"] == "RUNNING"
        try:
            getattr(self.client, verb)(self.id, accept_in_doubt=accept)
        except errors.NothingToRerun:
            assert set(run.steps.values()) == {"COMPLETED"}
            return
        except errors.StepInDoubt:
            assert not accept
            assert run.has_doubt or is_broken_off
            return
        assert accept or not (run.has_doubt or is_broken_off)
        run.end()
        new = Run()
        if verb == "rerun":
            new.steps = {
                n: "COMPLETED" if s == "COMPLETED" else "READY" for n, s in run.steps.items()
            }
        self.runs.append(new)

    @rule()
    def cancel(self) -> None:
        run = self.runs[-1]
        try:
            self.client.cancel_execution(self.id)
        except errors.RunFinished:
            assert run.is_finished
        else:
            assert not run.is_finished
            run.end()

    @rule(data=st.data(), finding=st.sampled_from(["happened", "did_not_happen"]))
    def resolve(self, data: Any, finding: str) -> None:
        number = data.draw(st.integers(0, len(self.runs) - 1))
        attempt = data.draw(st.integers(1, 3))
        doubts = self.runs[number].doubts
        try:
            self.client.resolve_in_doubt(
                self.id, "pay", finding, run_number=number, attempt=attempt
            )
        except (errors.NotInDoubt, errors.AttemptNotFound):
            assert doubts.get(attempt) != "open"
        else:
            assert doubts[attempt] == "open"
            doubts[attempt] = "happened" if finding == "happened" else "resolved"
            if finding == "happened" and number < len(self.runs) - 1:
                self.runs[-1].news = True

    @invariant()
    def the_list_has_what_is_open(self) -> None:
        chosen = zart.ExecutionFilter(execution_id_prefix=self.id)
        found = {
            (item.run_number, item.attempt)
            for item in self.client.list_in_doubt(chosen)
            if item.execution_id == self.id
        }
        assert found == {
            (number, attempt)
            for number, run in enumerate(self.runs)
            for attempt, known in run.doubts.items()
            if known == "open"
        }

    @invariant()
    def the_steps_are_as_the_model_has_them(self) -> None:
        steps = self.client.get_execution(self.id).steps
        shown = {s.step_name: s.status.value.replace("SCHEDULED", "READY") for s in steps}
        assert shown == self.runs[-1].steps
        assert steps[0].in_doubt == ("open" in self.runs[-1].doubts.values())
        assert not steps[1].in_doubt

    @invariant()
    def the_invariants_hold(self) -> None:
        assert self.loop.run_until_complete(broken(self.db)) == {}


def test_doubts_come_and_go_as_the_model_says(zart_server: ServerUnderTest) -> None:
    loop = asyncio.new_event_loop()
    db = loop.run_until_complete(asyncpg.connect(zart_server.database_url))
    with zart.connect_sync(zart_server.address, triggered_by="machine") as client:

        class Bound(Doubting):
            pass

        Bound.client, Bound.db, Bound.loop = client, db, loop
        try:
            run_state_machine_as_test(
                Bound,
                settings=settings(max_examples=20, stateful_step_count=25, print_blob=True),
            )
        finally:
            loop.run_until_complete(db.close())
            loop.close()
