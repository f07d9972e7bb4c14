"""Finds which breakers count each attempt that ended badly: ten thousand of both, twice a second.

That may take seconds on a busy machine, most of them for the fingerprints of long messages. It is
done in slices, and what is the same for the next look is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from zart_server.domain.fingerprint import fingerprint, is_error_group_id, version_of
from zart_server.domain.rule_set import RuleSet
from zart_server.store.breaking.counts import Counting, FailedAttempt, find_counting
from zart_server.store.connection import Connection
from zart_server.store.definitions import find_definitions
from zart_server.store.slices import Slices

# An attempt's number is given out again after a failover, its token never.
_Attempt: TypeAlias = tuple[int, int, int, int]
_Names: TypeAlias = tuple[str, str]  # of a task and a step


@dataclass(slots=True)
class CountedFailures:
    """How many attempts breakers count, by key, generation and second.

    ``others`` have other errors than of a breaker's group, and are counted for its ratio. Of each
    breaker, by its key: how many of its own are ``young``, and the ``last``.
    """

    counts: Counter[tuple[int, int, datetime]] = field(default_factory=Counter)
    others: Counter[tuple[int, int, datetime]] = field(default_factory=Counter)
    young: dict[int, int] = field(default_factory=dict)
    last: dict[int, FailedAttempt] = field(default_factory=dict)


class FailureCounting:
    """Counts what ended badly for the closed breakers, look after look."""

    def __init__(self) -> None:
        # The scopes of the breakers that the last look had. Whom each exempts is seen by itself.
        self._breakers: dict[int, Counting] = {}
        self._rules = RuleSet()
        # The groups of errors that were asked for, by the version that tells them. Each attempt is
        # found by several looks.
        self._groups: dict[_Attempt, dict[int, str]] = {}

    async def counted(
        self, connection: Connection, failed: Sequence[FailedAttempt]
    ) -> CountedFailures:
        """Return which breakers count how many of these attempts, of which the first is the last.

        What has become known stays so where this is cut off.
        """
        definitions = await find_definitions(connection, {one.definition_key for one in failed})
        of_names: dict[_Names, list[int]] = {}
        for number, one in enumerate(failed):
            definition = definitions[one.definition_key]
            names = definition.task_name, definition.queued[one.step_no].step_name
            of_names.setdefault(names, []).append(number)
        slices = Slices(connection)
        tasks = {task_name for task_name, _ in of_names}
        await self._take(await find_counting(connection, tasks), slices)
        attempts = {_attempt(one) for one in failed}
        self._groups = {key: known for key, known in self._groups.items() if key in attempts}
        found, last = CountedFailures(), dict[int, int]()
        for (task_name, step_name), numbers in of_names.items():
            matching = self._rules.matching("", task_name, step_name)
            breakers = [self._breakers[key] for key in matching]
            for number in numbers:
                one = failed[number]
                for breaker, is_of_group in self._counting(one, breakers):
                    key = breaker.breaker_key
                    if not is_of_group:
                        found.others[key, breaker.generation, one.second] += 1
                        continue
                    found.counts[key, breaker.generation, one.second] += 1
                    found.young[key] = found.young.get(key, 0) + one.is_young
                    last[key] = min(number, last.get(key, number))
                if slices.is_over:
                    await slices.rest()
        found.last.update((key, failed[number]) for key, number in last.items())
        return found

    async def _take(self, breakers: Iterable[Counting], slices: Slices) -> None:
        """Gather the patterns of breakers; of those that are the same nothing is read anew."""
        now = {breaker.breaker_key: breaker for breaker in breakers}
        for key in [key for key in self._breakers if key not in now]:
            del self._breakers[key]
            self._rules.drop(key)
        for key, breaker in now.items():
            known = self._breakers.get(key)
            if known is None or known.scope != breaker.scope:
                self._rules.drop(key)
                self._rules.put(key, breaker.scope)
            self._breakers[key] = breaker
            if slices.is_over:
                await slices.rest()

    def _counting(
        self, one: FailedAttempt, breakers: Iterable[Counting]
    ) -> Iterator[tuple[Counting, bool]]:
        """Yield those of the breakers that count an attempt; False: for their ratio only."""
        for breaker in breakers:
            if one.lease_token <= breaker.token_from or one.execution_id in breaker.exempt:
                continue
            if breaker.error_group_id is not None:
                if not is_error_group_id(breaker.error_group_id):
                    continue  # of a version that only newer servers tell
                version = version_of(breaker.error_group_id)
                if self._group(one, version) != breaker.error_group_id:
                    if breaker.has_ratio:
                        yield breaker, False
                    continue
            yield breaker, True

    def _group(self, one: FailedAttempt, version: int) -> str:
        groups = self._groups.setdefault(_attempt(one), {})
        if version not in groups:
            found = fingerprint(one.error_type or "", one.error_message or "", version)
            groups[version] = found.error_group_id
        return groups[version]


def _attempt(one: FailedAttempt) -> _Attempt:
    return one.run_key, one.step_no, one.attempt, one.lease_token
