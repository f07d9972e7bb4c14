"""Python values to exact JSON text."""

from __future__ import annotations

import json
from typing import Final

from zart.models import Json


class Unset:
    """Tells an argument that was not given from None, which is a value."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()

# json.dumps makes an encoder for each call with options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_text(value: Json) -> str:
    """Give the JSON text of a value. Raises TypeError or ValueError naming what is not JSON."""
    return _ENCODER.encode(value)
