"""What every refusal has: a reason, a message and the values that it names, cut to what fits."""

from __future__ import annotations

from typing import ClassVar

MAX_MESSAGE = 1024  # bytes; what is longer is cut, or trailers of more than 8 KiB would be lost
MAX_VALUE = 300  # bytes of a value or the path of a field; every id fits


def cut(text: str, most: int) -> str:
    """Shorten a text to so many bytes of UTF-8, by whole characters; the end shows that it was."""
    encoded = text[: most + 1].encode(errors="replace")
    if len(encoded) <= most:
        return text
    end = "…"
    return encoded[: most - len(end.encode())].decode(errors="ignore") + end


class ZartError(Exception):
    """An operation was refused; nothing was changed. Its message and its values are cut."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: object) -> None:
        self.message = cut(message, MAX_MESSAGE)
        super().__init__(self.message)
        self.metadata = {key: cut(str(value), MAX_VALUE) for key, value in metadata.items()}


class NotFound(ZartError):
    """Something that the request names is not there."""
