-- Of several keys with the same leading column PostgreSQL takes any while it knows nothing of a
-- table, and with a plan of that time it read all items of a batch for each of them. This one serves
-- no lookup: a query would have to say that there is an execution (docs/adr/0022-plans-without-luck.md).
CREATE UNIQUE INDEX batch_items_once_each ON zart.batch_items (batch_key, execution_key, step_no)
    WHERE execution_key IS NOT NULL;
DROP INDEX zart.batch_items_once;
ALTER INDEX zart.batch_items_once_each RENAME TO batch_items_once;
