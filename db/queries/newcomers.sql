-- The users of the rows that came after a backlog (its snapshot `since`, its id `upto`) and wait to be stamped, with the hash that backlog.sql
-- gives them, and how many such rows there are in all. At most `users` of them, of `rows` rows: who is left out is delayed, nothing else.
-- `id + 0` is no condition for an index: it would be one on all ids.
SELECT r.user_id::text AS user_id, hashtextextended(r.user_id::text, 0) AS hash, sum(count(*)) OVER () AS rows
FROM (
    SELECT n.user_id FROM public.notifications AS n
    WHERE n.seq IS NULL AND n.id > %(upto)s
    UNION ALL
    SELECT n.user_id FROM public.notifications AS n
    WHERE NOT n.is_sent AND n.id + 0 <= %(upto)s AND n.born >= pg_snapshot_xmax(%(since)s::pg_snapshot)
    UNION ALL
    SELECT n.user_id FROM public.notifications AS n
    WHERE NOT n.is_sent AND n.id + 0 <= %(upto)s AND n.born = ANY (ARRAY(SELECT pg_snapshot_xip(%(since)s::pg_snapshot)))
    LIMIT %(rows)s
) AS r
WHERE r.user_id IS NOT NULL
GROUP BY r.user_id
LIMIT %(users)s
