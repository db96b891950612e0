-- A transaction id of our own: every writer that looked at the doorbell's mark before now has a lower one, or is in nobody's way.
SELECT pg_current_xact_id()::text::bigint
