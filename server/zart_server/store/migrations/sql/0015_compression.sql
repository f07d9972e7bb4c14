-- What callers send and are answered, which may be a mebibyte, is compressed by lz4 where this
-- PostgreSQL was built with it: pglz takes two to four times its CPU. A PostgreSQL without it keeps
-- pglz. Each table is locked for an instant and not rewritten: what is stored stays as it is, and is
-- read as ever.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_settings
        WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
    ) THEN
        ALTER TABLE zart.definitions ALTER COLUMN steps SET COMPRESSION lz4;
        ALTER TABLE zart.runs ALTER COLUMN payload SET COMPRESSION lz4;
        ALTER TABLE zart.steps ALTER COLUMN result SET COMPRESSION lz4;
        ALTER TABLE zart.step_inputs ALTER COLUMN input SET COMPRESSION lz4;
        ALTER TABLE zart.in_doubt ALTER COLUMN late_result SET COMPRESSION lz4;
        ALTER TABLE zart.batches ALTER COLUMN operation SET COMPRESSION lz4;
        ALTER TABLE zart.requests ALTER COLUMN response SET COMPRESSION lz4;
    END IF;
END $$;
