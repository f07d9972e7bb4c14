"""The classes of errors: where each stands, as what callers know it, and that each is listed."""

from __future__ import annotations

import copy
import functools
import importlib
import pickle
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType

import pytest
from google.rpc import error_details_pb2, status_pb2
from kinds import with_reasons

import zart
from zart import errors as client_errors
from zart import models
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


A_RUN = models.Run(
    run_id="x:run:0",
    execution_id="x",
    run_number=0,
    status=models.RunStatus.FAILED,
    trigger=models.RunTrigger.INITIAL,
    triggered_by="",
    reason="",
    definition_version=1,
    source_run_number=None,
    payload={"card": 4711},
    result=None,
    error="declined",
    created_at=None,
    started_at=None,
    completed_at=None,
)
AN_ATTEMPT = models.RuleAttempt("x", 0, "charge", 1, "d", datetime.now(UTC), None)
# How those are made that are made of no text.
OF_NO_TEXT: dict[type, Callable[[], client_errors.ZartError]] = {
    client_errors.RunFailed: functools.partial(client_errors.RunFailed, A_RUN),
    client_errors.NotPlanned: functools.partial(client_errors.NotPlanned, A_RUN),
    client_errors.PauseViolated: functools.partial(
        client_errors.PauseViolated, [AN_ATTEMPT, AN_ATTEMPT], is_lower_bound=True
    ),
}


def made(kind: type[client_errors.ZartError]) -> client_errors.ZartError:
    """Return an error of the class, all of whose attributes have a value."""
    if not issubclass(kind, client_errors.Refused):
        return OF_NO_TEXT.get(kind, functools.partial(kind, "no"))()
    status = status_pb2.Status(code=9, message="no")
    for detail in (
        error_details_pb2.ErrorInfo(reason=kind.reason, domain="zart", metadata={"a": "b"}),
        error_details_pb2.BadRequest(field_violations=[{"field": "a", "description": "b"}]),
        error_details_pb2.RetryInfo(retry_delay={"seconds": 3}),
    ):
        status.details.add().Pack(detail)
    return kind(status)


@pytest.mark.parametrize("kind", classes_of(client_errors), ids=lambda kind: str(kind.__name__))
def test_an_error_is_the_same_copied_and_in_another_process(
    kind: type[client_errors.ZartError],
) -> None:
    error = made(kind)
    error.add_note("at night")
    pickled = [pickle.dumps(error, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]

    for same in (
        copy.copy(error),
        copy.deepcopy(error),
        *(pickle.loads(each) for each in pickled),  # noqa: S301 - our own
    ):
        assert type(same) is kind
        assert (str(same), same.args) == (str(error), error.args)
        assert vars(same) == vars(error)


def test_what_no_server_refused_has_such_a_name_too() -> None:
    assert zart.RunFailed in classes_of(client_errors)
    assert {kind.__module__ for kind in classes_of(client_errors)} == {"zart.errors"}
