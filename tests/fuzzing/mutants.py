"""Takes a request that is good and makes one of its fields extreme, or several at random."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from fuzzing.bounds import TEXTS, bounds_of, messages_of


class Mutant(NamedTuple):
    """A request, and the proto path of what was done to it."""

    path: str
    request: Any


def mutants_of(request: Message, path: str = "") -> Iterator[Mutant]:
    """Make every field extreme, one at a time, by each value at its bounds."""
    for field in fields_of(request):
        where = path + field.name
        if field.is_repeated:
            for part in _items(field, where):
                changed = _copy(request)
                changed.ClearField(field.name)
                getattr(changed, field.name).extend(part.request)
                yield Mutant(part.path, changed)
        elif (kind := field.message_type) is None:
            for value in bounds_of(field):
                changed = _copy(request)
                setattr(changed, field.name, value)
                yield Mutant(where, changed)
        else:
            found = messages_of(kind)
            inner = getattr(request, field.name)
            parts = mutants_of(inner, where + ".") if found is None else _named(where, found)
            for part in parts:
                changed = _copy(request)
                getattr(changed, field.name).CopyFrom(part.request)
                yield Mutant(part.path, changed)


def _named(path: str, found: Any) -> Iterator[Mutant]:
    return (Mutant(path, value) for value in found)


def _items(field: FieldDescriptor, where: str) -> Iterator[Mutant]:
    """Return lists of items: none, too many, and one that is extreme."""
    kind = field.message_type
    if kind is None:
        values = bounds_of(field)
        yield Mutant(where, [])
        yield from (Mutant(f"{where}[0]", [value]) for value in values)
        yield Mutant(where, [values[1]] * 10_001)
    else:
        empty = cast("Any", kind)._concrete_class()
        yield Mutant(where, [])
        yield Mutant(where, [empty] * 1001)
        yield Mutant(where, [empty] * 10_001)
        yield from (Mutant(part.path, [part.request]) for part in mutants_of(empty, f"{where}[0]."))


def random_mutant(request: Message, dice: random.Random) -> Message:
    """Make one to four fields extreme, some of them deep inside."""
    changed = _copy(request)
    for _ in range(dice.randint(1, 4)):
        _mutate(changed, dice)
    return changed


def _mutate(message: Message, dice: random.Random) -> None:
    found = fields_of(message)
    if not found:
        return
    field = dice.choice(found)
    if dice.random() < 0.1:
        message.ClearField(field.name)
    elif field.is_repeated:
        _mutate_items(getattr(message, field.name), field, dice)
    elif (kind := field.message_type) is None:
        setattr(message, field.name, dice.choice(_values(field)))
    elif (messages := messages_of(kind)) is not None:
        getattr(message, field.name).CopyFrom(dice.choice(messages))
    else:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _mutate(inner, dice)


def _mutate_items(items: Any, field: FieldDescriptor, dice: random.Random) -> None:
    kind = field.message_type
    if kind is None:
        items.extend(dice.choices(_values(field), k=dice.randint(1, 3)))
    elif items and dice.random() < 0.7:
        _mutate(dice.choice(items), dice)
    else:
        _mutate(items.add(), dice)


def _values(field: FieldDescriptor) -> Any:
    return TEXTS if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else bounds_of(field)


def fields_of(message: Message) -> list[FieldDescriptor]:
    """Return the fields of a message."""
    return list(cast("Descriptor", message.DESCRIPTOR).fields)


def _copy(message: Message) -> Message:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
