"""Writes the OpenAPI document of the gateway from the protos, comments included.

``python tools/openapi.py DESCRIPTORS OUTPUT``, with what ``buf build`` gives. No kept generator
reads descriptors in Python, and those in Go are a toolchain more for one file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import status_pb2
from proto_comments import Comments

from zart.gateway.bindings import Binding, all_services, bindings_of, dotted
from zart.gateway.request_ids import has_request_id
from zart.gateway.widening import may_not_be_empty

Schema: TypeAlias = dict[str, Any]

_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    # The empty one is as none.
    "google.protobuf.FieldMask": {
        "type": "string",
        "pattern": "^([A-Za-z0-9.]+(,[A-Za-z0-9.]+)*)?$",
    },
    "google.protobuf.Value": {"description": "Any JSON value."},
    "google.protobuf.Any": {
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"type": "string"}},
    },
}
# How it is written, said beside what it is for.
_WRITTEN = {"google.protobuf.FieldMask": "Names in camelCase, with commas between."}
_STATUS = {"$ref": "#/components/schemas/Status"}
_ERROR = {"application/json": {"schema": _STATUS}}
_INFO = """\
HTTP/JSON for the same RPCs as gRPC. Strict: a JSON field or a parameter that the request lacks is
a 400 that names it, and nothing happens. Errors are google.rpc.Status with an ErrorInfo (domain
`zart`); field names may be written in camelCase or as in the protos."""
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The request_id, where the request has none. Without either one is made,"
    " and told in the answer's header of this name.",
    "schema": {"type": "string"},
}


class Document:
    """The document as it grows."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self.schemas: dict[str, Schema] = {}
        self.paths: dict[str, dict[str, Schema]] = {}

    def add(self, binding: Binding) -> None:
        """Describe one way to reach an RPC."""
        rpc, method = binding.rpc, binding.http_method.lower()
        parameters = [self._path_parameter(field) for field in binding.variables]
        operation: Schema = {
            "operationId": _operation_id(binding),
            "tags": [rpc.containing_service.name],
            "summary": _first_sentence(self._comments.text(rpc.full_name)),
            **self._comments.of(rpc.full_name),
        }
        if has_request_id(binding.request):
            parameters.append(_KEY)
        if binding.takes_body:
            schema = self._body(binding)
            operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        else:
            fields = [f for f in binding.request.fields if f not in binding.variables]
            parameters += [each for field in fields for each in self._query_parameters(field)]
        if parameters:
            operation["parameters"] = parameters
        operation["responses"] = {
            "200": self._ok(binding),
            "4XX": {"description": "Refused.", "content": _ERROR},
            "5XX": {"description": "It may have happened: repeat it.", "content": _ERROR},
        }
        self.paths.setdefault(binding.path, {})[method] = operation

    def _ok(self, binding: Binding) -> Schema:
        answer = self.refer(binding.rpc.output_type)
        if not binding.rpc.server_streaming:
            return {"description": "Done.", "content": {"application/json": {"schema": answer}}}
        error = {"type": "object", "required": ["error"], "properties": {"error": _STATUS}}
        return {
            "description": "One message a line; an error, once lines were sent, is the last one.",
            "content": {"application/x-ndjson": {"schema": {"anyOf": [answer, error]}}},
        }

    def _body(self, binding: Binding) -> Schema:
        if not binding.variables:
            return self.refer(binding.request, is_request=True)
        name = binding.request.name.removesuffix("Request") + "Body"
        left = [field for field in binding.request.fields if field not in binding.variables]
        self.schemas[name] = self._object(binding.request, left, is_request=True)
        return {"$ref": f"#/components/schemas/{name}"}

    def _path_parameter(self, field: FieldDescriptor) -> Schema:
        return {
            "name": field.name,
            "in": "path",
            "required": True,
            **self._comments.of(field.full_name),
            "schema": {**_SCALARS[field.type], "minLength": 1},
        }

    def _query_parameters(self, field: FieldDescriptor, within: str = "") -> list[Schema]:
        name = within + field.json_name
        if inner := dotted(field):
            inside = inner.fields
            return [each for one in inside for each in self._query_parameters(one, f"{name}.")]
        schema = self._field(field, is_request=True)
        described = {"description": schema.pop("description")} if "description" in schema else {}
        return [{"name": name, "in": "query", **described, "schema": schema}]

    def refer(self, kind: Descriptor, *, is_request: bool = False) -> Schema:
        """Refer to a message, which is described once."""
        if kind.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[kind.full_name])
        if kind.name not in self.schemas:
            self.schemas[kind.name] = {}  # first, for messages that hold themselves
            self.schemas[kind.name] = self._object(kind, kind.fields, is_request=is_request)
        return {"$ref": f"#/components/schemas/{kind.name}"}

    def _object(
        self, kind: Descriptor, fields: Sequence[FieldDescriptor], *, is_request: bool
    ) -> Schema:
        schema: Schema = {
            "type": "object",
            **self._comments.of(kind.full_name),
            # None may be null, but where its type is any JSON value: that would guard nothing.
            "properties": {f.json_name: self._member(f, is_request=is_request) for f in fields},
        }
        if is_request:
            schema["additionalProperties"] = False
            # Said in words: generators drop what they cannot express in types.
            for oneof in kind.oneofs:
                if len(oneof.fields) > 1:
                    names = ", ".join(field.json_name for field in oneof.fields)
                    said = schema.get("description", "")
                    schema["description"] = f"{said}\n\nAt most one of: {names}.".strip()
        return schema

    def _member(self, field: FieldDescriptor, *, is_request: bool) -> Schema:
        """Describe a field of a JSON object, which tells one that is empty from one left out."""
        schema = self._field(field, is_request=is_request)
        if is_request and may_not_be_empty(field):
            schema["minLength"] = 1
        return schema

    def _field(self, field: FieldDescriptor, *, is_request: bool) -> Schema:
        schema = self._type(field, is_request=is_request)
        if field.is_repeated and not _is_map(field):
            schema = {"type": "array", "items": schema}
        schema = {**schema, **self._comments.of(field.full_name)}
        if field.message_type is not None and field.message_type.full_name in _WRITTEN:
            schema["description"] += f" {_WRITTEN[field.message_type.full_name]}"
        return schema

    def _type(self, field: FieldDescriptor, *, is_request: bool) -> Schema:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            values = entry.fields_by_name["value"]
            schema = self._field(values, is_request=is_request)
            return {"type": "object", "additionalProperties": schema}
        if field.enum_type is not None:
            named = self._enum(field.enum_type)
            # As protobuf's JSON has it; answers have names.
            return {"anyOf": [named, {"type": "integer"}]} if is_request else named
        if field.message_type is not None:
            return self.refer(field.message_type, is_request=is_request)
        return dict(_SCALARS[field.type])

    def _enum(self, kind: EnumDescriptor) -> Schema:
        if kind.name not in self.schemas:
            names = [value.name for value in kind.values]
            said = [self._comments.text(kind.full_name)]
            said += [f"{n}: {self._comments.text(f'{kind.full_name}.{n}')}" for n in names]
            self.schemas[kind.name] = {
                "type": "string",
                "description": "\n".join(said),
                "enum": names,
            }
        return {"$ref": f"#/components/schemas/{kind.name}"}


def _operation_id(binding: Binding) -> str:
    """Name an operation: by service too, for a schema may have the RPC's name with a suffix.

    Of several ways to one RPC the one with the fewest fields in its path has the plain name.
    """
    rpc = binding.rpc
    ways = [way for way in bindings_of([rpc.containing_service]) if way.rpc is rpc]
    plain = min(ways, key=lambda way: len(way.variables))
    more = [field.name for field in binding.variables if field not in plain.variables]
    by = "By" + "And".join(map(_camel, more)) if more else ""
    return f"{rpc.containing_service.name}_{rpc.name}{by}"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _first_sentence(text: str) -> str:
    return text.partition("\n")[0].partition(". ")[0].removesuffix(".")


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def document(descriptors: FileDescriptorSet) -> Schema:
    """Make the document of all that has an annotation."""
    comments = Comments(descriptors.file)
    made = Document(comments)
    made.refer(status_pb2.Status.DESCRIPTOR)  # every operation does
    bindings = list(bindings_of(all_services()))
    for binding in bindings:
        made.add(binding)
    services = {binding.rpc.containing_service.full_name for binding in bindings}
    return {
        "openapi": "3.1.0",
        "info": {"title": "zart", "version": "v1", "description": _INFO},
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "tags": [
            {"name": name.rpartition(".")[2], **comments.of(name)} for name in sorted(services)
        ],
        "paths": made.paths,
        "components": {
            "schemas": dict(sorted(made.schemas.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def main(source: str, target: str) -> None:
    """Read the descriptors and write the document."""
    descriptors = FileDescriptorSet.FromString(Path(source).read_bytes())
    text = json.dumps(document(descriptors), indent=2, ensure_ascii=False)
    Path(target).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
