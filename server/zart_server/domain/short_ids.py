"""Ids that people read aloud: a prefix that says of what, and 8 letters or digits."""

from __future__ import annotations

import secrets

# Letters and digits that cannot be taken for one another.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def short_id(prefix: str) -> str:
    """Return a new id, such as ``pr-7k2m9x4q``."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))
