"""The classes of errors: where each stands, as what callers know it, and that each is listed."""

from __future__ import annotations

import copy
import importlib
import pickle
import re
import traceback
from types import ModuleType

import pytest
from google.rpc import status_pb2
from kinds import with_reasons

import zart
from zart import errors as client_errors
from zart_server.domain import errors as server_errors

OF_SERVER = sorted(with_reasons(server_errors.ZartError), key=repr)
OF_CLIENT = sorted(with_reasons(client_errors.Refused), key=repr)


def classes_of(module: ModuleType) -> list[type]:
    """Return the classes that a module has, whichever module defines them."""
    return [
        kind for name, kind in vars(module).items() if isinstance(kind, type) and name[0] != "_"
    ]


@pytest.mark.parametrize("kind", OF_SERVER, ids=lambda kind: str(kind.__name__))
def test_the_twin_of_an_error_stands_in_the_module_of_the_same_name(
    kind: type[server_errors.ZartError],
) -> None:
    subject = kind.__module__.removeprefix("zart_server.domain.errors.")
    module = importlib.import_module(f"zart.errors.{subject}")
    twin = client_errors.BY_REASON[kind.reason]

    assert vars(module)[twin.__name__] is twin
    assert kind.__name__ == twin.__name__ or issubclass(kind, server_errors.StoreConflict)


@pytest.mark.parametrize("module", [client_errors, server_errors], ids=["client", "server"])
def test_the_tree_at_the_top_has_each_class(module: ModuleType) -> None:
    _, _, text = (module.__doc__ or "").partition("::\n")
    tree, _, _ = text.partition("\nWhat is on one line")
    named = re.findall(r"\b[A-Z][a-z]\w+", tree)

    assert sorted(named) == sorted(kind.__name__ for kind in classes_of(module))


@pytest.mark.parametrize("kind", OF_CLIENT, ids=lambda kind: str(kind.__name__))
def test_callers_see_one_name_of_an_error(kind: type[client_errors.Refused]) -> None:
    """In tracebacks, and in what another process or version of the client is sent."""
    name = f"zart.errors.{kind.__name__}"
    error = kind(status_pb2.Status(code=9, message="no"))

    assert traceback.format_exception_only(error) == [f"{name}: no\n"]
    assert b"zart.errors\n" in pickle.dumps(error, protocol=0)
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert type(same) is kind
        assert same.status == error.status


def test_what_no_server_refused_has_such_a_name_too() -> None:
    assert zart.RunFailed in classes_of(client_errors)
    assert {kind.__module__ for kind in classes_of(client_errors)} == {"zart.errors"}
