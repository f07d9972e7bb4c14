"""What errors have in common: a message, and what a server that refuses a call says besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import ClassVar

from google.rpc import status_pb2

from zart import status_details


class ZartError(Exception):
    """Something that zart was asked for did not work out.

    ``request_id`` is that of the mutation which failed, made by the client where its caller gave
    none: to repeat the call with it does what was asked at most once. It is empty where nothing was
    to be changed, and of a start that went out together with others, or had not gone out at all.
    """

    request_id: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...], dict[str, object]]:
        """Tell how it is copied, and taken to another process: by its attributes.

        It is not made anew: what a class is made of is seldom the message, which is all of args.
        """
        return type(self).__new__, (type(self), *self.args), vars(self)


class Refused(ZartError):
    """The server refused the call.

    ``reason`` is the ErrorInfo reason, ``code`` the gRPC status code, ``metadata`` the values
    that the message names, ``fields`` what is wrong with which field of the request,
    ``retry_after`` when to repeat (None where the server did not say), ``status`` all of it.
    """

    reason: ClassVar[str] = ""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status
        self.code = status_details.code_of(status)
        self.metadata: Mapping[str, str] = status_details.metadata_of(status)
        self.fields: Mapping[str, str] = status_details.fields_of(status)
        self.retry_after: timedelta | None = status_details.retry_after_of(status)


class NotFound(Refused):
    """Something that the request names is not there."""
