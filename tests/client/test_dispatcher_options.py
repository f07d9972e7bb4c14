"""A dispatcher that no server would lease a task to says so, and does not wait for ever."""

from __future__ import annotations

from typing import Any

import pytest

import zart


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"results_mib": 3}, "results_mib must be at least 4, which come with a lease"),
        ({"lease": 0.5}, "lease must be 1 to 3600 seconds"),
        ({"lease": 7200}, "lease must be 1 to 3600 seconds"),
        ({"lease": float("nan")}, "lease must be 1 to 3600 seconds"),
        ({"dispatcher_id": " "}, "dispatcher_id"),
        ({"dispatcher_id": "ü" * 128}, "dispatcher_id"),
        ({"dispatcher_id": "a\nb"}, "control characters"),
        ({"dispatcher_id": "a\x7f"}, "control characters"),
        ({"dispatcher_id": "a\x85b"}, "control characters"),
    ],
)
def test_what_no_server_takes_is_refused_when_it_is_made(
    options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        zart.Dispatcher([zart.Task("t")], **options)


def test_more_tasks_than_a_server_takes_are_refused_when_it_is_made() -> None:
    tasks = [zart.Task(f"t{n}") for n in range(1001)]
    assert zart.Dispatcher(tasks[:1000])
    with pytest.raises(ValueError, match="at most 1000 tasks"):
        zart.Dispatcher(tasks)


def test_no_task_at_all_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="needs tasks"):
        zart.Dispatcher([])


def test_two_tasks_of_one_name_are_refused_and_one_that_is_given_twice_is_one() -> None:
    task = zart.Task("order")
    assert zart.Dispatcher(each for each in (task, task)).tasks == {"order": task}
    with pytest.raises(ValueError, match="two tasks are named 'order'"):
        zart.Dispatcher([task, zart.Task("order")])


def test_an_id_that_any_server_takes_is_taken() -> None:
    name = "ü :/%\u200b\U0001f600"
    assert zart.Dispatcher([zart.Task("t")], dispatcher_id=name).dispatcher_id == name
