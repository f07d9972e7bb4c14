"""One text where several names are meant is refused: letter by letter it names something else."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import zart
from zart.calls.batch_operations import operation_of
from zart.calls.execution import step_spec

SEVERAL = re.compile(r"(Iterable|Sequence|Collection)\[[^\]]*\bstr\b[^\]]*\]")
REFUSED = "give several names, not one text"
NEEDED: dict[str, Any] = {
    "operation": zart.CancelExecution(),
    "lease": zart.Lease("t", 1),
    "task_names": ["t"],
    "run_number": 1,
    "attempt": 1,
}
OF_CLIENTS = {
    ("create_batch", "execution_ids"),
    ("get_step_results", "step_names"),
    ("lease_tasks", "handlers"),
    ("lease_tasks", "task_names"),
    ("list_batch_items", "statuses"),
    ("list_batch_items", "step_statuses"),
    ("list_batches", "statuses"),
    ("list_executions", "statuses"),
    ("list_executions", "step_statuses"),
    ("list_operations", "kinds"),
    ("list_operations", "statuses"),
    ("rerun", "force_rerun"),
    ("rerun", "preserve"),
    ("update_pause_rule", "exempt"),
    ("update_pause_rule", "unexempt"),
}


def that_take_several(kind: type) -> list[tuple[str, str]]:
    """Return the methods of a class with those of their parameters that take several names."""
    return [
        (name, parameter.name)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        for parameter in inspect.signature(method).parameters.values()
        if not name.startswith("_") and SEVERAL.search(str(parameter.annotation))
    ]


def needed_by(method: Callable[..., Any]) -> dict[str, Any]:
    """Return arguments for what a method cannot do without."""
    names = [
        parameter.name
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty
    ]
    return {name: NEEDED.get(name, "x") for name in names}


def test_all_methods_that_take_several_names_are_known() -> None:
    assert set(that_take_several(zart.Client)) == OF_CLIENTS
    assert set(that_take_several(zart.SyncClient)) == OF_CLIENTS


@pytest.mark.parametrize(("name", "parameter"), sorted(OF_CLIENTS))
async def test_no_method_takes_one_text_for_several_names(name: str, parameter: str) -> None:
    with zart.connect_sync("127.0.0.1:1", timeout=0.1) as client:
        method = getattr(client, name)
        with pytest.raises(TypeError, match=REFUSED):
            method(**needed_by(method) | {parameter: "17"})
    async with zart.connect("127.0.0.1:1", timeout=0.1) as other:
        method = getattr(other, name)
        with pytest.raises(TypeError, match=REFUSED):
            await method(**needed_by(method) | {parameter: "17"})


def test_nor_does_a_filter() -> None:
    names = [
        field.name
        for field in dataclasses.fields(zart.ExecutionFilter)
        if SEVERAL.search(str(field.type))
    ]
    assert names == ["statuses", "step_statuses"]
    for name in names:
        conditions: dict[str, Any] = {name: "FAILED"}
        with pytest.raises(TypeError, match=REFUSED):
            zart.ExecutionFilter(**conditions).to_message()


@pytest.mark.parametrize("given", [{"force_rerun": "ab"}, {"preserve": "ab"}])
def test_nor_does_the_rerun_of_a_batch(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=REFUSED):
        operation_of(zart.Rerun(**given))


def test_nor_does_a_step() -> None:
    task = zart.Task("t")
    for name in "ab":
        task.step(name=name)(lambda _: None)
    with pytest.raises(TypeError, match=REFUSED):
        task.step(name="c", depends_on="ab")
    with pytest.raises(TypeError, match=REFUSED):
        step_spec(zart.StepSpec("c", depends_on="ab"))  # type: ignore[arg-type]  # as untyped code does
    with pytest.raises(TypeError, match=REFUSED):
        zart.testing.context(skipped="ab")


def test_bytes_are_one_text_too_and_an_enum_is_a_name() -> None:
    given: Any = b"17"
    with zart.connect_sync("127.0.0.1:1", timeout=0.1) as client:
        with pytest.raises(TypeError, match=REFUSED):
            client.create_batch(zart.CancelExecution(), execution_ids=given)
        with pytest.raises(TypeError, match=REFUSED):
            client.list_executions(statuses=zart.RunStatus.FAILED)
