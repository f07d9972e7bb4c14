"""Gathers what belongs to claimed tasks, of as many as one answer has room for.

Of what it has no room for nothing is unpacked: a claim holds the pause lock, and a step may depend
on thousands of results of a megabyte each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from zart_server.domain.graph import MAX_STEPS
from zart_server.store.caches.runs import RunFacts
from zart_server.store.claims import Claimed
from zart_server.store.connection import Connection
from zart_server.store.definitions import find_definitions
from zart_server.store.handler_inputs import READ_AT_ONCE, Upstream, measure, read_upstream
from zart_server.store.run_facts import find_run_facts
from zart_server.store.step_inputs import InputKey, read_inputs
from zart_server.store.stored_graph import Definition

_Keys: TypeAlias = list[tuple[int, int]]  # run keys and step numbers

_RESPONSE_BYTES = 8 * 1024 * 1024
_UPSTREAM_BYTES = 4 * 1024 * 1024
_RESULTS_AT_ONCE = MAX_STEPS  # that are looked up in one statement, and those of one more task
_MEASURED_AT_ONCE = 32 * 1024 * 1024  # bytes, of results whose size is known by unpacking them only
# Bytes of a task's results that were measured and have no room, after which none is measured. A few
# of those that follow might be short enough for what room is left: they are asked for, too.
_IN_VAIN = 16 * 1024 * 1024


@dataclass(slots=True)
class TaskParts:
    """The texts that belong to one leased task; None stands for one still to be read.

    ``size``: bytes of all of them; ``given_size``: without what comes from dependencies.
    """

    claimed: Claimed
    run: RunFacts
    definition: Definition
    given_size: int
    upstream: dict[int, str | None] = field(default_factory=dict)
    omitted: list[int] = field(default_factory=list)
    corrected_input: str | None = None
    skipped: list[int] = field(default_factory=list)
    size: int = 0

    @property
    def input_key(self) -> InputKey:
        """Where the input stands, if it was corrected."""
        return InputKey(self.claimed.run_key, self.claimed.step_no, self.claimed.correction)

    def take(
        self, results: Mapping[tuple[int, int], Upstream], unread: _Keys, unmeasured: _Keys
    ) -> None:
        """Take the results that there is room for, and note which have to be read or measured.

        As long as they are, they count as what they take at least.
        """
        self.upstream, self.omitted, self.skipped = {}, [], []
        size, room, in_vain = self.given_size, _UPSTREAM_BYTES, 0
        names, run_key = self.definition.name_bytes, self.claimed.run_key
        for dep in self.definition.graph.depends_on[self.claimed.step_no]:
            size += names[dep]
            result = results.get((run_key, dep))
            if result is None:
                unread.append((run_key, dep))
                continue
            text, bytes_, is_skipped, is_measured = result
            if is_skipped:
                self.skipped.append(dep)
                size += names[dep]
            if bytes_ > room or (in_vain > _IN_VAIN and not is_measured):
                self.omitted.append(dep)
                in_vain += bytes_ if is_measured else 0
                continue
            if not is_measured:
                unmeasured.append((run_key, dep))
            room -= bytes_
            size += bytes_
            self.upstream[dep] = text
        self.size = size


async def gather(
    connection: Connection, claimed: Sequence[Claimed]
) -> tuple[Sequence[TaskParts], Sequence[TaskParts]]:
    """Return what the first tasks need, at least of one, that fit into 8 MiB; and the others.

    Of each those results of its dependencies that fit into 4 MiB. Long texts are still to be read.
    """
    if not claimed:
        return (), ()
    runs = await find_run_facts(connection, {c.run_key for c in claimed})
    definitions = await find_definitions(connection, {run.definition_key for run in runs.values()})
    parts = [_begun(c, run := runs[c.run_key], definitions[run.definition_key]) for c in claimed]
    await _correct_inputs(connection, [part for part in parts if part.claimed.correction])
    results: dict[tuple[int, int], Upstream] = {}
    while True:
        unread: _Keys = []
        unmeasured: _Keys = []
        fitting = _fitting(parts, results, unread, unmeasured)
        if unread:
            found = await read_upstream(connection, sorted(set(unread)))
        elif unmeasured:
            wanted = list(dict.fromkeys(unmeasured))
            found = await measure(connection, wanted, _MEASURED_AT_ONCE)
        else:
            return parts[:fitting], parts[fitting:]
        if not found:
            raise LookupError("steps are gone that claimed ones depend on")
        results |= found


def _begun(claimed: Claimed, run: RunFacts, definition: Definition) -> TaskParts:
    size = run.payload_bytes + definition.input_bytes[claimed.step_no] + 1024
    return TaskParts(claimed, run, definition, size)


def _fitting(
    parts: Sequence[TaskParts],
    results: Mapping[tuple[int, int], Upstream],
    unread: _Keys,
    unmeasured: _Keys,
) -> int:
    """Return how many tasks, at least one, fit into one answer, by what is known of results.

    Of the task that does not fit, and of those after it, nothing is looked for.
    """
    total = 0
    for number, part in enumerate(parts):
        known = len(unread), len(unmeasured)
        part.take(results, unread, unmeasured)
        total += part.size
        if total > _RESPONSE_BYTES and number:
            del unread[known[0] :], unmeasured[known[1] :]
            return number
        if len(unread) >= _RESULTS_AT_ONCE:
            break
    return len(parts)


async def _correct_inputs(connection: Connection, parts: Sequence[TaskParts]) -> None:
    """Note the inputs that operators gave instead of the definition's; long ones: their size."""
    if not parts:
        return
    inputs = await read_inputs(connection, [part.input_key for part in parts], READ_AT_ONCE)
    for part in parts:
        part.corrected_input, size = inputs[part.input_key]
        part.given_size += size


async def read_large_inputs(connection: Connection, parts: Sequence[TaskParts]) -> None:
    """Read the corrected inputs that were too large to read before it was known that they fit."""
    large = [part for part in parts if part.claimed.correction and part.corrected_input is None]
    if large:
        inputs = await read_inputs(connection, [part.input_key for part in large])
        for part in large:
            part.corrected_input, _ = inputs[part.input_key]
