"""Python values to exact JSON text."""

from __future__ import annotations

import json
import math
from typing import Final

from zart.models import Json


class Unset:
    """Tells an argument that was not given from None, which is a value."""

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"  # a copy of it, in another process too, is this very one


UNSET: Final = Unset()


class JsonText:
    """A value by its exact JSON text, which is sent as it is: as payload, input or result.

    Numbers keep all their digits, and an object all its keys. Raises ValueError for other text.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        try:
            json.loads(text, parse_constant=_refuse, parse_int=len, parse_float=_bounded)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
        self.text = text


def _bounded(text: str) -> None:
    if math.isinf(float(text)):
        raise ValueError("a number is out of range")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# json.dumps makes an encoder for each call with options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_text(value: Json) -> str:
    """Return the JSON text of a value. Raises TypeError or ValueError naming what is not JSON."""
    return value.text if isinstance(value, JsonText) else _ENCODER.encode(value)
