-- Of several keys with the same leading column PostgreSQL takes any while it knows nothing of a
-- table, and the newest of them where they look alike: with a plan of that time it read all items of
-- a batch for each of them (docs/adr/0022-plans-without-luck.md). So the key that statements mean is
-- the newest of those that may serve them: of items by status or number this one,
LOCK TABLE zart.batch_items IN ACCESS EXCLUSIVE MODE;
CREATE INDEX batch_items_by_state ON zart.batch_items (batch_key, status, item_no);
DROP INDEX zart.batch_items_by_status;
ALTER INDEX zart.batch_items_by_state RENAME TO batch_items_by_status;
-- and of items by execution this one, which serves no others: they would have to ask for an
-- execution. batch_items_once is there for its uniqueness, which servers before this go by.
CREATE INDEX batch_items_by_execution ON zart.batch_items (batch_key, execution_key, step_no)
    WHERE execution_key IS NOT NULL;
