-- What every session of the bridge sets: none of the database's own timeouts or isolation, and an end by the server if we freeze.
-- Its statements take the first rows of an index. Before a table's first ANALYZE the planner reads and sorts all that match instead,
-- for each batch again; and it may compile a statement for longer than that runs.
SELECT set_config(s.name, s.value, false)
FROM (VALUES
    ('default_transaction_isolation', 'read committed'),
    -- A stamp must not be published and then lost in a crash.
    ('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END),
    ('statement_timeout', '0'),
    ('lock_timeout', '0'),
    ('transaction_timeout', '0'),
    ('idle_session_timeout', %(timeout)s),
    ('idle_in_transaction_session_timeout', %(timeout)s),
    ('tcp_user_timeout', %(timeout)s),
    ('quote_all_identifiers', 'off'),
    ('rowcast.user', ''),
    ('rowcast.users', '*'), -- for a login that is in rowcast_web too: see roles.sql
    ('enable_bitmapscan', 'off'),
    ('enable_seqscan', 'off'),
    ('jit', 'off')
) AS s (name, value)
WHERE s.name IN (SELECT name FROM pg_catalog.pg_settings) OR s.name LIKE 'rowcast.%%' -- transaction_timeout came with Postgres 17
