-- What came new into the room of what had been removed left an old time in every range of blocks: so
-- each look for old requests read all of them. They are looked for block by block now.
DROP INDEX zart.requests_by_time;
