"""Compares JSON texts by what they say: white space and the order of members make no difference.

Numbers are compared as numbers, whatever their digits: 1, 1.0 and 10e-1 are the same. Of members
with the same name the last one counts, as nearly every parser has it.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation


class _Number(str):
    """A number that no Decimal holds, by its text."""

    __slots__ = ()


def _number(text: str) -> Decimal | _Number:
    try:
        return Decimal(text)
    except InvalidOperation:
        return _Number(text)


_DECODER = json.JSONDecoder(parse_float=_number, parse_int=_number)


def are_same(one: str | None, other: str | None) -> bool:
    """Return whether two JSON texts, nested as deep as what is stored, say the same.

    None, which is no JSON, is only the same as itself.
    """
    if one == other:
        return True
    if one is None or other is None:
        return False
    return _same(_DECODER.decode(one.strip()), _DECODER.decode(other.strip()))


def _same(one: object, other: object) -> bool:
    # By type first: to Python true is 1.
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
