"""The part of the model test in which an operator ends steps by hand."""

from __future__ import annotations

from typing import Any

from engine.model import Model, Run
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import zart
from zart import errors
from zart.models import EndedStep


class EndingByHand(RuleBasedStateMachine):
    """Completes, skips and fails steps, whatever state they are in."""

    client: zart.SyncClient

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def pick(self, data: Any) -> tuple[str, Run]:
        execution_id = data.draw(st.sampled_from(sorted(self.model.executions)))
        return execution_id, self.model.executions[execution_id][-1]

    @precondition(lambda self: self.model.executions)
    @rule(data=st.data(), how=st.sampled_from(["complete", "skip", "fail"]), fence=st.booleans())
    def end_by_hand(self, data: Any, how: str, fence: bool) -> None:  # noqa: FBT001 - drawn
        execution_id, run = self.pick(data)
        name = data.draw(st.sampled_from(sorted(run.steps)))
        step = run.steps[name]
        before = step.status
        final = {"COMPLETED", "DEAD"} if how == "fail" else {"COMPLETED"}
        try:
            answer = self._end(how, execution_id, name, fence=fence)
        except errors.RunFinished:
            assert run.cancelled
        except errors.StepFinished:
            assert before in final
        except errors.StepRunning:
            assert (before, fence) == ("RUNNING", False)
        else:
            assert not run.cancelled
            assert before not in final
            assert fence or before != "RUNNING"
            assert bool(answer.fenced_steps) is (before == "RUNNING")
            step.status = "DEAD" if how == "fail" else "COMPLETED"
            run.open()
            assert answer.run_status.is_finished is run.finished

    def _end(self, how: str, execution_id: str, name: str, *, fence: bool) -> EndedStep:
        if how == "fail":
            return self.client.fail_step(execution_id, name, "no", fence=fence)
        result = () if how == "skip" else ("by hand",)
        return self.client.complete_step(
            execution_id, name, *result, skip=how == "skip", fence=fence
        )
