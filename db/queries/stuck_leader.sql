-- The session that holds the leader lock, if it began its last statement too long ago: it is blocked in it, or whoever sent it is gone.
-- (Of itself the server ends a session that is idle for as long; after a long statement that is too late.)
-- Waiting for a synchronous standby is not its fault, nor is the moment after.
SELECT a.pid
FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.classid = %(namespace)s::bigint::oid AND l.objid = %(lock)s::bigint::oid AND l.objsubid = 2
  AND a.wait_event IS DISTINCT FROM 'SyncRep'
  AND clock_timestamp() - a.query_start > %(patience)s::interval
  AND (a.state <> 'idle' OR clock_timestamp() - a.state_change > %(idle)s::interval)
