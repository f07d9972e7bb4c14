"""Describes the protos to tools: what Python's descriptors leave out is filled in."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto


def copy_with_json_names(file: FileDescriptor, proto: FileDescriptorProto) -> None:
    """Describe a file, JSON names included; without them grpcurl answers in snake_case."""
    file.CopyToProto(proto)
    messages = file.message_types_by_name
    _name_fields((messages[message.name], message) for message in proto.message_type)


def _name_fields(pairs: Iterable[tuple[Descriptor, DescriptorProto]]) -> None:
    for descriptor, message in pairs:
        for field in message.field:
            field.json_name = descriptor.fields_by_name[field.name].json_name
        nested = descriptor.nested_types_by_name
        _name_fields((nested[inner.name], inner) for inner in message.nested_type)
