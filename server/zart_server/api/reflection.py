"""What server reflection tells: services, their methods, and fields with their JSON names."""

from __future__ import annotations

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from zart.descriptors import copy_with_json_names


class _File:
    """A file as reflection asks for it."""

    def __init__(self, file: FileDescriptor) -> None:
        self._file = file
        self.name = file.name

    @property
    def dependencies(self) -> list[_File]:
        return [_File(imported) for imported in self._file.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:  # noqa: N802 - protobuf's name
        copy_with_json_names(self._file, proto)


class ReflectedPool:
    """The default pool; `grpcurl describe` may also ask for a method by its name."""

    def __getattr__(self, name: str) -> object:
        return getattr(descriptor_pool.Default(), name)

    def FindFileByName(self, name: str) -> _File:  # noqa: N802 - protobuf's name
        """Find a file. Raises KeyError."""
        return _File(descriptor_pool.Default().FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> _File:  # noqa: N802 - protobuf's name
        """Find the file of a symbol, that of a method by its service. Raises KeyError."""
        pool = descriptor_pool.Default()
        try:
            return _File(pool.FindFileContainingSymbol(symbol))
        except KeyError:
            return _File(pool.FindFileContainingSymbol(symbol.rpartition(".")[0]))
