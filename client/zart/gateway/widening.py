"""What a change has empty that would make it mean more: a condition of a filter, a plan's token.

So writes a program whose variable is not set. To protobuf, and so to the server, empty is as good
as left out: only the JSON tells the two apart. Empty lists are let pass: some generated clients
begin with them.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from zart.gateway.bindings import dotted
from zart.gateway.strict_json import Violation, field_named

_CONDITIONS = "zart.v1.ExecutionFilter"
_PLAN = "plan_token"


def may_not_be_empty(field: FieldDescriptor) -> bool:
    """Return whether a change that has this field empty would mean more than was written."""
    kind = field.containing_type
    is_condition = kind is not None and kind.full_name == _CONDITIONS
    is_text = field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
    return is_text and (is_condition or field.name == _PLAN)


def widening(members: object, kind: Descriptor, path: str = "") -> Iterator[Violation]:
    """Find what is empty and may not be, in the JSON of a change."""
    for name, item in members.items() if isinstance(members, dict) else ():
        field = field_named(kind, name)
        if field is None:
            continue
        if item == "" and may_not_be_empty(field):
            yield path + name, "is empty: leave it out if that is meant"
        elif (inner := dotted(field)) is not None:
            yield from widening(item, inner, f"{path}{name}.")
