"""JSON to messages, strictly: what a request lacks, repeats or would damage is refused.

protobuf's json_format does the conversion. It lets pass names given twice, two members of a oneof
where one is null, false for a number, and numbers that a google.protobuf.Value would change.
"""

from __future__ import annotations

import difflib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from zart.gateway.parts import Parts
from zart.gateway.spelling import misspelt
from zart.gateway.statuses import SHOWN, invalid
from zart.gateway.weighing import check_weight

T = TypeVar("T")
R = TypeVar("R")
Violation: TypeAlias = tuple[str, str]
_VALUES = {"google.protobuf.Value", "google.protobuf.Struct", "google.protobuf.ListValue"}
_FRACTIONAL = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
_EXACT = 2**53
_MOST_DIGITS = 400
# Messages in each other below a Value, of the 100 that protobuf reads: the Value is one, and up to
# two are around it in a request. Each object is three, and each list two.
_DEEPEST = 96
_OF_OBJECT, _OF_LIST = 3, 2
_TOLD = 300  # characters of what is wrong with a field
_NAMED = 100  # characters of a name that is none


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; nothing at all is an empty one. Raises Refusal."""
    if not body:
        return {}
    check_weight(body)
    try:
        value = _decoder().decode(body.decode())
    except UnicodeDecodeError as error:
        raise invalid([("body", f"is not UTF-8 at byte {error.start}")]) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise invalid([("body", f"is not JSON: {error.msg} at {where}")]) from None
    except ValueError as error:
        raise invalid([("body", f"is not JSON: {error}")]) from None
    except RecursionError:
        raise invalid([("body", "is nested too deep")]) from None
    if not isinstance(value, dict):
        raise invalid([("body", "is not a JSON object")])
    return value


def fill(message: Message, members: Mapping[str, Any], others: Iterable[Violation] = ()) -> None:
    """Set the fields of an empty message from JSON. Raises Refusal naming each bad one.

    ``others`` are what else is wrong with them. More parts than the server takes are refused before
    they are made a message, which takes far longer than to look at them.
    """
    found = _violations(members, cast("Descriptor", message.DESCRIPTOR), "", Parts())
    violations = list(itertools.islice(itertools.chain(found, others), SHOWN))
    if not violations:
        for name, value in members.items():  # one by one, to know which it was
            try:
                json_format.ParseDict({name: value}, message)
            except (json_format.ParseError, ValueError, TypeError, OverflowError) as error:
                violations.append((name, _told(name, error)))
    if violations:
        raise invalid(violations)


def field_named(kind: Descriptor, name: str) -> FieldDescriptor | None:
    """Find a field by its name in JSON or in the proto."""
    for field in kind.fields:
        if name in (field.json_name, field.name):
            return field
    return None


def unknown(kind: Descriptor, name: str, path: str = "") -> Violation:
    """Say that there is no such field, and which may have been meant."""
    name = name[:_NAMED]
    close = difflib.get_close_matches(name, [field.json_name for field in kind.fields], n=1)
    hint = f": did you mean {close[0]}?" if close else ""
    return path + name, f"is not a field of {kind.name}{hint}"


def _violations(value: object, kind: Descriptor, path: str, parts: Parts) -> Iterator[Violation]:
    if not isinstance(value, dict):
        return  # json_format says what is wrong with it
    seen: dict[str, str] = {}
    for name, item in value.items():
        field = field_named(kind, name)
        if field is None:
            yield unknown(kind, name, path)
        else:
            yield from _clashes(field, name, path, seen)
            yield from _inside(field, item, path + name, parts)


def _clashes(
    field: FieldDescriptor, name: str, path: str, seen: dict[str, str]
) -> Iterator[Violation]:
    """Find a field that is given twice, or beside another of its oneof."""
    if field.name in seen:
        yield path + name, f"is given twice, as {seen[field.name]} and as {name}"
    seen[field.name] = name
    oneof = field.containing_oneof
    if oneof is None or len(oneof.fields) == 1:
        return
    key = f"oneof {oneof.name}"
    if key in seen:
        yield path + name, f"is given beside {seen[key]}: give one of them"
    seen[key] = name


def _inside(field: FieldDescriptor, item: object, path: str, parts: Parts) -> Iterator[Violation]:
    if item is None and not _is_value(field):
        # To json_format null is as good as left out. To a program that had no value it is not:
        # a guard that is left out guards nothing.
        yield path, "is null: leave it out if that is meant"
        return
    if _is_value(field):
        yield from _damaged(item, path, parts)
        return
    parts.add_field(field, item)
    if wrong := next(filter(None, (_wrong(field, each) for each in _each(item))), ""):
        yield path, wrong
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        values = field.message_type.fields_by_name["value"]
        for key, part in item.items() if isinstance(item, dict) else ():
            yield from _inside(values, part, f"{path}.{key}", parts)
    elif field.message_type is not None and isinstance(item, list):
        for index, part in enumerate(item):
            yield from _violations(part, field.message_type, f"{path}[{index}].", parts)
    elif field.message_type is not None:
        yield from _violations(item, field.message_type, f"{path}.", parts)


def _each(item: object) -> list[object]:
    return item if isinstance(item, list) else [item]


def _wrong(field: FieldDescriptor, item: object) -> str:
    """Say what is wrong with a number, a name or a text; empty: nothing."""
    # json_format takes false for 0, as a number or a value of an enum; and 0.5 for the latter.
    never = bool | float if field.enum_type is not None else bool
    if isinstance(item, never) and field.type != FieldDescriptor.TYPE_BOOL:
        return f"is {json.dumps(item)}, which it cannot be"
    if field.cpp_type in _FRACTIONAL and _is_beyond(item):
        return "is a number out of range"  # of which json_format makes an OverflowError
    return misspelt(field, item) if isinstance(item, str) else ""


def _is_value(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name in _VALUES


def _damaged(value: object, path: str, parts: Parts) -> Iterator[Violation]:
    """Find what does not come out of a Value as it went in: numbers, and what is nested deep."""
    waiting: list[tuple[Iterable[object], int]] = [([value], 0)]
    while waiting:
        items, depth = waiting.pop()
        if depth > _DEEPEST:
            objects, lists = _DEEPEST // _OF_OBJECT, _DEEPEST // _OF_LIST
            yield path, f"is nested deeper than {objects} objects, or {lists} lists: use {path}Json"
            return
        for item in items:
            if isinstance(item, dict):
                parts.add_members(len(item))
                waiting.append((item.values(), depth + _OF_OBJECT))
            elif isinstance(item, list):
                parts.add_values(len(item))
                waiting.append((item, depth + _OF_LIST))
            elif _is_too_large(item):
                yield path, f"has a number beyond 2^53, which would be damaged: use {path}Json"
                return


def _is_too_large(item: object) -> bool:
    if isinstance(item, float):  # 2^53 itself may have been written as 2^53 + 1
        return abs(item) >= _EXACT
    return isinstance(item, int) and abs(item) > _EXACT


def _is_beyond(item: object) -> bool:
    """Return whether no double is near a whole number."""
    return isinstance(item, int) and abs(item) > sys.float_info.max


def _told(name: str, error: Exception) -> str:
    text = str(error).removeprefix(f"Failed to parse {name} field: ")
    return f"cannot be read: {text[:_TOLD].rstrip('.')}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, _ in pairs:  # there may be a million: nothing more is made of them
            if name not in found:
                raise ValueError(f"the member {name[:100]!r} is there twice")
            del found[name]
    return found


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits: use a field of exact JSON text")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"the number {text[:40]} is out of range")
    return number


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON value")


def _decoder() -> json.JSONDecoder:
    """Make a decoder for one body: it reads no more numbers and objects than any good one has.

    Each takes a call of ours; all else has been weighed.
    """
    parts = Parts()

    def counted(read: Callable[[T], R]) -> Callable[[T], R]:
        def of_one(found: T) -> R:
            parts.add_read()
            return read(found)

        return of_one

    return json.JSONDecoder(
        object_pairs_hook=counted(_object),
        parse_int=counted(_integer),
        parse_float=counted(_float),
        parse_constant=_constant,
    )
