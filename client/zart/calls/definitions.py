"""The calls of ExecutionService about task definitions."""

from __future__ import annotations

from zart.calls.call import Call, ListCall, page_reader
from zart.decoding import decode
from zart.models import TaskDefinition
from zart.v1 import execution_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["ExecutionService"].methods_by_name


def list_task_definitions(*, page_size: int = 0, page_token: str = "") -> ListCall[TaskDefinition]:
    """List the current task definitions by name, without their steps' inputs."""
    request = pb.ListTaskDefinitionsRequest(page_size=page_size, page_token=page_token)
    return ListCall(
        _METHODS["ListTaskDefinitions"], request, page_reader(TaskDefinition, "task_definitions")
    )


def get_task_definition(task_name: str, *, version: int | None = None) -> Call[TaskDefinition]:
    """Read a task definition (default: the current version). Raises TaskDefinitionNotFound."""
    request = pb.GetTaskDefinitionRequest(task_name=task_name, version=version)
    return Call(
        _METHODS["GetTaskDefinition"],
        request,
        lambda response: decode(TaskDefinition, response.task_definition),
    )
