-- What a bucket's live streams missed: one page for all of them, with the log's state in the same snapshot (one row of nulls if there is none).
-- Parameters: user_ids (an array literal), after, upto, page and budget as in replay.sql.
WITH state AS MATERIALIZED (
    SELECT last_seq, pruned_seq, least(last_seq, coalesce(%(upto)s::bigint, last_seq)) AS upto FROM rowcast.state
), page AS MATERIALIZED (
    SELECT found.*, sum(found.size) OVER (ORDER BY found.seq) - found.size AS before
    FROM (
        SELECT n.*, {size} AS size
        FROM public.notifications AS n
        WHERE n.seq > %(after)s AND n.seq <= (SELECT upto FROM state)
          AND (n.user_id IS NULL OR n.user_id = ANY (%(user_ids)s))
        ORDER BY n.seq LIMIT %(page)s
    ) AS found
)
SELECT s.last_seq, s.pruned_seq, {rejoin} AS rejoin, (SELECT count(*) >= %(page)s OR max(before) >= %(budget)s FROM page) AS more, n.seq, n.user_id::text, {event}
FROM state AS s CROSS JOIN (SELECT %(after)s::bigint AS after) AS a LEFT JOIN page AS n ON n.before < %(budget)s
ORDER BY n.seq
