"""Sends hints of what changed to other servers, and hears theirs. A hint is never the truth.

Each server has one connection for it. Changes are collected while a NOTIFY is under way, so that a
busy server sends few: NOTIFY takes a global lock at commit. Servers also announce that they are
there, and whether executions are watched there; a server without peers sends no hints.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zart_server.store.changes import Changes
from zart_server.store.connecting import Connector
from zart_server.store.driver_errors import translate
from zart_server.store.followed_url import Url
from zart_server.store.sessions import DriverConnection, Session, SessionRefused

_log = logging.getLogger(__name__)
_CHANNEL = "zart"
_PAYLOAD_BYTES = 7900  # PostgreSQL refuses 8000
_MOST_BYTES = 1_000_000  # of what changed at once; beyond that, peers look at everything
_GAP = 0.005  # seconds between two NOTIFYs
_RECONNECT = 1.0  # seconds
_REST = 1.0  # seconds between two looks for what was told otherwise
_HERE_EVERY = 5.0  # seconds between two announcements, however busy the server is
_ANSWER = 3.0  # seconds: a NOTIFY that takes longer was lost with its connection
_GONE_AFTER = 16.0  # seconds without a word, of whatever kind
_NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload"


@dataclass(slots=True)
class _Peer:
    heard_at: float
    watches: bool


class Notifications:
    """The LISTEN/NOTIFY connection of one server; reconnects by itself."""

    def __init__(
        self,
        url: Url,
        on_changes: Callable[[Changes], None],
        on_gap: Callable[[], None],
        watches: Callable[[], bool],
        *,
        here_every: float = _HERE_EVERY,
    ) -> None:
        self._connector = Connector(
            url, Session("notifications", statement_timeout=_ANSWER), command_timeout=_ANSWER
        )
        self._on_changes = on_changes
        self._on_gap = on_gap
        self._watches = watches
        self._here_every = here_every
        self._me = uuid.uuid4().hex[:12]
        self._peers: dict[str, _Peer] = {}
        self._pending = Changes()
        self._is_greeting = True
        self._says_it_watches = False
        # Who may have missed hints is to look at everything; or at what it watches.
        self._missed = False
        self._newcomers: set[str] = set()
        self._missed_runs = False
        self._something = asyncio.Event()
        self._connection: DriverConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._resting: asyncio.TimerHandle | None = None  # since what was told otherwise
        self._was_misheard = False  # more of it, meanwhile

    def start(self) -> None:
        """Begin to listen and to send."""
        self._task = asyncio.create_task(self._run(), name="notifications")

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._resting is not None:
            self._resting.cancel()

    def reconnect(self) -> None:
        """Drop the connection, which is lost, so that another is made."""
        if self._connection is not None:
            self._connection.terminate()

    def announce(self) -> None:
        """Announce again that this server is there, and whether executions are watched here."""
        self._is_greeting = True
        self._something.set()

    def begins_to_watch(self) -> None:
        """Ask the peers, by an announcement, for hints of executions too.

        A server that is not known yet gets this with the announcement when it is first heard.
        """
        if self._peers and not self._says_it_watches:
            self.announce()

    def publish(self, changes: Changes) -> None:
        """Send changes to the other servers soon, together with those of the meantime."""
        if not self._peers:
            return
        for lane, count in changes.lanes.items():
            self._pending.lanes[lane] = self._pending.lanes.get(lane, 0) + count
        for (task, handler), (lane_key, cursor) in changes.cursors.items():
            self._pending.put_back(task, handler, lane_key, cursor)
        if any(peer.watches for peer in self._peers.values()):
            self._pending.runs |= changes.runs
            self._pending.at_once |= changes.at_once
        self._pending.rules |= changes.rules
        self._pending.breakers |= changes.breakers
        if changes.due_in is not None:
            due = self._pending.due_in
            self._pending.due_in = changes.due_in if due is None else min(due, changes.due_in)
        if len(self._pending.runs) > _MOST_BYTES // 20:  # nothing was sent for long: it is too much
            self._missed, self._pending = True, Changes()
        if self._pending:
            self._something.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - logged in full unless it is the database's; it must go on
                if isinstance(error, SessionRefused) or translate(error) is not None:
                    _log.warning("lost the notification connection: %s", type(error).__name__)
                else:
                    _log.exception("notifications failed; they go on")
            await asyncio.sleep(_RECONNECT)

    async def _serve(self) -> None:
        connection = self._connection = await self._connector.connect()
        try:
            await connection.add_listener(_CHANNEL, self._hear)
            connection.add_termination_listener(lambda _connection: self._something.set())
            self._on_gap()  # hints may have been sent before this server listened
            loop = asyncio.get_running_loop()
            greet_at = loop.time()
            while not connection.is_closed():
                if loop.time() >= greet_at:  # also where it was woken each time before
                    self._is_greeting = True
                    greet_at = loop.time() + self._here_every
                if payloads := self._take_payloads():
                    await self._send(connection, payloads)
                await asyncio.sleep(_GAP)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(greet_at):
                        await self._something.wait()
                        self._something.clear()
        finally:
            connection.terminate()

    async def _send(self, connection: DriverConnection, payloads: list[str]) -> None:
        """Send messages, all or none; where that fails, peers may lack what they told of."""
        try:
            await connection.execute(_NOTIFY, _CHANNEL, payloads)
        except BaseException:
            self._missed = True
            raise

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            said = json.loads(str(payload))
            name, changes = str(said["from"]), _changes_of(said)
        except (ValueError, TypeError, LookupError, AttributeError):
            # A server of another version tells it otherwise, or whoever uses the database: what it
            # told of is looked for.
            self._misheard()
            return
        if name == self._me:
            return
        if (peer := self._peers.get(name)) is not None:
            peer.heard_at = time.monotonic()
        if "watches" in said:
            self._meet(name, watches=bool(said["watches"]))
        if changes is not None:
            self._on_changes(changes)
        elif said.get("much") and self._me in said.get("to", (self._me,)):
            self._on_gap()

    def _misheard(self) -> None:
        """Have all be looked for, once a second at most: a busy server tells much."""
        if self._resting is not None:
            self._was_misheard = True
            return
        self._on_gap()
        self._resting = asyncio.get_running_loop().call_later(_REST, self._end_rest)

    def _end_rest(self) -> None:
        self._resting = None
        if self._was_misheard:
            self._was_misheard = False
            self._misheard()

    def _meet(self, name: str, *, watches: bool) -> None:
        """Note that a server is there. If it is new, or begins to watch, it missed hints."""
        known = self._peers.get(name)
        self._peers[name] = _Peer(time.monotonic(), watches)
        if known is None:
            self._newcomers.add(name)
            self.announce()
        elif watches and not known.watches:
            self._missed_runs = True
            self.announce()

    def _take_payloads(self) -> list[str]:
        """Return the messages to send: the announcement, that hints were missed, what changed."""
        payloads = []
        if self._is_greeting:
            self._is_greeting = False
            gone = time.monotonic() - _GONE_AFTER
            self._peers = {n: peer for n, peer in self._peers.items() if peer.heard_at > gone}
            self._says_it_watches = self._watches()
            payloads.append(json.dumps({"from": self._me, "watches": self._says_it_watches}))
        if self._missed:
            payloads.append(self._much())
        else:
            if self._newcomers:
                payloads.append(self._much(to=sorted(self._newcomers)))
            if self._missed_runs:
                payloads.append(self._much("runs"))
        self._missed = self._missed_runs = False
        self._newcomers.clear()
        changes, self._pending = self._pending, Changes()
        if changes:
            payloads += self._payloads(changes)
        return payloads

    def _much(self, of: str = "all", *, to: Sequence[str] = ()) -> str:
        """Ask peers, or those that are named, to look at everything, or at what they watch."""
        said: dict[str, Any] = {"from": self._me, "much": True, "of": of}
        return json.dumps(said | {"to": to} if to else said)

    def _payloads(self, changes: Changes) -> list[str]:
        """Encode changes as messages of the length that PostgreSQL takes; too many: as much."""
        payload = self._payload(changes)
        if len(payload) <= _PAYLOAD_BYTES:
            return [payload]
        parts = []
        if len(payload) <= _MOST_BYTES:
            parts = changes.parts(2 * len(payload) // _PAYLOAD_BYTES + 1)
        if len(parts) <= 1:
            return [self._much()]
        return [message for part in parts for message in self._payloads(part)]

    def _payload(self, changes: Changes) -> str:
        """Encode changes as one message, however long."""
        said: dict[str, Any] = {
            "from": self._me,
            "lanes": [[*lane, count] for lane, count in changes.lanes.items()],
            "runs": sorted(changes.runs),
            "at_once": sorted(changes.at_once),
            "rules": changes.rules,
            "due_in": changes.due_in,
            "breakers": changes.breakers,
            "cursors": [
                [*names, lane, not_before.isoformat(), queue_no]
                for names, (lane, (not_before, queue_no)) in changes.cursors.items()
            ],
        }
        return json.dumps(said, separators=(",", ":"))


def _changes_of(said: dict[str, Any]) -> Changes | None:
    """Return what a hint tells of; None: of no change, or of more than is told."""
    if said.get("much"):
        return Changes(any_run=True) if said["of"] == "runs" else None
    if "lanes" not in said:
        return None
    return Changes(
        {(task, handler): count for task, handler, count in said["lanes"]},
        set(said["runs"]),
        set(said["at_once"]),
        said["rules"],
        said["due_in"],
        {
            (task, handler): (lane, (datetime.fromisoformat(not_before), queue_no))
            for task, handler, lane, not_before, queue_no in said["cursors"]
        },
        breakers=said["breakers"],
    )
