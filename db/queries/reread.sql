-- What a bucket's live streams missed: one page for all of them, with last_seq of the same snapshot (one row of nulls if there is none).
-- Parameters: user_ids (an array literal), after, upto, page and budget as in replay.sql.
WITH state AS MATERIALIZED (
    SELECT last_seq, least(last_seq, coalesce(%(upto)s::bigint, last_seq)) AS upto FROM rowcast.state
), page AS MATERIALIZED (
    SELECT found.*, sum(octet_length(found.body)) OVER (ORDER BY found.seq) - octet_length(found.body) AS before
    FROM (
        SELECT n.seq, n.user_id::text AS user_id, {event} AS body
        FROM public.notifications AS n
        WHERE n.seq > %(after)s AND n.seq <= (SELECT upto FROM state)
          AND (n.user_id IS NULL OR n.user_id = ANY (%(user_ids)s))
        ORDER BY n.seq LIMIT %(page)s
    ) AS found
)
SELECT s.last_seq, (SELECT count(*) >= %(page)s OR max(before) >= %(budget)s FROM page) AS more, page.seq, page.user_id, page.body
FROM state AS s LEFT JOIN page ON page.before < %(budget)s
ORDER BY page.seq
