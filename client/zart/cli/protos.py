"""Writes the protos, what they import, and a descriptor set of it all."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2, status_pb2

from zart.descriptors import copy_with_json_names
from zart.v1 import (
    admin_service_pb2,
    audit_service_pb2,
    batch_service_pb2,
    breaker_service_pb2,
    dispatch_service_pb2,
    error_reason_pb2,
    execution_service_pb2,
    retention_service_pb2,
)

_ROOTS = (
    admin_service_pb2,
    audit_service_pb2,
    batch_service_pb2,
    breaker_service_pb2,
    dispatch_service_pb2,
    error_details_pb2,  # what the details of a status are, which no proto of ours imports
    error_reason_pb2,
    execution_service_pb2,
    retention_service_pb2,
)


def write_protos(folder: Path) -> Iterator[Path]:
    """Write everything below ``folder`` and return the path of each file written."""
    files: dict[str, FileDescriptor] = {}
    for module in _ROOTS:
        _collect(module.DESCRIPTOR, files)
    for name in files:
        if name.startswith("zart/"):
            yield _write(folder / name, _source(name))
        elif not name.startswith("google/protobuf/"):  # which every protoc has
            brought = Path(status_pb2.__file__).parents[2] / name
            yield _write(folder / name, brought.read_text(encoding="utf-8"))
    descriptors = descriptor_pb2.FileDescriptorSet()
    for file in files.values():
        copy_with_json_names(file, descriptors.file.add())
    target = folder / "zart.binpb"
    target.write_bytes(descriptors.SerializeToString())
    yield target


def _collect(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    """Gather a file and what it imports, what is imported first."""
    for imported in file.dependencies:
        _collect(imported, files)
    files.setdefault(file.name, file)


def _source(name: str) -> str:
    installed = importlib.resources.files("zart") / "protos" / name
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    checkout = Path(__file__).parents[3] / "protos" / name  # an editable install
    return checkout.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
