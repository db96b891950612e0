-- What was changed about the migrated tables so that rows would come out of order or unnoticed; no row if all is as it should be.
WITH tables AS MATERIALIZED (
    SELECT 'public.notifications'::regclass AS rel
    UNION
    SELECT relid FROM pg_catalog.pg_partition_tree('public.notifications')
), ids AS MATERIALIZED (
    SELECT t.rel, a.attnum FROM tables AS t JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.rel AND a.attname = 'id'
), sequences AS MATERIALIZED (
    -- Those that a default of id draws from, and those of identity columns.
    SELECT d.refobjid AS seq
    FROM ids
    JOIN pg_catalog.pg_attrdef AS f ON f.adrelid = ids.rel AND f.adnum = ids.attnum
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = f.oid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass
    UNION
    SELECT d.objid
    FROM ids
    JOIN pg_catalog.pg_depend AS d ON d.refobjid = ids.rel AND d.refobjsubid = ids.attnum
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'i'
)
SELECT 'cache' AS flaw, q.seqrelid::regclass::text AS object, q.seqcache::text AS detail
FROM sequences AS s JOIN pg_catalog.pg_sequence AS q ON q.seqrelid = s.seq
WHERE q.seqcache <> 1
UNION ALL
SELECT 'trigger', t.rel::text, wanted.name
FROM tables AS t CROSS JOIN (VALUES ('rowcast_ring'), ('rowcast_keep_seq'), ('rowcast_keep_born'), ('rowcast_truncated')) AS wanted (name)
-- A partition gets the others from the table; TRUNCATE of a table fires that table's own.
WHERE (wanted.name <> 'rowcast_truncated' OR t.rel = 'public.notifications'::regclass) AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = t.rel AND g.tgname = wanted.name AND g.tgenabled = 'A'
)
ORDER BY 1, 2, 3
