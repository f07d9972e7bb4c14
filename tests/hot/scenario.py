"""The one list of what runs hot statements.

A scenario is a function of an ``Explained``: it calls the store or the engine as the server does.
Every statement that its ``tx`` is given is judged in every state of the statistics, by the size of
its batch: see ``judged``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from hot.explained import Explained

BATCH = 50
Run = Callable[[Explained], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """What is run: a batch of how many, what its transaction begins with, what it may read whole.

    Statements of the functions ``apart`` are judged in a scenario of their own.
    """

    name: str
    run: Run
    batch: int
    first: str
    whole: frozenset[str]
    apart: frozenset[str]


SCENARIOS: list[Scenario] = []


def scenario(
    batch: int = BATCH, *, first: str = "", whole: str = "", apart: Collection[str] = ()
) -> Callable[[Run], Run]:
    """Add a function to the list: it asks for at most so many of something.

    ``first`` is what its transaction begins with, such as a setting; ``whole`` a table that it
    is to read from end to end; ``apart`` names the functions that it calls for counts of another
    size, which another scenario judges.
    """

    def add(run: Run) -> Run:
        tables = frozenset(filter(None, [whole]))
        SCENARIOS.append(Scenario(run.__name__, run, batch, first, tables, frozenset(apart)))
        return run

    return add
