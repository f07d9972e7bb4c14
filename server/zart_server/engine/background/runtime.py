"""One server's engine: its dispatch path, watches, notifications, sweeps and maintenance."""

from __future__ import annotations

from zart_server.domain.retention import Kept
from zart_server.engine.background.batch_watches import BatchWatches
from zart_server.engine.background.batches import Batches
from zart_server.engine.background.breakers import Breakers
from zart_server.engine.background.drains import Drains
from zart_server.engine.background.lease_sweeps import LeaseSweeps
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.background.maintenance import Maintenance
from zart_server.engine.background.pause_sweeps import PauseSweeps
from zart_server.engine.background.regrouping import Regrouping
from zart_server.engine.background.releases import Releases
from zart_server.engine.background.retention import Retention
from zart_server.engine.background.rule_looks import RuleLooks
from zart_server.engine.background.rule_watches import RuleWatches
from zart_server.engine.background.state_watches import ReadShare
from zart_server.engine.background.telling_completed import TellingCompleted
from zart_server.engine.background.watches import Watches
from zart_server.engine.dispatch.dispatch import Dispatch
from zart_server.engine.dispatch.due_soon import DueSoon
from zart_server.engine.dispatch.tally import Tally
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.engine.operations.prepare_batch import RefusalOf
from zart_server.store.changes import Changes
from zart_server.store.db import Database
from zart_server.store.due import DueLane
from zart_server.store.notifications import Notifications

# Seconds between the begins of two loops. Most take a turn each second: at once, each would take a
# connection of its own.
_APART = 0.05


class Runtime:
    """Everything that runs besides the calls. No fact is kept in it: a crash loses nothing."""

    def __init__(
        self,
        db: Database,
        reading: ReadShare,
        room: WaitingRoom,
        refusal_of: RefusalOf,
        tally: Tally,
        kept: Kept,
    ) -> None:
        self.db = db
        self.dispatch = Dispatch(db, room, tally)
        self.due_soon = DueSoon(self.dispatch.long_polls)
        self.watches = Watches(db)
        self.sweeps = PauseSweeps(db)
        self.drains = Drains(db)
        self.rule_watches = RuleWatches(reading, self.drains)
        self.drains.on_look = self.rule_watches.look
        self.releases = Releases(db)
        self.sweeps.on_settled = self.releases.kick
        self.telling = TellingCompleted(db, self.dispatch.completions)
        self.breakers = Breakers(db, self.telling)
        self.rule_looks = RuleLooks(db, self.sweeps, self.drains, self.releases, self.breakers)
        self.lease_sweeps = LeaseSweeps(db, tally)
        self.maintenance = Maintenance(db, self.dispatch, self.due_soon, self.watches)
        self.batches = Batches(db, refusal_of)
        self.batch_watches = BatchWatches(reading)
        self.kept = kept
        self.retention = Retention(db, kept)
        self.regrouping = Regrouping(db)
        self._notifications = Notifications(
            db.url, self._heard_of_others, self._lost_count, lambda: bool(self.watches)
        )
        self.watches.on_first = self._notifications.begins_to_watch
        db.on_commit = self._committed
        db.on_loss = self._notifications.reconnect
        # Lanes of lost tasks are others' now: no claim is to go on in them.
        db.on_other_history = self.dispatch.low_water.begin_anew

    @property
    def loops(self) -> tuple[BackgroundLoop, ...]:
        """All that goes on by itself, in turns."""
        return (
            self.lease_sweeps, self.rule_looks, self.maintenance, self.sweeps, self.drains,
            self.telling, self.breakers, self.releases, self.batches, self.retention,
            self.regrouping,
        )  # fmt: skip

    @property
    def done_at(self) -> dict[str, float]:
        """When what is due each second was last done, of each loop that does any of it."""
        loops = (self.lease_sweeps, self.rule_looks, self.maintenance)
        return {loop.name: loop.done_at for loop in loops}

    def start(self) -> None:
        """Start liveness checks, notifications, maintenance, the sweeps, breakers and batches."""
        self.db.liveness.start()
        self._notifications.start()
        for place, loop in enumerate(self.loops):
            loop.start(place * _APART)

    def drain(self) -> None:
        """Lease no more tasks and end the watches; reports are still accepted."""
        self.dispatch.drain()
        self.watches.stop()
        self.rule_watches.stop()
        self.batch_watches.stop()

    async def stop(self) -> None:
        """Record the reported outcomes, then end everything."""
        self.drain()
        await self.dispatch.stop()
        await self.lease_sweeps.stop()
        await self.rule_looks.stop()
        await self.maintenance.stop()
        await self.sweeps.stop()
        await self.drains.stop()
        await self.breakers.stop()
        await self.telling.stop()
        await self.releases.stop()
        await self.batches.stop()
        await self.retention.stop()
        await self.regrouping.stop()
        await self._notifications.stop()
        self.due_soon.stop()

    def _committed(self, changes: Changes) -> None:
        self._heard(changes)
        self.due_soon.add(changes.soon)
        if changes.abandoned:
            self.dispatch.tally.abandoned(changes.abandoned)
        self._notifications.publish(changes)

    def _heard(self, changes: Changes) -> None:
        """Wake the long polls, watches and loops of this server that a change concerns."""
        if changes.cursors:
            self.dispatch.low_water.put_back(
                [
                    DueLane(lane, task_name, handler, cursor, 0.0)
                    for (task_name, handler), (lane, cursor) in changes.cursors.items()
                ]
            )
        self.dispatch.long_polls.wake(changes.lanes)
        self.watches.changed(changes.runs, changes.at_once)
        if changes.any_run:
            self.watches.changed_all()
        if changes.rules:
            self.watches.changed_all()  # a step is paused from the commit of its rule on
            self.rule_watches.look()
            self.rule_looks.kick()
            self.sweeps.kick()
            self.releases.kick()
        if changes.breakers:
            self.telling.kick()
            self.breakers.kick()
        if changes.batches:
            self.batches.kick()
            self.batch_watches.look()
        if changes.retention:
            self.retention.kick()

    def _heard_of_others(self, changes: Changes) -> None:
        """Do as for a change of one's own; look for delayed tasks once the first of them is due."""
        self._heard(changes)
        if changes.due_in is not None:
            self.maintenance.kick_in(changes.due_in)

    def _lost_count(self) -> None:
        """Have all claims, watches and looks begin anew: notifications may have been lost."""
        self.dispatch.low_water.begin_anew()
        self.watches.changed_all()
        self.rule_watches.look()
        self.rule_looks.kick()
        self.maintenance.kick()
