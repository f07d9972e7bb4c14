"""The mutation that resolves attempts in doubt."""

from __future__ import annotations

from zart.v1 import admin_service_pb2 as pb
from zart_server.api import doubt
from zart_server.api.checks import with_caller
from zart_server.api.mutations.mutation import Grouping, Mutation, for_one
from zart_server.domain.doubt import ResolveInDoubt
from zart_server.engine.operations.resolve_in_doubt import resolve_in_doubt


def _of_doubt(command: ResolveInDoubt) -> str:
    return f"\0doubt of {command.execution_id}"  # it locks no execution


RESOLVE_IN_DOUBT = Mutation(
    response_type=pb.ResolveInDoubtResponse,
    decode=with_caller(doubt.doubt_resolved),
    operate=for_one(resolve_in_doubt),
    encode=doubt.resolved,
    target=_of_doubt,
    grouping=Grouping.ALONE,
)
