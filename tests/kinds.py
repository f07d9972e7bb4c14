"""Classes of a family, for laws that hold for each of them."""

from __future__ import annotations

from typing import Any


def with_reasons(kind: type[Any]) -> set[type[Any]]:
    """Return the classes below that have a reason of their own."""
    found = {each for child in kind.__subclasses__() for each in with_reasons(child)}
    return found | {child for child in kind.__subclasses__() if "reason" in vars(child)}
