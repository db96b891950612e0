-- The migrations this database has had.
SELECT migration_id FROM rowcast._yoyo_migration ORDER BY migration_id
