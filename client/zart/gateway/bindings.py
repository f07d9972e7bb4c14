"""Which HTTP method and path reaches which RPC, as the google.api.http annotations say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import (
    Descriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

from zart.v1 import (
    admin_service_pb2,
    audit_service_pb2,
    batch_service_pb2,
    breaker_service_pb2,
    dispatch_service_pb2,
    execution_service_pb2,
    retention_service_pb2,
)

# The segments that we understand: text, and in braces a field of the request or of what is in it.
_TEMPLATE = re.compile(r"(/([^/{}*]+|\{[a-z_]+(\.[a-z_]+)*\}))+")
_VARIABLE = re.compile(r"\{([a-z_.]+)\}")


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to reach an RPC: ``variables`` are the fields that stand in the path.

    ``within`` has for each the messages of the request that it is in, from the outermost; none: it
    is the request's own. In ``path`` a variable is called as its field is.
    """

    http_method: str
    path: str
    rpc: MethodDescriptor
    variables: tuple[FieldDescriptor, ...]
    within: tuple[tuple[FieldDescriptor, ...], ...]
    takes_body: bool

    @property
    def request(self) -> Descriptor:
        """What the RPC takes."""
        return self.rpc.input_type

    @property
    def rpc_path(self) -> str:
        """The RPC's path on the wire."""
        return f"/{self.rpc.containing_service.full_name}/{self.rpc.name}"


def dotted(field: FieldDescriptor) -> Descriptor | None:
    """Return the message of a field whose own fields are written dotted in a query: one of ours."""
    message = field.message_type
    is_ours = message is not None and message.file.package == "zart.v1"
    return message if is_ours and not field.is_repeated else None


def all_services() -> list[ServiceDescriptor]:
    """Return the services of zart."""
    modules = (
        admin_service_pb2,
        audit_service_pb2,
        batch_service_pb2,
        breaker_service_pb2,
        dispatch_service_pb2,
        execution_service_pb2,
        retention_service_pb2,
    )
    return [
        service for module in modules for service in module.DESCRIPTOR.services_by_name.values()
    ]


def bindings_of(services: Iterable[ServiceDescriptor]) -> Iterator[Binding]:
    """Read the annotations. Raises NotImplementedError for one that this gateway cannot serve."""
    for service in services:
        for rpc in service.methods:
            options = rpc.GetOptions()
            if options.HasExtension(annotations_pb2.http):
                rule = options.Extensions[annotations_pb2.http]
                for each in (rule, *rule.additional_bindings):
                    yield _binding(rpc, each)


def _binding(rpc: MethodDescriptor, rule: HttpRule) -> Binding:
    http_method = rule.WhichOneof("pattern") or ""
    path = getattr(rule, http_method, "")
    if (
        http_method not in {"get", "post", "put", "patch", "delete"}
        or rule.body not in {"", "*"}
        or rule.response_body
        or rpc.client_streaming
        or not _TEMPLATE.fullmatch(path)
    ):
        raise NotImplementedError(f"{rpc.full_name}: no gateway for {rule}")
    found = [_fields(rpc.input_type, name.split(".")) for name in _VARIABLE.findall(path)]
    return Binding(
        http_method.upper(),
        _VARIABLE.sub(lambda variable: "{" + variable[1].rpartition(".")[2] + "}", path),
        rpc,
        tuple(fields[-1] for fields in found),
        tuple(tuple(fields[:-1]) for fields in found),
        rule.body == "*",
    )


def _fields(message: Descriptor, names: list[str]) -> list[FieldDescriptor]:
    """Return the fields on the way from a message to one that is in it, or its own."""
    field = message.fields_by_name[names[0]]
    if len(names) == 1 or field.message_type is None:
        return [field]
    return [field, *_fields(field.message_type, names[1:])]
