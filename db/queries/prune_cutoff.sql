-- The server's time so many seconds ago, read once for a whole run.
SELECT (clock_timestamp() - make_interval(secs => %(seconds)s))::text
