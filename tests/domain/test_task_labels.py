"""Few tasks have labels of their own: those of which there is most to tell."""

from __future__ import annotations

from zart_server.domain.task_labels import OTHER, TaskLabels


def test_tasks_have_labels_as_long_as_there_are_any() -> None:
    labels = TaskLabels(2)
    assert [labels.of(name) for name in ("a", "b", "c", "a")] == ["a", "b", OTHER, "a"]


def test_a_task_with_much_more_to_tell_displaces_one_with_little() -> None:
    labels = TaskLabels(2)
    for name, weight in (("a", 10), ("b", 10), ("c", 15), ("d", 50)):
        labels.of(name, weight)
    labels.rank()
    assert "d" in labels.named
    assert len(labels.named) == 2
    assert "c" not in labels.named  # not twice as much as those that were there


def test_a_task_that_fails_comes_before_all_that_do_well() -> None:
    labels = TaskLabels(2)
    for _ in range(3):
        for name, weight, failed in (
            ("a", 9000, -4000),
            ("b", 9000, 7),
            ("c", 9000, -9),
            ("d", 3, 3),
        ):
            labels.of(name, weight, failed)
        labels.rank()
    assert labels.named == {"b", "d"}
    for _ in range(5):  # it is mended
        for name in ("a", "b"):
            labels.of(name, 9000, -9000)
        labels.rank()
    assert labels.named == {"a", "b"}


def test_what_was_long_ago_counts_for_less() -> None:
    labels = TaskLabels(1)
    labels.of("was", 1000)
    for _ in range(5):
        labels.rank()
        labels.of("is", 100)
    labels.rank()
    assert labels.named == {"is"}


def test_names_without_end_take_no_more_room() -> None:
    labels = TaskLabels(2)
    for number in range(30_000):
        labels.of(f"t{number}")
    assert len(labels._weights) <= 10_001


def test_without_labels_all_are_others() -> None:
    labels = TaskLabels(0)
    assert labels.of("a") == OTHER
    labels.rank()
    assert labels.of("a") == OTHER
