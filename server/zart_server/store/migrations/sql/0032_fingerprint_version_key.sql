-- What has no key cannot be updated while a publication has all tables (FOR ALL TABLES, as who
-- replicates or captures changes makes one): errors were never regrouped there.
ALTER TABLE zart.fingerprint_version
    ADD COLUMN only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row);
DROP INDEX zart.fingerprint_version_is_one;
