"""The services of a server, and what they are made of."""

from __future__ import annotations

from typing import cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from zart.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    batch_service_pb2,
    batch_service_pb2_grpc,
    breaker_service_pb2,
    breaker_service_pb2_grpc,
    dispatch_service_pb2,
    dispatch_service_pb2_grpc,
    execution_service_pb2,
    execution_service_pb2_grpc,
    retention_service_pb2,
    retention_service_pb2_grpc,
)
from zart_server.api.access import AccessControl
from zart_server.api.admin import AdminServicer
from zart_server.api.audit import AuditServicer
from zart_server.api.batch import BatchServicer
from zart_server.api.breaker import BreakerServicer
from zart_server.api.dispatch import DispatchServicer
from zart_server.api.execution import ExecutionServicer
from zart_server.api.health import Health
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.reading import Reading
from zart_server.api.reflection import Reflection
from zart_server.api.retention import RetentionServicer
from zart_server.api.unregistered import UnregisteredMethods
from zart_server.engine.background.runtime import Runtime

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (admin_service_pb2, "AdminService"),
        (audit_service_pb2, "AuditService"),
        (batch_service_pb2, "BatchService"),
        (breaker_service_pb2, "BreakerService"),
        (dispatch_service_pb2, "DispatchService"),
        (execution_service_pb2, "ExecutionService"),
        (retention_service_pb2, "RetentionService"),
    )
)
REGISTERED = (
    *SERVICES,
    health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
    reflection.SERVICE_NAME,
)


def add_services(
    to: grpc.aio.Server,
    runtime: Runtime,
    mutations: Mutations,
    reading: Reading,
    dispatch: DispatchServicer,
    access: AccessControl | None = None,
) -> Health:
    """Add every service to a server that has not begun; return what tells its health."""
    server = cast("grpc.aio.Server", UnregisteredMethods(to))  # as generated code takes it
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(
        AdminServicer(mutations, reading, runtime.drains, runtime.rule_watches), server
    )
    execution_service_pb2_grpc.add_ExecutionServiceServicer_to_server(
        ExecutionServicer(mutations, reading, runtime.watches, runtime.dispatch), server
    )
    dispatch_service_pb2_grpc.add_DispatchServiceServicer_to_server(dispatch, server)
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(reading), server)
    breaker_service_pb2_grpc.add_BreakerServiceServicer_to_server(
        BreakerServicer(mutations, reading), server
    )
    batch_service_pb2_grpc.add_BatchServiceServicer_to_server(
        BatchServicer(mutations, reading, runtime.batch_watches), server
    )
    retention_service_pb2_grpc.add_RetentionServiceServicer_to_server(
        RetentionServicer(mutations, reading, runtime.kept), server
    )
    health = Health(access)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflecting = Reflection(REGISTERED, health.draining)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflecting, to)  # of one method
    return health
