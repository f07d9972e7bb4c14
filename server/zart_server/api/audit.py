"""AuditService: who did what."""

from __future__ import annotations

from zart.v1 import audit_service_pb2 as pb
from zart.v1 import audit_service_pb2_grpc
from zart_server import aside
from zart_server.api import decode_audit as decode
from zart_server.api.checks import Checks
from zart_server.api.context import Context
from zart_server.api.encode_operation import operation, rule_hold
from zart_server.api.fields import name_of
from zart_server.api.page_tokens import page_of
from zart_server.api.pages import add_page
from zart_server.api.reading import Reading
from zart_server.store import reads


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """Reads the operations record."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: Context
    ) -> pb.ListOperationsResponse:
        """List operations."""
        with Checks() as check:
            wanted = check(decode.list_operations, request)
            size, cursor = check(page_of, request)
        async with self._reading.transaction() as tx:
            page = await reads.list_operations(tx, wanted, cursor, size)
        response = pb.ListOperationsResponse()
        response.next_page_token = await add_page(
            request, page, operation, response.operations.append
        )
        return response

    async def ListRuleHolds(
        self, request: pb.ListRuleHoldsRequest, context: Context
    ) -> pb.ListRuleHoldsResponse:
        """Tell which pause rules held an execution's steps."""
        execution_id = name_of(request.execution_id, "execution_id")
        async with self._reading.transaction(snapshot=True) as tx:
            known = await reads.read_known_holds(tx, execution_id)
        found = await aside.done(known.size, known.found)
        return pb.ListRuleHoldsResponse(
            holds=map(rule_hold, found.holds), is_partial=found.is_partial
        )
