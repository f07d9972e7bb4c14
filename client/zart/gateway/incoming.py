"""An HTTP request to the message that its RPC takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from zart.gateway.bindings import Binding, dotted
from zart.gateway.request_ids import add_request_id, has_request_id
from zart.gateway.statuses import SHOWN, cut, invalid
from zart.gateway.strict_json import Violation, field_named, fill, parse_object, unknown
from zart.gateway.update_masks import add_update_mask
from zart.gateway.widening import widening

_MOST_PARAMETERS = 2_000
_TOLD = 100  # bytes of a value that is told: of two of them both are seen
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_WRITTEN_AS_TEXT = {"google.protobuf.Timestamp", "google.protobuf.Duration"}
# What rules are about: a request with none of these means all of them.
_SCOPE = {"everything", "rule_id", "execution_id", "task_name", "step_pattern"}


def message_of(
    binding: Binding, path: Mapping[str, str], query: bytes, body: bytes, idempotency_key: str
) -> Message:
    """Make the message of a request: of the path, as it came; and the query, or the body.

    ``idempotency_key`` becomes the request_id of a mutation; one that has none is given one, so
    that the channel's own repeats are safe. Raises Refusal.
    """
    message = GetMessageClass(binding.request)()
    if binding.takes_body:
        if query:
            raise invalid([("query", "is not taken here: everything stands in the body")])
        members = parse_object(body)
        is_change = has_request_id(binding.request)
        fill(message, members, widening(members, binding.request) if is_change else ())
        add_update_mask(message, members)
    else:
        if body:
            raise invalid([("body", f"is not taken by {binding.http_method}: use the query")])
        fill(message, _members(binding, query))
    _add_variables(message, binding, path)
    add_request_id(message, idempotency_key)
    _refuse_everything_unsaid(message)
    return message


def _members(binding: Binding, query: bytes) -> dict[str, Any]:
    """Read a query as the JSON object that it stands for."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError as error:
        raise invalid([("query", f"cannot be read: {error}")]) from None
    members: dict[str, Any] = {}
    violations = []
    for name, text in pairs:
        *outer, last = name.split(".")
        kind, inside = _within(binding.request, outer, members)
        field = None if kind is None else field_named(kind, last)
        if field is None or field in binding.variables:
            violations.append(unknown(binding.request, name))
        elif field.is_repeated:
            inside.setdefault(field.json_name, []).append(_value(field, text))
        elif field.json_name in inside:
            violations.append((name, "is given twice"))
        elif wrong := list(_unreadable(field, name, value := _value(field, text))):
            violations += wrong  # and nothing is kept, where fields of it may follow
        else:
            inside[field.json_name] = value
        if len(violations) >= SHOWN:
            break
    if violations:
        raise invalid(violations)
    return members


def _within(
    kind: Descriptor, names: list[str], members: dict[str, Any]
) -> tuple[Descriptor | None, dict[str, Any]]:
    """Return the message that names lead to, and the members that it has so far.

    None: there is no such message, or it is not one that is written as dotted parameters.
    """
    for name in names:
        field = field_named(kind, name)
        inner = None if field is None else dotted(field)
        if field is None or inner is None:
            return None, {}
        kind, members = inner, members.setdefault(field.json_name, {})
    return kind, members


def _value(field: FieldDescriptor, text: str) -> object:
    """Return the JSON value of a parameter; what is no value is left to be refused."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    if field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}:
        return int(text) if _INTEGER.fullmatch(text) else text
    return text


def _unreadable(field: FieldDescriptor, name: str, value: object) -> Iterator[Violation]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 and isinstance(value, str):
        yield name, f"is {value[:40]!r}, not a number"
    if inner := dotted(field):
        yield name, f"is given by its fields, such as {name}.{inner.fields[0].json_name}"
    elif field.message_type is not None and field.message_type.full_name not in _WRITTEN_AS_TEXT:
        yield name, "cannot be given in a query"


def _add_variables(message: Message, binding: Binding, path: Mapping[str, str]) -> None:
    """Set what stands in the path; a body may repeat it, but not contradict it."""
    found = type(message)()
    for field, within in zip(binding.variables, binding.within, strict=True):
        try:
            members: dict[str, Any] = {field.json_name: unquote(path[field.name], errors="strict")}
        except UnicodeDecodeError:
            raise invalid([(field.name, "is not UTF-8 in the path")]) from None
        for outer in reversed(within):
            members = {outer.json_name: members}
        fill(found, members)
    for field, within in zip(binding.variables, binding.within, strict=True):
        said, meant = _value_in(message, within, field), _value_in(found, within, field)
        if said is not None and said != meant:
            contradicts = f"is {_shown(said)} in the body, but {_shown(meant)} in the path"
            raise invalid([(field.name, contradicts)])
    message.MergeFrom(found)


def _value_in(
    message: Any,  # noqa: ANN401 - known by its fields
    within: tuple[FieldDescriptor, ...],
    field: FieldDescriptor,
) -> object | None:
    """Return what a field is set to, in a message or one inside it; None: it is not set."""
    for outer in within:
        message = getattr(message, outer.name)
    value = getattr(message, field.name)
    is_set = message.HasField(field.name) if field.has_presence else bool(value)
    return value if is_set else None


def _shown(value: object) -> str:
    """Write a value as it is told: a body may have one of 16 MiB."""
    return repr(cut(value, _TOLD) if isinstance(value, str) else value)


def _has_scope(message: Message) -> bool:
    """Return whether leaving fields out makes a request mean more."""
    return "everything" in message.DESCRIPTOR.fields_by_name


def _refuse_everything_unsaid(message: Message) -> None:
    """Over HTTP, who means everything says so: a forgotten body must not resume all rules.

    Nor does the token of a plan, or how fast they are to go, say which are meant.
    """
    names = {field.name for field, _ in message.ListFields()}
    if _has_scope(message) and not names & _SCOPE:
        raise invalid([("everything", "nothing is named: set a scope, or everything to true")])
