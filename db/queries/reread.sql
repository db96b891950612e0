-- What a bucket's live streams missed: one page for all of them, with last_seq of the same snapshot (one row of nulls if there is none).
WITH state AS MATERIALIZED (
    SELECT last_seq, least(last_seq, coalesce(%(upto)s::bigint, last_seq)) AS upto FROM rowcast.state
), page AS MATERIALIZED (
    SELECT n.seq, n.user_id::text AS user_id, {event} AS body
    FROM public.notifications AS n
    WHERE n.seq > %(after)s AND n.seq <= (SELECT upto FROM state)
      AND (n.user_id IS NULL OR n.user_id = ANY (%(user_ids)s))
    ORDER BY n.seq LIMIT %(page)s
)
SELECT s.last_seq, page.seq, page.user_id, page.body
FROM state AS s LEFT JOIN page ON true
ORDER BY page.seq
