"""Whatever an error names, all of it reaches the caller: its trailers stay far below 8 KiB."""

from __future__ import annotations

import base64
import inspect
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from kinds import with_reasons

import zart
from zart import errors as client_errors
from zart_server.api.errors import status_of
from zart_server.domain import errors

MOST = 6 * 1024  # of 8 KiB that callers take, all trailers together
VALUES = ["x" * 20_000, "🚀" * 5_000, "%" * 20_000, "\U0010ffff" * 1000, "é" * 300]


def trailers_of(error: errors.ZartError) -> int:
    """Return the bytes that the status of an error takes on the wire."""
    status = status_of(error)
    message = quote(status.message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return len(message) + len(base64.b64encode(status.SerializeToString()))


def made(kind: type[Any], value: str) -> errors.ZartError:
    """Make an error with this for every text, and a large number for every number."""
    arguments = [
        2**63 - 1
        if "int" in str(parameter.annotation)
        else datetime.max.replace(tzinfo=UTC)
        if "datetime" in str(parameter.annotation)
        else value
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if name != "self"
    ]
    error: errors.ZartError = kind(*arguments)
    return error


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[0]))
@pytest.mark.parametrize("kind", sorted(with_reasons(errors.ZartError), key=repr))
def test_no_error_is_too_long(kind: type[Any], value: str) -> None:
    error = made(kind, value)
    assert trailers_of(error) <= MOST
    assert len(error.message.encode()) <= errors.MAX_MESSAGE
    assert str(error) == error.message
    assert "\N{REPLACEMENT CHARACTER}" not in error.message


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[0]))
def test_many_bad_fields_are_cut_too(value: str) -> None:
    bad = [errors.InvalidField(f"{n}{value}", f"{n}{value}") for n in range(100)]
    error = errors.InvalidField.of([errors.InvalidField.of(bad), *bad])
    assert trailers_of(error) <= MOST


def test_ids_are_whole_in_the_values() -> None:
    names = "🚀" * 63, "é" * 127
    error = errors.StepNotFound(f"{names[0]}:run:2147483647", names[1])
    assert error.metadata == {"run_id": f"{names[0]}:run:2147483647", "step_name": names[1]}


async def test_a_long_cycle_of_long_names_reaches_the_caller(client: zart.Client) -> None:
    names = [f"{n:03}{'🚀' * 63}" for n in range(300)]
    steps = [zart.StepSpec(name, (names[n - 1],)) for n, name in enumerate(names)]
    with pytest.raises(client_errors.InvalidField) as refused:
        await client.start("t", steps=steps)
    assert list(refused.value.fields) == ["steps[0].depends_on"]
    assert refused.value.message.startswith("steps[0].depends_on: a cycle: ")

    steps = [zart.StepSpec("é" * 256, handler="é" * 256) for n in range(100)]
    with pytest.raises(client_errors.InvalidField) as refused:
        await client.start("t", steps=steps)
    assert "steps[0].step_name" in refused.value.fields
