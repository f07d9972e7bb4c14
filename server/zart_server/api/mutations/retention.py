"""The mutations of RetentionService, each with what the engine does for it."""

from __future__ import annotations

from zart.v1 import retention_service_pb2 as pb
from zart_server.api import decode_retention as decode
from zart_server.api.checks import with_caller
from zart_server.api.encode_retention import purged, task_retention
from zart_server.api.mutations.mutation import Grouping, Mutation, for_one
from zart_server.domain.retention import PurgeExecutions, SetRetention, TaskRetention, Unset
from zart_server.engine.operations.purge_executions import purge_executions
from zart_server.engine.operations.set_retention import set_retention
from zart_server.engine.operations.unset_retention import unset_retention


def _of_set(command: SetRetention) -> str:
    return _of_task(command.task_name)


def _of_task(task_name: str) -> str:
    return f"\0retention {task_name}"  # no execution is called so


def _purge(_command: PurgeExecutions) -> str:
    return "\0purge"  # likewise


def _set(found: TaskRetention) -> pb.SetRetentionResponse:
    return pb.SetRetentionResponse(retention=task_retention(found))


def _unset(done: Unset) -> pb.UnsetRetentionResponse:
    was = None if done.was is None else task_retention(done.was)
    return pb.UnsetRetentionResponse(was=was)


SET_RETENTION = Mutation(
    response_type=pb.SetRetentionResponse,
    decode=with_caller(decode.set_retention),
    operate=for_one(set_retention),
    encode=_set,
    target=_of_set,
    grouping=Grouping.ALONE,
)
UNSET_RETENTION = Mutation(
    response_type=pb.UnsetRetentionResponse,
    decode=with_caller(decode.unset_retention),
    operate=for_one(unset_retention),
    encode=_unset,
    target=_of_task,
    grouping=Grouping.ALONE,
)
PURGE_EXECUTIONS = Mutation(
    response_type=pb.PurgeExecutionsResponse,
    decode=with_caller(decode.purge_executions),
    operate=for_one(purge_executions),
    encode=purged,
    target=_purge,
    grouping=Grouping.ALONE,
)
