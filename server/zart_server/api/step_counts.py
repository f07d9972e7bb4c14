"""Counts the steps of a parsed request: a few bytes on the wire, but some work each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from zart.v1.task_definition_pb2 import StepSpec

Count: TypeAlias = Callable[[Any], int]


@functools.cache
def counting_steps(kind: Descriptor) -> Count | None:
    """Return what counts the steps of a message of this kind; None where it cannot have any."""
    counts = [count for field in kind.fields if (count := _of_field(field)) is not None]
    if len(counts) > 1:
        return lambda message: sum(count(message) for count in counts)
    return counts[0] if counts else None


def _of_field(field: FieldDescriptor) -> Count | None:
    name, inner = field.name, field.message_type
    if inner is None or not inner.full_name.startswith("zart."):
        return None
    if inner.full_name == StepSpec.DESCRIPTOR.full_name:
        return lambda message: len(getattr(message, name))
    count = counting_steps(inner)
    if count is None:
        return None
    if field.is_repeated:
        return lambda message: sum(map(count, getattr(message, name)))
    return lambda message: count(getattr(message, name))
