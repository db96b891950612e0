-- Set the doorbell's mark: 1 waiting (writers ring, for so many seconds if nobody says it again), 0 busy. Without waiting for the disk: a crash
-- ends the session, and the next leader begins anew.
SELECT
    setval('rowcast.doorbell_until', CASE %(mark)s WHEN 0 THEN 0 ELSE (extract(epoch FROM clock_timestamp()) + %(seconds)s)::bigint END),
    setval('rowcast.doorbell', %(mark)s)
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS quick
