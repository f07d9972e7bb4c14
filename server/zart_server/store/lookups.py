"""How hot statements name rows: they are looked up by their keys, whatever the planner thinks.

What it thinks of a table is often wrong: statistics are made when a table is empty, plans are kept
while it fills. A plan that is the cheapest for an empty table may read all of a full one for each
row of a batch. So hot statements leave no choice (docs/adr/0022-plans-without-luck.md):

- rows to be read: ``FROM keys k CROSS JOIN LATERAL (SELECT ... WHERE key = k.key OFFSET 0) x``, and
  whatever else they must be is asked outside of it. OFFSET 0 keeps it a lookup for each key.
- rows to be changed: ``UPDATE ... FROM keys k WHERE x.key = {only('k.key')}``.
- a status beside a key is asked of ``UNINDEXED_STATUS``.
- whether there is any: ``(SELECT true ... LIMIT 1) IS NULL``, not NOT EXISTS, which is a join.
- sets of a batch are compared by ``(x IN (SELECT ...)) IS TRUE``, which hashes; a join would
  compare each with each.
"""

from __future__ import annotations


def only(key: str) -> str:
    """Return the right side of a comparison with the leading column of a key.

    A plain equality could be met by reading the whole index in its order, too, as for a merge join.
    Nothing but a lookup by the key meets this one. Where all rows have the leading column in common
    it comes with each, behind OFFSET 0: as a parameter it is met by reading all that have it.
    """
    return f"ANY(ARRAY[{key}])"


# A run's status in a way that proves no partial index to be of use: one that holds what is
# unfinished would be read as a whole, with the key as a filter, when that looks like nothing.
UNINDEXED_STATUS = "status || ''"

# What becomes of rows to be locked that another transaction has locked.
IF_LOCKED = {"waiting": "", "passing over locked rows": "SKIP LOCKED"}


def if_locked(*, wait: bool) -> str:
    """Return the key of ``IF_LOCKED``."""
    return "waiting" if wait else "passing over locked rows"
