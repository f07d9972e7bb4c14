"""What was seen of a rule is not written once the rule has let something go."""

from __future__ import annotations

from zart_server.store.db import Database
from zart_server.store.pausing.counting import undrained_rules
from zart_server.store.pausing.drains import undrain, write_drained

LET_GO = "SELECT drained_at IS NULL FROM zart.pause_drains"


async def test_what_has_let_go_since_is_not_drained(store: Database) -> None:
    async with store.transaction() as tx:
        await tx.execute(
            "INSERT INTO zart.pause_rules (rule_id, everything, reason, created_by, epoch)"
            " VALUES ('pr-1', true, '', '', 1)"
        )
    async with store.transaction() as tx:
        seen = await undrained_rules(tx)
    async with store.transaction() as tx:
        await undrain(tx, seen[0].rule_key)
    async with store.transaction() as tx:
        assert await write_drained(tx, seen) == []
        [again] = await undrained_rules(tx)
        assert again.undrained == 1
        [rule] = await write_drained(tx, [again])
        assert (rule.rule_id, rule.is_first) == ("pr-1", True)
        assert not await tx.fetchval(LET_GO)


async def test_whoever_lets_go_at_that_moment_has_the_last_word(store: Database) -> None:
    async with store.transaction() as tx:
        await tx.execute(
            "INSERT INTO zart.pause_rules (rule_id, everything, reason, created_by, epoch)"
            " VALUES ('pr-1', true, '', '', 1)"
        )
    async with store.transaction() as tx:
        seen = await undrained_rules(tx)
    async with store.transaction() as letting_go, store.transaction() as tx:
        await undrain(letting_go, seen[0].rule_key)
        assert await write_drained(tx, seen) == []  # it does not wait
    async with store.transaction() as tx:
        assert await tx.fetchval(LET_GO)
