"""Encodes choices by their names, and refuses what is none: it would be sent as not given."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from zart.calls.several import several


def number_of(choices: Any, name: str, field: str) -> Any:  # noqa: ANN401 - an enum of the protos
    """Encode one of the choices for a field of a request, by its name in whatever case.

    Raises ValueError where it is none of them. UNSPECIFIED is none: an enum of ours is that where
    its name was misspelt, and a server would do what it does where nothing is given.
    """
    numbers = _numbers(choices)
    wanted = str(name).upper().replace("-", "_")
    if wanted not in numbers:
        raise ValueError(f"{field}: {wanted!r} is none of {', '.join(numbers)}")
    return numbers[wanted]


def numbers_of(choices: Any, names: Iterable[str], field: str) -> list[Any]:  # noqa: ANN401 - an enum of the protos
    """Encode several of the choices. Raises ValueError, and TypeError for one text."""
    return [number_of(choices, name, field) for name in several(names)]


@functools.cache
def _numbers(choices: Any) -> Mapping[str, int]:  # noqa: ANN401 - an enum of the protos
    prefix = choices.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {
        each.name.removeprefix(prefix): each.number
        for each in choices.DESCRIPTOR.values
        if each.number
    }
