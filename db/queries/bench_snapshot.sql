-- An open snapshot, as pg_dump has one.
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM rowcast.state
