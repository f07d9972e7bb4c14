-- Errors are grouped by versions of the fingerprint, of which one is in use
-- (docs/adr/0036-dead-steps-apart.md).

-- The group that these errors were in by the version before. Only while both ids are of use: what
-- is of such a kind is of the one without a former group later, and the kind is deleted.
ALTER TABLE zart.error_groups
    ADD COLUMN former_id text COLLATE "C",
    ADD COLUMN former_template text,
    ADD CHECK ((former_id IS NULL) = (former_template IS NULL));
CREATE INDEX error_groups_by_former_id ON zart.error_groups (former_id, group_key)
    WHERE former_id IS NOT NULL;

-- By which version deaths are told, and since when: one row. A database in which nothing has begun
-- has nobody who would have to learn of the newest. One that began with an older version is brought
-- to it by servers.
CREATE TABLE zart.fingerprint_version (
    version integer NOT NULL,
    since   timestamptz NOT NULL
);
CREATE UNIQUE INDEX fingerprint_version_is_one ON zart.fingerprint_version ((true));
INSERT INTO zart.fingerprint_version (version, since)
SELECT CASE WHEN EXISTS (SELECT FROM zart.runs) THEN 1 ELSE 3 END, '-infinity';
