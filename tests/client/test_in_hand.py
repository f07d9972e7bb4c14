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
