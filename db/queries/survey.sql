-- What a server and a database are like, from the catalogs alone, so that any role may ask and nothing needs to exist. One row.
SELECT
    current_database()::text AS database,
    current_user::text AS role,
    pg_backend_pid() AS pid,
    pg_is_in_recovery() AS in_recovery,
    current_setting('transaction_read_only') = 'on' AS read_only,
    current_setting('server_encoding') AS encoding,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace WHERE nspname = 'public'), false)
        AS may_create_tables,
    (SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user) AS may_create_roles,
    ARRAY(
        SELECT rolname::text FROM pg_catalog.pg_roles
        WHERE rolname IN ('rowcast_writer', 'rowcast_bridge', 'rowcast_web', 'rowcast_pruner') ORDER BY 1
    ) AS roles,
    -- The names in public that the migrations give.
    ARRAY(
        SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
        WHERE s.nspname = 'public' AND c.relname IN (
            'notifications', 'notifications_id_seq', 'notifications_seq', 'notifications_unsequenced',
            'notifications_replay', 'notifications_list', 'notifications_unread', 'notifications_key', 'notifications_born'
        ) ORDER BY 1
    ) AS taken,
    ARRAY(
        SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
        WHERE s.nspname = 'rowcast' AND c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f') ORDER BY 1
    ) AS own,
    coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = 'rowcast'), false)
    AND coalesce((
        SELECT has_table_privilege(c.oid, 'SELECT')
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
        WHERE s.nspname = 'rowcast' AND c.relname = '_yoyo_migration'
    ), false) AS may_read_ledger,
    n.relkind::text AS kind,
    coalesce(pg_catalog.pg_has_role(n.relowner, 'USAGE'), true) AS owns,
    pg_catalog.pg_get_userbyid(n.relowner)::text AS owner,
    coalesce((
        SELECT pg_catalog.jsonb_object_agg(a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod))
        FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = n.oid AND a.attnum > 0 AND NOT a.attisdropped
    ), '{{}}') AS columns
FROM (VALUES (1)) AS one (row)
LEFT JOIN (
    SELECT c.oid, c.relkind, c.relowner
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
    WHERE s.nspname = 'public' AND c.relname = 'notifications'
) AS n ON true
