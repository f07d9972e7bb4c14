"""JSON text to Python values: whatever a server holds can be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from zart.models import Json

if TYPE_CHECKING:
    from decimal import Decimal


def value_of(text: str) -> Json:
    """Return the value of JSON text. Raises json.JSONDecodeError for other text.

    An integer of more digits than Python makes an int of (``sys.get_int_max_str_digits()``: 4,300)
    is a ``decimal.Decimal``, exact and made in time linear in its digits, which an int is not. What
    is reckoned with it is as exact as ``decimal``'s context has it.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # int's own: nothing else is slower for it
        return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | Decimal:
    from decimal import Decimal  # noqa: PLC0415 - hardly any text needs it

    try:
        return int(digits)
    except ValueError:
        return Decimal(digits)
