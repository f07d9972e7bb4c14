"""The mutation of DispatchService that is an operator's: RegisterTask."""

from __future__ import annotations

from zart.v1 import dispatch_service_pb2 as pb
from zart_server.api import decode_dispatch as decode
from zart_server.api.access import check_tasks
from zart_server.api.checks import Checks, incident_of
from zart_server.api.identity import principal
from zart_server.api.mutations.mutation import Grouping, Mutation, for_one
from zart_server.domain.commands import Caller, RegisterTask
from zart_server.domain.model import TaskDefinition
from zart_server.engine.operations.register_task import register_task

_TASK = "\0task "  # no execution is called so


def _decode(request: pb.RegisterTaskRequest) -> tuple[RegisterTask, Caller]:
    check_tasks([request.definition.task_name])
    with Checks() as check:
        command = check(decode.register_task, request)
        incident = check(incident_of, request.incident)
    return command, Caller(principal=principal(), incident=incident)


def _registered(stored: TaskDefinition) -> pb.RegisterTaskResponse:
    return pb.RegisterTaskResponse(task_name=stored.task_name, version=stored.version)


def _task_of(command: RegisterTask) -> str:
    return _TASK + command.task_name


REGISTER_TASK = Mutation(
    response_type=pb.RegisterTaskResponse,
    decode=_decode,
    operate=for_one(register_task),
    encode=_registered,
    target=_task_of,
    grouping=Grouping.ALONE,
)
