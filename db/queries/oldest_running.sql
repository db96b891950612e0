-- All transactions below this id have ended, as a new snapshot sees it.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
