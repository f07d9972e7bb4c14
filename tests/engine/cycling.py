"""Ways in which a rule comes, lets steps go, withholds them again and ends, taken by chance.

Each call goes to one of several servers. Rules come by Pause, or by a breaker that trips or opens
by itself; they let steps go by exemptions, canaries, paces, probes and expiry; meanwhile
executions are started and restarted, and dead steps retried.
"""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import asyncpg
from breaking import cool
from engine.on_record import served
from rig import Rig, eventually, specs

import zart
from zart import errors
from zart.models import Breaker

T = TypeVar("T")
GRAPH = {f"s{n}": (f"s{n - 1}",) if n % 4 else () for n in range(12)}
NAMES = [f"x{n}" for n in range(5)]
RETRY = zart.Retry(2, 0.0)  # attempts, after which a step is dead
WAYS = {
    "breaker", "canary", "exempt", "expiry", "probe", "rate", "restart", "retry", "start", "trip",
    "unexempt",
}  # fmt: skip
_ENDED_BEFORE = (errors.RuleNotActive, errors.RuleNotReleasing, errors.NothingPaused)

# Something stands released, or the release is over.
IS_ANY_RELEASED = """
    SELECT EXISTS (SELECT FROM zart.released_steps s JOIN zart.pause_rules USING (rule_key)
        WHERE rule_id = $1 AND s.token_until IS NULL)
    OR NOT EXISTS (SELECT FROM zart.pause_releases r JOIN zart.pause_rules USING (rule_key)
        WHERE rule_id = $1 AND r.ended_at IS NULL)
"""


@dataclass
class Cycles:
    """Plays cycles of rules by ``clients`` of several servers; ``taken`` tells which ways."""

    clients: list[zart.Client]
    db: asyncpg.Connection[asyncpg.Record]
    chance: random.Random
    taken: set[str] = field(default_factory=set)
    _due: dict[str, float] = field(default_factory=dict)

    async def play(self) -> list[str]:
        """Have a rule come, let go and end; return the ids of all that came."""
        if self._maybe(0.3, "breaker"):
            breaker_id, rule_id = await self._opened()
        else:
            breaker_id, rule_id = "", await self._paused()
        await self._change_runs()
        # What has nothing more to let go has ended the rule by itself.
        with contextlib.suppress(*_ENDED_BEFORE):
            await self._exempt(rule_id)
            for _ in range(self.chance.randint(1, 2)):
                await self._let_go(rule_id, breaker_id)
                await self._ask(lambda c: c.stop_release(rule_id))
                await self._change_runs()
        if breaker_id:
            await self._ask(lambda c: c.delete_breaker(breaker_id))
        with contextlib.suppress(*_ENDED_BEFORE):
            await self._expire(rule_id)
        return await self._end(breaker_id, rule_id)

    async def _ask(self, what: Callable[[zart.Client], Awaitable[T]]) -> T:
        return await served(lambda: what(self.chance.choice(self.clients)))

    def _maybe(self, likely: float, way: str) -> bool:
        """Return whether a way is taken, so often of the times: none is left out by chance."""
        self._due[way] = self._due.get(way, self.chance.random()) + likely
        if self._due[way] < 1:
            return False
        self._due[way] -= 1
        self.taken.add(way)
        return True

    async def _paused(self) -> str:
        scope = None if self.chance.random() < 0.5 else self.chance.choice(NAMES)
        pace = self.chance.choice([None, 200.0])
        once = uuid.uuid4().hex
        paused = await self._ask(
            lambda c: c.pause(
                task_name=None if scope else "t",
                execution_id=scope,
                expires_in=3600 if pace else None,
                release_on_expiry=pace,
                request_id=once,
            )
        )
        return paused.rule_id

    async def _opened(self) -> tuple[str, str]:
        """Make a breaker and have it open, by hand or by what fails; return its id and rule."""
        once = uuid.uuid4().hex
        made = await self._ask(
            lambda c: c.create_breaker(
                task_name="t",
                failure_threshold=1,
                window=600,
                cooldown=3600,
                probe_steps=self.chance.randint(1, 3),
                request_id=once,
            )
        )
        if self._maybe(0.5, "trip"):
            await self._ask(lambda c: c.trip_breaker(made.breaker_id))
        found: list[Breaker] = []

        async def is_open() -> bool:
            found[:] = [await self._ask(lambda c: c.get_breaker(made.breaker_id))]
            if not found[0].rule_id:  # until one fails
                await self._ask(lambda c: c.restart(self.chance.choice(NAMES)))
            return bool(found[0].rule_id)

        await eventually(is_open, within=600)
        return made.breaker_id, found[0].rule_id

    async def _change_runs(self) -> None:
        if self._maybe(0.5, "restart"):
            await self._ask(lambda c: c.restart(self.chance.choice(NAMES)))
        if self._maybe(0.3, "start"):
            name = uuid.uuid4().hex
            steps = specs(GRAPH, retry=RETRY)
            await self._ask(lambda c: c.start("t", execution_id=name, steps=steps, request_id=name))
        for found in (await self._ask(lambda c: c.list_executions(step_statuses=["dead"])))[:2]:
            self.taken.add("retry")
            await self._retry(found.execution_id, found.dead_steps[0].step_name)

    async def _retry(self, execution_id: str, step_name: str) -> None:
        await self._ask(lambda c: c.retry_step(execution_id, step_name))

    async def _exempt(self, rule_id: str) -> None:
        if not self._maybe(0.5, "exempt"):
            return
        name = self.chance.choice(NAMES)
        await self._ask(lambda c: c.update_pause_rule(rule_id, exempt=[name]))
        if self._maybe(0.7, "unexempt"):
            await self._ask(lambda c: c.update_pause_rule(rule_id, unexempt=[name]))

    async def _let_go(self, rule_id: str, breaker_id: str) -> None:
        if breaker_id and self._maybe(0.7, "probe"):
            await self._probe(breaker_id)
        if self._maybe(0.3, "canary"):
            count = self.chance.randint(1, 5)
            with contextlib.suppress(errors.NothingPaused):
                await self._ask(lambda c: c.resume(rule_id=rule_id, canary=count))
        rate = self.chance.choice([20.0, 200.0])
        await self._ask(lambda c: c.resume(rule_id=rule_id, rate_per_second=rate))
        if self._maybe(0.3, "rate"):
            await self._ask(lambda c: c.resume(rule_id=rule_id, rate_per_second=50.0))
        if self.chance.random() < 0.8:

            async def is_any_released() -> bool:
                return bool(await self.db.fetchval(IS_ANY_RELEASED, rule_id))

            await eventually(is_any_released, within=600)

    async def _probe(self, breaker_id: str) -> None:
        """Have an open breaker try."""
        await cool(Rig(self.clients[0], self.db))

        async def has_tried() -> bool:
            found: bool = await self.db.fetchval(
                "SELECT half_open_at IS NOT NULL OR status = 'closed' OR cooldowns + trip_count > 2"
                " FROM zart.breakers WHERE breaker_id = $1",
                breaker_id,
            )
            return found

        await eventually(has_tried, within=600)

    async def _expire(self, rule_id: str) -> None:
        """Have a rule's time be up, at once or in a moment, and wait for its end."""
        if not self._maybe(0.4, "expiry"):
            return
        await self._ask(lambda c: c.update_pause_rule(rule_id, expires_in=0.01))

        async def is_over() -> bool:
            rule = await self._ask(lambda c: c.get_pause_rule(rule_id))
            return rule.status.value in ("EXPIRED", "RESUMED")

        await eventually(is_over, within=600)

    async def _end(self, breaker_id: str, rule_id: str) -> list[str]:
        """Resume what stands; return it and what a breaker had beside it."""
        rules = await self.db.fetch(
            "SELECT rule_id FROM zart.pause_rules WHERE rule_id = $1 OR breaker_id = NULLIF($2, '')",
            rule_id,
            breaker_id,
        )
        found = [rule["rule_id"] for rule in rules]
        for each in found:
            await self._resume(each)
        return found

    async def _resume(self, rule_id: str) -> None:
        await self._ask(lambda c: c.resume(rule_id=rule_id))
