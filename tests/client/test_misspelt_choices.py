"""A choice that is none is refused: sent as UNSPECIFIED, it would be as not given at all."""

from __future__ import annotations

import enum
import inspect
import re
from typing import Any

import pytest
from client.test_several_names import SEVERAL, needed_by

import zart
from zart import models
from zart.calls.batch_operations import operation_of
from zart.calls.execution import step_spec
from zart.decoding import decode
from zart.v1 import in_doubt_pb2, task_definition_pb2

ENUMS = {
    name: kind
    for name, kind in vars(models).items()
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum)
}
NAMED = re.compile(rf"\b({'|'.join(ENUMS)})\b")
OF_THE_CLIENT = {
    ("list_batch_items", "statuses"),
    ("list_batch_items", "step_statuses"),
    ("list_batches", "statuses"),
    ("list_executions", "statuses"),
    ("list_executions", "step_statuses"),
    ("list_operations", "kind"),
    ("list_operations", "kinds"),
    ("list_operations", "statuses"),
    ("rerun", "if_running"),
    ("resolve_in_doubt", "finding"),
    ("restart", "if_running"),
    ("start", "if_exists"),
    ("watch_batch", "until"),
    ("watch_pause_rule", "until"),
}


def test_all_methods_that_take_a_choice_are_known() -> None:
    found = {
        (name, parameter.name)
        for name, method in inspect.getmembers(zart.Client, inspect.isfunction)
        for parameter in inspect.signature(method).parameters.values()
        if not name.startswith("_") and NAMED.search(str(parameter.annotation))
    }
    assert found == OF_THE_CLIENT


@pytest.mark.parametrize("misspelt", ["stopp", "UNSPECIFIED"])
@pytest.mark.parametrize(("name", "parameter"), sorted(OF_THE_CLIENT))
async def test_no_method_takes_a_misspelt_choice(name: str, parameter: str, misspelt: str) -> None:
    async with zart.connect("127.0.0.1:1", timeout=0.1) as client:
        method = getattr(client, name)
        annotation = str(inspect.signature(method).parameters[parameter].annotation)
        (kind,) = {ENUMS[found] for found in NAMED.findall(annotation)}
        choice: Any = kind(misspelt) if "UNSPECIFIED" in kind.__members__ else misspelt
        given = [choice] if SEVERAL.search(annotation) else choice
        with pytest.raises(ValueError, match=f"{parameter}: .* is none of [A-Z_, ]+"):
            await method(**needed_by(method) | {parameter: given})


@pytest.mark.parametrize("misspelt", [zart.IfInDoubt("stopp"), "stopp"])
def test_a_step_that_must_not_run_twice_does_not_for_a_typing_error(misspelt: Any) -> None:
    with pytest.raises(ValueError, match=r"if_in_doubt: .* is none of RETRY, STOP"):
        step_spec(zart.StepSpec("a", if_in_doubt=misspelt))


def test_nor_does_a_filter_or_an_operation_of_batches_take_one() -> None:
    misspelt = zart.RunStatus("FALIED")
    with pytest.raises(ValueError, match="statuses: 'UNSPECIFIED' is none of SCHEDULED, "):
        zart.ExecutionFilter(statuses=[misspelt]).to_message()
    with pytest.raises(ValueError, match="if_running: 'SUPERSEED' is none of SUPERSEDE, FAIL"):
        operation_of(zart.Restart(if_running="superseed"))


@pytest.mark.parametrize("kind", ENUMS.values())
def test_a_choice_may_be_named_in_lower_case(kind: type[enum.StrEnum]) -> None:
    assert [kind(each.value.lower()) for each in kind] == list(kind)


@pytest.mark.parametrize("given", [zart.IfInDoubt("stop"), "stop", "STOP"])
def test_a_step_that_must_not_run_twice_is_sent_as_such(given: Any) -> None:
    sent = step_spec(zart.StepSpec("a", if_in_doubt=given))
    assert sent.if_in_doubt == in_doubt_pb2.IF_IN_DOUBT_STOP


def read_of(spec: task_definition_pb2.StepSpec) -> zart.StepSpec:
    """Return a step of a definition as it is read."""
    (step,) = decode(models.TaskDefinition, task_definition_pb2.TaskDefinition(steps=[spec])).steps
    return step


def test_a_definition_that_was_read_is_registered_as_it_was_unless_nobody_here_knows_it() -> None:
    read = read_of(task_definition_pb2.StepSpec(step_name="a"))
    assert step_spec(read).if_in_doubt == in_doubt_pb2.IF_IN_DOUBT_RETRY
    future: Any = 99
    newer = read_of(task_definition_pb2.StepSpec(step_name="a", if_in_doubt=future))
    assert newer.if_in_doubt is zart.IfInDoubt.UNSPECIFIED
    with pytest.raises(ValueError, match="if_in_doubt"):
        step_spec(newer)
