-- Set the doorbell's mark: 1 waiting (writers ring), 0 busy. Without waiting for the disk: a crash ends the session, and the next leader begins anew.
SELECT setval('rowcast.doorbell', %(mark)s) FROM (SELECT set_config('synchronous_commit', 'off', true)) AS quick
