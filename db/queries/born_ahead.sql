-- Before migration 0006: is the table larger than `large` bytes, so that it should be read ahead of the migration; and is there an index that a
-- run before this one left half built? A partitioned table can't have it built so.
SELECT
    n.relkind = 'r' AND pg_table_size(n.oid) > %(large)s AS large,
    n.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = to_regclass('public.notifications_born') AND NOT indisvalid) AS half_built
FROM pg_catalog.pg_class AS n
WHERE n.oid = 'public.notifications'::regclass
