-- The session that holds the leader lock, if it has been busy with, or blocked in, one statement for too long.
-- Waiting for a synchronous standby is not its fault.
SELECT a.pid
FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.classid = %(namespace)s::bigint::oid AND l.objid = %(lock)s::bigint::oid AND l.objsubid = 2
  AND a.state <> 'idle' AND a.wait_event IS DISTINCT FROM 'SyncRep'
  AND clock_timestamp() - a.query_start > %(patience)s::interval
