-- The rights that bridge, web or pruner lacks; no row if it has all. What they are for: queries/*.sql, and roles.sql, which grants them.
SELECT wanted.right_on
FROM (VALUES
    ('bridge', 'SELECT on public.notifications', has_table_privilege('public.notifications', 'SELECT')),
    ('bridge', 'UPDATE (seq) on public.notifications', has_column_privilege('public.notifications', 'seq', 'UPDATE')),
    ('bridge', 'SELECT on rowcast.state', has_table_privilege('rowcast.state', 'SELECT')),
    ('bridge', 'UPDATE (last_seq) on rowcast.state', has_column_privilege('rowcast.state', 'last_seq', 'UPDATE')),
    ('bridge', 'SELECT on rowcast.terms', has_table_privilege('rowcast.terms', 'SELECT')),
    ('bridge', 'INSERT on rowcast.terms', has_table_privilege('rowcast.terms', 'INSERT')),
    ('bridge', 'DELETE on rowcast.terms', has_table_privilege('rowcast.terms', 'DELETE')),
    ('bridge', 'SELECT on rowcast.seq', has_sequence_privilege('rowcast.seq', 'SELECT')),
    ('bridge', 'UPDATE on rowcast.seq', has_sequence_privilege('rowcast.seq', 'UPDATE')),
    ('bridge', 'UPDATE on rowcast.doorbell', has_sequence_privilege('rowcast.doorbell', 'UPDATE')),
    ('bridge', 'UPDATE on rowcast.doorbell_until', has_sequence_privilege('rowcast.doorbell_until', 'UPDATE')),
    ('web', 'SELECT on public.notifications', has_table_privilege('public.notifications', 'SELECT')),
    ('web', 'INSERT (message) on public.notifications', has_column_privilege('public.notifications', 'message', 'INSERT')),
    ('web', 'UPDATE (is_viewed) on public.notifications', has_column_privilege('public.notifications', 'is_viewed', 'UPDATE')),
    ('web', 'DELETE on public.notifications', has_table_privilege('public.notifications', 'DELETE')),
    ('web', 'USAGE on public.notifications_id_seq', has_sequence_privilege('public.notifications_id_seq', 'USAGE')),
    ('web', 'SELECT on rowcast.state', has_table_privilege('rowcast.state', 'SELECT')),
    ('web', 'SELECT on rowcast.terms', has_table_privilege('rowcast.terms', 'SELECT')),
    ('web', 'SELECT on rowcast.viewed', has_table_privilege('rowcast.viewed', 'SELECT')),
    ('web', 'INSERT on rowcast.viewed', has_table_privilege('rowcast.viewed', 'INSERT')),
    ('web', 'DELETE on rowcast.viewed', has_table_privilege('rowcast.viewed', 'DELETE')),
    ('pruner', 'SELECT on public.notifications', has_table_privilege('public.notifications', 'SELECT')),
    ('pruner', 'DELETE on public.notifications', has_table_privilege('public.notifications', 'DELETE')),
    ('pruner', 'UPDATE (is_viewed) on public.notifications', has_any_column_privilege('public.notifications', 'UPDATE')),
    ('pruner', 'SELECT on rowcast.state', has_table_privilege('rowcast.state', 'SELECT')),
    ('pruner', 'UPDATE (pruned_seq) on rowcast.state', has_column_privilege('rowcast.state', 'pruned_seq', 'UPDATE')),
    ('pruner', 'EXECUTE on rowcast.forget', has_function_privilege('rowcast.forget(bigint)', 'EXECUTE')),
    ('pruner', 'SELECT on rowcast.viewed', has_table_privilege('rowcast.viewed', 'SELECT')),
    ('pruner', 'DELETE on rowcast.viewed', has_table_privilege('rowcast.viewed', 'DELETE'))
) AS wanted (part, right_on, granted)
WHERE wanted.part = %(part)s AND NOT wanted.granted
