-- What the migrating session sets on top of `session`: a client that is gone is noticed in the middle of a statement, and a lock that
-- writers need is not waited for long, because every INSERT would queue up behind us.
SELECT set_config(s.name, s.value, false)
FROM (VALUES
    ('client_connection_check_interval', '2s'),
    ('lock_timeout', '10s'),
    ('client_min_messages', 'warning'),
    ('synchronous_commit', 'on')
) AS s (name, value)
WHERE s.name <> 'client_connection_check_interval' OR version() LIKE '%linux%' -- an error where the platform lacks it
