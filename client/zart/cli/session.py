"""What every command works with: the client, where output goes, and how it looks."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import typer

from zart.caller import default_caller
from zart.cli.interrupts import Interrupts
from zart.cli.screen import OutputLost, Screen
from zart.cli.tables import Column, Table
from zart.cli.typed_line import TypedLine

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from zart.calls.call import Call, ListCall
    from zart.models import Page
    from zart.sync_client import SyncClient

T = TypeVar("T")
ChannelFactory: TypeAlias = "Callable[[str | None], grpc.Channel]"
_FIRST_PAGE = 100  # soon there; the pages after it are as long as they may be
_PAGE = 1000


@dataclass
class Mutation:
    """Who changes something, why, of which incident, and under which request_id."""

    triggered_by: str = ""
    reason: str = ""
    incident: str = ""
    request_id: str = ""
    yes: bool = False
    may_repeat: bool = False  # the request_id was given: it may all be done by now

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of every mutating request."""
        return {
            "triggered_by": self.triggered_by,
            "reason": self.reason,
            "incident": self.incident,
            "request_id": self.request_id,
        }


@dataclass(frozen=True)
class Plan:
    """Whether a plan is wanted, or one is to be done; the user has seen what it does then."""

    dry_run: bool = False
    plan_token: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The two fields of every request that can be planned."""
        return {"validate_only": self.dry_run, "plan_token": self.plan_token}

    def __bool__(self) -> bool:
        return self.dry_run or bool(self.plan_token)


@dataclass
class Session:
    """One run of the command."""

    line: TypedLine = field(default_factory=TypedLine)
    channel_factory: ChannelFactory | None = None  # None: to a server, as the environment says
    is_process: bool = False  # the command is all that its process does
    address: str | None = None
    output: str = "table"
    timeout: float | None = None
    mutation: Mutation = field(default_factory=Mutation)
    plan: Plan = field(default_factory=Plan)
    asked: Message | None = None  # the change, once the server was asked for it
    is_answered: bool = False  # whether the server said that it is done
    parameters: Mapping[str, str] = field(default_factory=dict)  # as they are typed
    again: str = ""  # what the line that repeats or applies the command needs beside itself
    out: Screen = field(default_factory=lambda: Screen(sys.stdout))
    err: Screen = field(default_factory=lambda: Screen(sys.stderr))
    interrupts: Interrupts = field(default_factory=Interrupts)
    _client: SyncClient | None = None

    @property
    def is_json(self) -> bool:
        """True if the output is for scripts."""
        return self.output == "json"

    @property
    def is_interactive(self) -> bool:
        """True if a person is there to be asked."""
        return sys.stdin.isatty()

    @property
    def client(self) -> SyncClient:
        """The client, connected at its first use."""
        if self._client is None:
            from zart.channel import sync_channel  # noqa: PLC0415 - gRPC takes a while
            from zart.client import DEFAULT_TIMEOUT  # noqa: PLC0415 - so it does
            from zart.sync_client import SyncClient  # noqa: PLC0415 - and here

            if self.is_process:
                self.interrupts.take()
            channel = (self.channel_factory or sync_channel)(self.address)
            # Who types a command wants to know at once that nobody serves.
            most = self.timeout or DEFAULT_TIMEOUT
            self._client = SyncClient(channel, timeout=most, repeats=False)
        return self._client

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def mutate(self, mutation: Mutation) -> None:
        """Note that something will be changed; what the caller left open is made up here.

        The incident is echoed: it may come from the environment, and be another one's. Scripts are
        told at the end (``end_well``).
        """
        mutation.triggered_by = mutation.triggered_by or default_caller()
        mutation.may_repeat = bool(mutation.request_id)
        mutation.request_id = mutation.request_id or uuid.uuid4().hex
        self.mutation = mutation
        if mutation.incident:
            self.tell(f"incident: {mutation.incident}")

    def send(self, call: Call[T]) -> tuple[Message, T]:
        """Send a call; return its answer as it came, and as a dataclass."""
        with self.asking_for(call):
            message = self.client.send_raw(call)
        self.heed_replay(message)
        return message, call.answer(message)

    def heed_replay(self, answer: Any) -> bool:  # noqa: ANN401 - a message of any kind
        """Tell of an answer that it is of then; what gRPC repeated by itself was done by this."""
        is_of_then = self.mutation.may_repeat and getattr(answer, "replayed", False)
        if not is_of_then or getattr(answer, "next_page_token", False):  # more is done now
            return False
        self.tell("it was done before, by this request id; the answer is the one of then")
        return True

    @contextlib.contextmanager
    def asking_for(self, call: Call[Any]) -> Iterator[None]:
        """Note that the server is asked for a change, if the call is one, and that it answered."""
        request: Any = call.request
        mine = self.mutation.request_id
        if not mine or getattr(request, "request_id", "") != mine or self.plan.dry_run:
            yield
            return
        self.asked, self.is_answered = request, False
        yield
        self.is_answered = True

    def run(self, call: Call[T], show: Callable[[T], None]) -> T:
        """Send a call and print its answer: as it came for scripts, else with ``show``."""
        message, answer = self.send(call)
        if self.is_json:
            self.print_json(message)
        else:
            show(answer)
            if self.plan.dry_run:
                self.print(f"nothing was done; this does it, or nothing{self.again}:")
                plan: Any = message
                self.out.verbatim(self.line.applying(plan.plan_token))
        return answer

    def run_list(
        self,
        call: ListCall[T],
        limit: int,
        columns: Sequence[Column],
        row: Callable[[T], Sequence[str]],
        heading: Callable[[T], str] = lambda _: "",
    ) -> int:
        """Send a call for up to ``limit`` items (0: all), print each page; return how many.

        ``heading`` is asked for a line above an item, empty: none. Where the list is JSON it is
        told to people only.
        """
        from zart.cli.json_output import ListWriter  # noqa: PLC0415 - with the protos only

        writer, table = None, Table(self.out, columns)
        shown, token, size = 0, "", _PAGE if 0 < limit <= _PAGE else _FIRST_PAGE
        while True:
            message, page = self._page(call, min(size, limit - shown) if limit else size, token)
            shown, token, size = shown + len(page.items), page.next_page_token, _PAGE
            if self.is_json:
                writer = writer or ListWriter(self.out, call.response_type)
                writer.add(message)
                for line in filter(None, map(heading, page.items)):
                    self.tell(line)
            else:
                part: list[T] = []
                for item in page.items:
                    if line := heading(item):
                        table.add(map(row, part))
                        self.print(line)
                        part.clear()
                    part.append(item)
                table.add(map(row, part))
            if not token or (limit and shown >= limit):
                break
        if writer is not None:
            writer.end(token)
        else:
            self.note_left_out(table)
            if token:
                self.err.line(f"the first {shown}; more with --limit")
        return shown

    def _page(self, call: ListCall[T], size: int, token: str) -> tuple[Message, Page[T]]:
        request: Any = type(call.request)()  # a list request has both fields
        request.CopyFrom(call.request)
        request.page_size, request.page_token = size, token
        return self.send(dataclasses.replace(call, request=request))

    def print_json(self, message: Message, *, one_line: bool = False) -> None:
        """Print a message in proto JSON."""
        from zart.cli.json_output import json_of  # noqa: PLC0415 - with the protos only

        self.out.json(json_of(message, one_line=one_line))
        self.out.flush()

    def print(self, *lines: str) -> None:
        """Print lines for people."""
        for line in lines:
            self.out.line(line)

    def tell(self, text: str) -> None:
        """Print a line on standard error that nobody has to read: who has left it ends nothing.

        It is for people: a script that wants JSON reads a Status there, or nothing.
        """
        if self.has_people:
            self.warn(text)

    @property
    def has_people(self) -> bool:
        """True if people may read standard error: a script that wants JSON reads a Status there."""
        return self.err.is_terminal or not self.is_json

    def end_well(self) -> None:
        """Echo the incident to a script that wants JSON, at the end: no Status follows."""
        if self.mutation.incident and self.is_json and not self.err.is_terminal:
            self.warn(f"incident: {self.mutation.incident}")

    def warn(self, text: str) -> None:
        """Print a line as ``tell`` does, also for scripts: beside an answer, not a Status."""
        with contextlib.suppress(OutputLost):
            self.err.line(text)

    def advise(self, text: str, *words: str) -> None:
        """Print as ``warn`` what helps, and below it the line of that command, to be pasted.

        It is a line of its own, however long: one that a terminal's width broke would be two.
        """
        self.warn(f"{text}:")
        with contextlib.suppress(OutputLost):
            self.err.verbatim(self.line.hint(*words))

    def print_table(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str]],
        *,
        on: Screen | None = None,
    ) -> None:
        """Print a table that is at hand as a whole."""
        table = Table(on or self.out, columns)
        table.add(rows)
        self.note_left_out(table)

    def note_left_out(self, table: Table) -> None:
        """Print which columns the terminal has no room for."""
        if table.left_out:
            self.err.line(f"no room for {', '.join(table.left_out)}: in a wider window, or | cat")

    @property
    def asking(self) -> Screen:
        """Where questions are asked: a screen that somebody sees. Raises BadParameter."""
        for screen in (self.err, self.out):
            if screen.is_terminal:
                return screen
        raise typer.BadParameter("nobody would see the question: say --yes", param_hint="--yes")

    def confirm(self, question: str) -> None:
        """Ask; raises typer.Abort unless the answer is yes."""
        typer.confirm(question, abort=True, err=self.asking is self.err)
