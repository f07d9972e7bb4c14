"""What a dispatcher names with each lease and each report is checked once, and bad names are told."""

from __future__ import annotations

import pytest

from zart.v1 import dispatch_service_pb2 as pb
from zart_server.api import fields
from zart_server.api.decode_dispatch import lease_tasks, outcomes_of
from zart_server.domain.dispatch import Outcome
from zart_server.domain.errors import InvalidField, TooManyItems
from zart_server.engine.dispatch.long_polls import LongPolls

TASKS = [f"task-{n}" for n in range(20)]
HANDLERS = [f"handler-{n}" for n in range(30)]


def lease(task_names: list[str], handlers: list[str]) -> pb.LeaseTasksRequest:
    return pb.LeaseTasksRequest(
        dispatcher_id="d", task_names=task_names, handlers=handlers, max_tasks=1
    )


def report(task_names: list[str], handlers: list[str]) -> pb.ReportTasksRequest:
    wish = pb.LeaseNext(task_names=task_names, handlers=handlers, max_tasks=1)
    outcome = pb.TaskOutcome(task_id="1-1-1", lease_token=1, lost=pb.TaskLost())
    return pb.ReportTasksRequest(dispatcher_id="d", outcomes=[outcome], lease_next=wish)


def test_names_that_are_sent_again_are_the_same_ones_however_they_are_sent() -> None:
    first, again = lease_tasks(lease(TASKS, HANDLERS)), lease_tasks(lease(TASKS, HANDLERS))
    (outcome,) = outcomes_of(report(TASKS, HANDLERS))

    assert first.task_names == tuple(TASKS)
    assert first.handlers == tuple(HANDLERS)
    assert again.task_names is first.task_names
    assert again.handlers is first.handlers
    assert isinstance(outcome, Outcome)
    assert outcome.lease_next is not None
    assert outcome.lease_next.task_names == frozenset(TASKS)
    assert outcome.lease_next.handlers == frozenset(HANDLERS)
    other = lease_tasks(lease(TASKS[::-1], []))
    assert (other.task_names, other.handlers) == (tuple(TASKS[::-1]), ())


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "x" * 256, "ä" * 128])
def test_a_bad_name_is_told_by_its_place_each_time(bad: str) -> None:
    for number in (0, 7, 19):
        names = [*TASKS[:number], bad, *TASKS[number:]]
        for _ in range(2):
            with pytest.raises(InvalidField) as of_lease:
                lease_tasks(lease(names, names))
            with pytest.raises(InvalidField) as of_report:
                outcomes_of(report(TASKS, names))
            assert [each.field for each in of_lease.value.violations] == [
                f"task_names[{number}]",
                f"handlers[{number}]",
            ]
            assert of_report.value.field == f"lease_next.handlers[{number}]"


def test_names_are_counted_before_any_is_looked_at() -> None:
    for _ in range(2):
        with pytest.raises(TooManyItems):
            lease_tasks(lease([*TASKS] * 51, []))
        with pytest.raises(TooManyItems):
            lease_tasks(lease(TASKS, [""] * 10_001))


def test_long_lists_are_the_same_ones_as_long_as_any_call_has_them() -> None:
    many = [f"h{n}" for n in range(2_000)]
    first, again = lease_tasks(lease(TASKS, many)), lease_tasks(lease(TASKS, many))
    (outcome,) = outcomes_of(report(TASKS, many))

    assert again.handlers is first.handlers
    polls = LongPolls()
    with polls.register(first) as one, polls.register(again) as other:
        assert other.lessee.handlers is one.lessee.handlers
        assert isinstance(outcome, Outcome)
        assert outcome.lease_next is not None
        assert outcome.lease_next.handlers is one.lessee.handlers
    assert tuple(many) in fields._in_use
    del first, again, one, other, outcome
    assert tuple(many) not in fields._in_use


def test_of_long_lists_nothing_is_kept_and_all_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, keep = set[tuple[str, ...]](), fields._checked

    def keeping(names: tuple[str, ...]) -> fields.NamesSentAgain | None:
        kept.add(names)  # whatever servers of other tests have there
        return keep(names)

    monkeypatch.setattr(fields, "_checked", keeping)
    many = [f"h{n}" for n in range(10_000)]
    long = [f"{'x' * 200}{n}" for n in range(100)]

    assert lease_tasks(lease(long, many)).handlers == tuple(many)
    assert lease_tasks(lease(long, many)).task_names == tuple(long)
    with pytest.raises(InvalidField) as refused:
        lease_tasks(lease(long, [*many[1:], "a\nb"]))
    assert refused.value.field == "handlers[9999]"
    lease_tasks(lease(["short"], TASKS))
    assert kept >= {("short",), tuple(TASKS)}
    assert kept.isdisjoint({tuple(long), tuple(many), (*many[1:], "a\nb")})


def test_no_more_lists_are_kept_than_a_bound() -> None:
    for number in range(200):
        assert lease_tasks(lease([f"t{number}"], [f"h{number}"])).task_names == (f"t{number}",)

    assert fields._checked.cache_info().currsize <= 64
