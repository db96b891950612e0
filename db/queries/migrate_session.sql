-- What the migrating session sets: no limit of the database's own, an end by the server if we freeze or are gone in the middle of a
-- statement, and a lock that writers need is not waited for long, because every INSERT would queue up behind us.
SELECT set_config(s.name, s.value, false)
FROM (VALUES
    ('default_transaction_isolation', 'read committed'),
    ('statement_timeout', '0'),
    ('transaction_timeout', '0'),
    ('idle_session_timeout', '60s'),
    ('idle_in_transaction_session_timeout', '60s'),
    ('tcp_user_timeout', '10s'),
    ('client_connection_check_interval', '2s'),
    ('lock_timeout', '3s'),
    ('quote_all_identifiers', 'off'),
    ('client_min_messages', 'warning'),
    ('synchronous_commit', 'on')
) AS s (name, value)
WHERE s.name IN (SELECT name FROM pg_catalog.pg_settings) -- transaction_timeout came with Postgres 17
  AND (s.name <> 'client_connection_check_interval' OR version() LIKE '%linux%') -- an error where the platform lacks it
