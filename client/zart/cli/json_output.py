"""Answers in proto JSON, for scripts."""

from __future__ import annotations

import contextlib
import json

from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message
from google.rpc import status_pb2

from zart.cli.screen import Screen


def json_of(message: Message, *, one_line: bool = False) -> str:
    """Return a message in proto JSON, with what is zero or empty, so that scripts find it."""
    if isinstance(message, status_pb2.Status):
        message = _readable(message)
    text: str = json_format.MessageToJson(
        message,
        indent=None if one_line else 2,
        ensure_ascii=False,
        always_print_fields_with_no_presence=True,
    )
    return text


def _readable(status: status_pb2.Status) -> status_pb2.Status:
    """Leave out details of types that a newer server knows and we do not."""
    found = status_pb2.Status(code=status.code, message=status.message)
    for detail in status.details:
        with contextlib.suppress(KeyError):
            descriptor_pool.Default().FindMessageTypeByName(detail.TypeName())
            found.details.append(detail)
    return found


class ListWriter:
    """Writes the pages of a list as one answer, each as it comes.

    Every answer of a list has its items and next_page_token; of anything else nothing is told.
    """

    def __init__(self, screen: Screen, answer: type[Message]) -> None:
        self._screen = screen
        (self._items,) = (
            f for f in answer.DESCRIPTOR.fields if f.message_type is not None and f.is_repeated
        )
        self._screen.json(f'{{\n  "{self._items.json_name}": [', end="")
        self._is_empty = True

    def add(self, message: Message) -> None:
        """Write the items of a page."""
        for item in getattr(message, self._items.name):
            self._screen.json("\n" if self._is_empty else ",\n", end="")
            # By its own newlines only: text in it may have others, such as U+2028.
            self._screen.json("    " + json_of(item).replace("\n", "\n    "), end="")
            self._is_empty = False
        self._screen.flush()

    def end(self, next_page_token: str) -> None:
        """Write what follows the items."""
        self._screen.json("]," if self._is_empty else "\n  ],")
        self._screen.json(f'  "nextPageToken": {json.dumps(next_page_token)}\n}}')
        self._screen.flush()
