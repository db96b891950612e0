-- Let writers ring for so many seconds more, if they do. The mark itself is left alone: to set it anew takes the whole way of falling asleep.
SELECT setval('rowcast.doorbell_until', (extract(epoch FROM clock_timestamp()) + %(seconds)s)::bigint)
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS quick
