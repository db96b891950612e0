-- What every session of the web sets: none of the database's own timeouts or isolation. Its reads are limited where they are asked for,
-- and what a read that was given up still does ends on the server by `timeout`.
SELECT set_config(s.name, s.value, false)
FROM (VALUES
    ('default_transaction_isolation', 'read committed'),
    ('statement_timeout', %(timeout)s),
    ('lock_timeout', '0'),
    ('transaction_timeout', '0'),
    ('idle_session_timeout', '0'),
    ('quote_all_identifiers', 'off'),
    ('jit', 'off') -- reads of a few rows, whatever the planner thinks before the first ANALYZE
) AS s (name, value)
WHERE s.name IN (SELECT name FROM pg_catalog.pg_settings) -- transaction_timeout came with Postgres 17
