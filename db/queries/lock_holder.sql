-- The session that holds an advisory lock of ours in this database (one or no row).
SELECT l.pid, coalesce(a.application_name, '') AS name
FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.classid = %(namespace)s::oid AND l.objid = %(lock)s::oid AND l.objsubid = 2
LIMIT 1
