-- One page of the bodies of a range of the log, with the log's state in the same snapshot (one row of nulls if there are none).
-- Parameters: after, upto (the range above `after`), page (rows at most), budget (bytes: the page ends with the row that passes it).
WITH page AS MATERIALIZED (
    SELECT found.*, sum(found.size) OVER (ORDER BY found.seq) - found.size AS before
    FROM (
        SELECT n.*, {size} AS size
        FROM public.notifications AS n
        WHERE n.seq > %(after)s AND n.seq <= %(upto)s
        ORDER BY n.seq LIMIT %(page)s
    ) AS found
)
SELECT s.last_seq, s.pruned_seq, (SELECT count(*) >= %(page)s OR max(before) >= %(budget)s FROM page) AS more, n.seq, n.user_id::text, {event}
FROM rowcast.state AS s LEFT JOIN page AS n ON n.before < %(budget)s
ORDER BY n.seq
