"""Tasks in hand outlive the answers that they came with."""

from __future__ import annotations

from zart.dispatcher.in_hand import in_hand_of
from zart.v1 import dispatch_service_pb2 as pb


def test_a_task_is_copied_out_of_its_answer_once() -> None:
    """However often its lease is extended: tasks of a mebibyte each were copied each time."""
    answer = pb.LeaseTasksResponse(tasks=[pb.LeasedTask(task_id="1-1-1")])
    (in_hand,) = in_hand_of(answer.tasks, 0.0)
    in_hand.detach()
    copy = in_hand.task
    in_hand.detach()

    assert copy is not answer.tasks[0]
    assert in_hand.task is copy


def test_what_is_over_keeps_nothing_large_and_its_handler_all() -> None:
    """What a handler leaves behind may look at what it was given, however late."""
    task = pb.LeasedTask(
        task_id="1-1-1", lease_token=7, step_name="a", attempt=2, payload_json='"long"',
        input_json="5", upstream_json={"b": "6", "c": "null"}, upstream_skipped=["c"], traceparent="00-1-1-00",
    )  # fmt: skip
    (in_hand,) = in_hand_of([task], 0.0)
    given = in_hand.context
    in_hand.drop_inputs()
    in_hand.detach()

    assert in_hand.task == pb.LeasedTask(
        task_id="1-1-1", lease_token=7, step_name="a", attempt=2, traceparent="00-1-1-00"
    )
    assert in_hand.context._task is in_hand.task
    assert (in_hand.context.step_name, in_hand.context.attempt) == ("a", 2)
    assert (given.payload, given.input, given.result_of("b")) == ("long", 5, 6)
    assert given.skipped("c")
