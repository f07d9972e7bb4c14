"""What the protos say of their elements: the comments, which Python's descriptors leave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
)

Place: TypeAlias = tuple[int, ...]


class Comments:
    """What the protos say of each element, by its full name."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        self._found: dict[str, str] = {}
        for file in files:
            texts = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
            for path, name in _elements(file):
                if path in texts:
                    self._found[name] = _flowing(texts[path])

    def text(self, name: str) -> str:
        """Return what is said of an element; empty for one of Google's that has no comment."""
        return self._found.get(name, "")

    def of(self, name: str) -> dict[str, str]:
        """Return the description of an element, as a member of a schema."""
        return {"description": self._found[name]} if name in self._found else {}


def _flowing(comment: str) -> str:
    """Join the lines of each paragraph."""
    paragraphs = comment.strip().split("\n\n")
    return "\n\n".join(" ".join(map(str.strip, p.splitlines())) for p in paragraphs)


def _elements(file: FileDescriptorProto) -> Iterator[tuple[Place, str]]:
    """Pair the path of each element in the source with its full name."""
    for n, message in enumerate(file.message_type):
        yield from _in_message((4, n), f"{file.package}.{message.name}", message)
    for n, enum in enumerate(file.enum_type):
        yield from _in_enum((5, n), f"{file.package}.{enum.name}", enum)
    for n, service in enumerate(file.service):
        yield (6, n), f"{file.package}.{service.name}"
        for m, method in enumerate(service.method):
            yield (6, n, 2, m), f"{file.package}.{service.name}.{method.name}"


def _in_message(path: Place, name: str, message: DescriptorProto) -> Iterator[tuple[Place, str]]:
    yield path, name
    for n, field in enumerate(message.field):
        yield (*path, 2, n), f"{name}.{field.name}"
    for n, nested in enumerate(message.nested_type):
        yield from _in_message((*path, 3, n), f"{name}.{nested.name}", nested)
    for n, enum in enumerate(message.enum_type):
        yield from _in_enum((*path, 4, n), f"{name}.{enum.name}", enum)


def _in_enum(path: Place, name: str, enum: EnumDescriptorProto) -> Iterator[tuple[Place, str]]:
    yield path, name
    for n, value in enumerate(enum.value):
        yield (*path, 2, n), f"{name}.{value.name}"
