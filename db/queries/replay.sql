-- One page of one user's history above a position, with the log's state in the same snapshot (one row of nulls if the page is empty).
-- Parameters: user_id, after, upto (null: all that this snapshot sees), unread (only what the user has not viewed),
-- bare (where the rows are, without what they say), page (rows at most), budget (bytes: the page ends with the row that passes it; only those that stay are made into events).
-- Ordered by user and seq, so that only the index of both gives the order: by seq alone, the planner may walk through everybody's rows
-- in search of one user's, or of the few for everyone. (After user_id = x it would leave user_id out of the order; after IN, with x twice,
-- it does not. And seq + 0, because it would take a range with two bounds for a short one.)
WITH state AS MATERIALIZED (
    SELECT last_seq, pruned_seq, least(last_seq, coalesce(%(upto)s::bigint, last_seq)) AS upto FROM rowcast.state
), page AS MATERIALIZED (
    SELECT found.*, sum(found.size) OVER (ORDER BY found.seq) - found.size AS before
    FROM (
        (
            SELECT n.*, {size} AS size FROM public.notifications AS n
            WHERE n.user_id IN (%(user_id)s, %(user_id)s) AND n.seq > %(after)s AND n.seq + 0 <= (SELECT upto FROM state)
              AND NOT (%(unread)s AND n.is_viewed)
            ORDER BY n.user_id, n.seq LIMIT %(page)s
        )
        UNION ALL
        (
            SELECT n.*, {size} AS size FROM public.notifications AS n
            WHERE n.user_id IS NULL AND n.seq > %(after)s AND n.seq + 0 <= (SELECT upto FROM state)
              AND NOT (%(unread)s AND (n.is_viewed OR EXISTS (
                  SELECT FROM rowcast.viewed AS v WHERE v.user_id = %(user_id)s AND v.notification_id = n.id)))
            ORDER BY n.user_id, n.seq LIMIT %(page)s
        )
    ) AS found
    ORDER BY found.seq LIMIT %(page)s
)
SELECT s.last_seq, s.pruned_seq, {rejoin} AS rejoin, (SELECT count(*) >= %(page)s OR max(before) >= %(budget)s FROM page) AS more,
    n.seq, n.user_id::text, CASE WHEN %(bare)s THEN '' ELSE {event} END
FROM state AS s CROSS JOIN (SELECT %(after)s::bigint AS after) AS a LEFT JOIN page AS n ON n.before < %(budget)s
ORDER BY n.seq
