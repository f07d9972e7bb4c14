"""A call: which method, with which request, and how its answer is read."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from zart.decoding import decode
from zart.errors import NotPlanned, ZartError
from zart.models import Page

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One RPC with its request.

    ``extra_time`` is how long the server may take by design (a long poll), on top of the
    caller's timeout.
    """

    method: MethodDescriptor
    request: Message
    read: Callable[[Any], T_co]
    extra_time: float = 0.0

    @property
    def path(self) -> str:
        """The method's path on the wire."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def response_type(self) -> type[Message]:
        """The generated class of the answer."""
        return GetMessageClass(self.method.output_type)

    def answer(self, message: Message) -> T_co:
        """Read the answer to this request. An error that this raises has its request_id."""
        try:
            return self.read(message)
        except ZartError as error:
            error.request_id = error.request_id or getattr(self.request, "request_id", "")
            raise

    def completed(self, triggered_by: str) -> Call[T_co]:
        """Fill in who asks and a request_id where the request takes them and has none.

        With a request_id a repeat is safe, the repeats of the channel included.
        """
        names = self.method.input_type.fields_by_name
        if "request_id" not in names:
            return self
        request: Any = self.request  # a message known by its fields
        if request.request_id and request.triggered_by:
            return self
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.request_id = request.request_id or uuid.uuid4().hex
        request.triggered_by = request.triggered_by or triggered_by
        return dataclasses.replace(self, request=request)


@dataclass(frozen=True, slots=True)
class ListCall(Call[Page[T]]):
    """A call that answers a page."""

    def after(self, page_token: str) -> ListCall[T]:
        """Return the call for the next page."""
        request: Any = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token = page_token  # a list request has one
        return dataclasses.replace(self, request=request)


def reader(kind: type[T]) -> Callable[[Message], T]:
    """Read an answer as this dataclass."""
    return lambda message: decode(kind, message)


def plan_reader(kind: type[T], request: Any) -> Callable[[Any], T]:  # noqa: ANN401 - any that can be planned
    """Read the answer to this request as this dataclass; where a plan is wanted it has to be one.

    What is read raises NotPlanned if it is none.
    """

    def read(message: Any) -> T:  # noqa: ANN401 - a message known by its fields
        answer = decode(kind, message)
        if request.validate_only and not message.planned:
            raise NotPlanned(answer)
        return answer

    return read


def page_reader(kind: type[T], items: str) -> Callable[[Any], Page[T]]:
    """Read an answer as a page of this dataclass, found in the field ``items``."""
    return lambda message: Page(
        tuple(decode(kind, item) for item in getattr(message, items)), message.next_page_token
    )


def span(seconds: float | timedelta, field: str = "a span") -> Duration:
    """Encode a span of time, in seconds or as a timedelta. Raises ValueError for what is none."""
    found = Duration()
    try:
        whole = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
    except (OverflowError, ValueError):  # the latter for a NaN
        raise ValueError(f"{field}: {seconds} s are no span of time") from None
    found.FromTimedelta(whole)
    return found


def moment(time: datetime | None, field: str) -> Timestamp | None:
    """Encode a time, if there is one. Raises ValueError for one without a time zone.

    It does as well for one that no datetime can hold in UTC.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{field} needs a time zone, such as datetime.now(UTC)")
    found = Timestamp()
    try:
        found.FromDatetime(time.astimezone(UTC))
    except OverflowError:
        raise ValueError(f"{field}: {time} is not within the years 1 to 9999 in UTC") from None
    return found
