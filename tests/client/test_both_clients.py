"""Both clients are one: what the one has, the other has, by the same name and of the same parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import zart
from zart.listing import Listing, SyncListing

PAIRS = [
    (zart.Client, zart.SyncClient),
    (zart.Handle, zart.SyncHandle),
    (Listing, SyncListing),
]
# What waits for something to happen in the world, for as long as its caller wants.
WAITS = ("run", "result", "watch", "wait")


def public(kind: type) -> dict[str, Any]:
    """Return what a class has for everybody, inherited or its own."""
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a method but ``self``, as they are written."""
    return list(inspect.signature(method).parameters.values())[1:]


METHODS = [
    pytest.param(method, public(other).get(name), id=f"{kind.__name__}.{name}")
    for kind, other in PAIRS
    for name, method in public(kind).items()
    if callable(method)
]


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_what_the_one_has_the_other_has(kind: type, other: type) -> None:
    assert public(kind).keys() == public(other).keys()


@pytest.mark.parametrize(("method", "other"), METHODS)
def test_their_methods_take_the_same_and_say_the_same(
    method: Callable[..., Any], other: Callable[..., Any]
) -> None:
    assert parameters(method) == parameters(other)
    assert method.__doc__
    assert method.__doc__ == other.__doc__


@pytest.mark.parametrize(("kind", "other"), [*PAIRS, (zart.connect, zart.connect_sync)])
def test_they_are_made_alike(kind: Callable[..., Any], other: Callable[..., Any]) -> None:
    """But for the channel, which is of their own kind."""
    made = [
        [
            (each.name, each.kind, each.default)
            for each in inspect.signature(one).parameters.values()
        ]
        for one in (kind, other)
    ]

    assert made[0] == made[1]


@pytest.mark.parametrize("kind", [kind for pair in PAIRS for kind in pair])
def test_what_waits_has_a_timeout_of_its_own(kind: type) -> None:
    """As the client's docstring says: they have no other end."""
    waiting = {name: method for name, method in public(kind).items() if name.startswith(WAITS)}
    own = inspect.Parameter(
        "timeout", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="float | None"
    )

    assert waiting or kind in {Listing, SyncListing}
    assert [name for name, method in waiting.items() if own not in parameters(method)] == []
