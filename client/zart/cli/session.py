"""What every command works with: the client, where output goes, and how it looks."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console

from zart.caller import default_caller
from zart.calls.call import Call, ListCall
from zart.channel import sync_channel
from zart.client import DEFAULT_TIMEOUT
from zart.sync_client import SyncClient

T = TypeVar("T")
ChannelFactory = Callable[[str | None], grpc.Channel]
_UNBOUNDED = 100_000  # columns: what is not read by people is never cut


def console(*, stderr: bool = False) -> Console:
    """Make a console: plain and unbounded where no terminal is."""
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(stderr=stderr, highlight=False, soft_wrap=False)
    return Console(
        stderr=stderr, highlight=False, no_color=True, force_terminal=False, width=_UNBOUNDED
    )


@dataclass
class Mutation:
    """Who changes something, why, and under which request_id."""

    triggered_by: str = ""
    reason: str = ""
    request_id: str = ""
    yes: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The three fields of every mutating request."""
        return {
            "triggered_by": self.triggered_by,
            "reason": self.reason,
            "request_id": self.request_id,
        }


@dataclass
class Session:
    """One run of the command."""

    argv: Sequence[str] = ()
    channel_factory: ChannelFactory = sync_channel
    address: str | None = None
    output: str = "table"
    timeout: float | None = None
    mutation: Mutation = field(default_factory=Mutation)
    out: Console = field(default_factory=console)
    err: Console = field(default_factory=lambda: console(stderr=True))
    _client: SyncClient | None = None

    @property
    def is_json(self) -> bool:
        """Whether scripts read the output."""
        return self.output == "json"

    @property
    def is_interactive(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin.isatty() and sys.stdout.isatty()

    @property
    def client(self) -> SyncClient:
        """The client, connected at its first use."""
        if self._client is None:
            channel = self.channel_factory(self.address)
            self._client = SyncClient(channel, timeout=self.timeout or DEFAULT_TIMEOUT)
        return self._client

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def mutate(self, mutation: Mutation) -> None:
        """Note that something will be changed; what the caller left open is made up here."""
        mutation.triggered_by = mutation.triggered_by or default_caller()
        mutation.request_id = mutation.request_id or uuid.uuid4().hex
        self.mutation = mutation

    def send(self, call: Call[T]) -> tuple[Message, T]:
        """Send a call; give its answer as it came and as a dataclass."""
        message = self.client.send_raw(call)
        return message, call.read(message)

    def run(self, call: Call[T], show: Callable[[T], None]) -> T:
        """Send a call and print its answer: as it came for scripts, else with ``show``."""
        message, answer = self.send(call)
        if self.is_json:
            self.print_json(message)
        else:
            show(answer)
        return answer

    def run_list(
        self, call: ListCall[T], items: str, limit: int, show: Callable[[Sequence[T]], None]
    ) -> None:
        """Send a call for up to ``limit`` items (0: all), page by page, and print them."""
        first: Message | None = None
        found: list[T] = []
        while True:
            request: Any = type(call.request)()
            request.CopyFrom(call.request)
            request.page_size = min(1000, limit - len(found)) if limit else 1000
            page_call = ListCall(call.method, request, call.read)
            message, page = self.send(page_call)
            found.extend(page.items)
            if first is None:
                first = message
            else:
                getattr(first, items).extend(getattr(message, items))
                first.next_page_token = page.next_page_token  # type: ignore[attr-defined]
            if not page.next_page_token or (limit and len(found) >= limit):
                break
            call = call.after(page.next_page_token)
        if self.is_json:
            self.print_json(first)
            return
        show(found)
        if page.next_page_token:
            self.err.print(f"the first {len(found)}; more with --limit")

    def print_json(self, message: Message, *, one_line: bool = False) -> None:
        """Print a message in proto JSON."""
        text = json_format.MessageToJson(
            message, indent=None if one_line else 2, ensure_ascii=False
        )
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def print(self, *lines: str) -> None:
        """Print lines as they are."""
        for line in lines:
            self.out.print(line, markup=False)

    def command_to_repeat(self) -> str:
        """Give the command line that asks the same again, under the same request_id."""
        words = ["zart", *self.argv]
        for option, value in (
            ("--request-id", self.mutation.request_id),
            ("--triggered-by", self.mutation.triggered_by),
        ):
            given = any(word == option or word.startswith(f"{option}=") for word in words)
            if value and not given:
                words += [option, value]
        return shlex.join(words)
