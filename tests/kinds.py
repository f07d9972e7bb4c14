"""Classes of a family, for laws that hold for each of them."""

from __future__ import annotations

from typing import Any


def leaves(kind: type[Any]) -> set[type[Any]]:
    """Give the classes below that have a reason of their own."""
    found = {leaf for child in kind.__subclasses__() for leaf in leaves(child)}
    return found or {kind}
