-- A page for each of many streams, as replay.sql has it for one, all in one snapshot. First one row for each stream (number, the log's state,
-- rejoin, whether more rows follow, the seqs of its page), then each event that is in any of the pages, once, with a number of null.
-- Parameters: user_ids (an array literal), afters, uptos, unreads (arrays of the same length), page and budget (rows and bytes for one stream: its page ends
-- with the row that passes them), total (bytes for all: streams that come after the row that passes it get nothing, and more to come).
-- The type of user_ids is that of the column, which differs from database to database: coalesce takes it from there, and reads nothing.
-- The conditions are those of replay.sql, for the same reasons.
WITH state AS MATERIALIZED (
    SELECT last_seq, pruned_seq FROM rowcast.state
), asked AS MATERIALIZED (
    SELECT a.number, a.user_id, a.after, least(s.last_seq, coalesce(a.upto, s.last_seq)) AS upto, a.unread
    FROM state AS s, ROWS FROM (
        unnest(coalesce(%(user_ids)s, (SELECT array_agg(n.user_id) FROM public.notifications AS n WHERE false))),
        unnest(%(afters)s::bigint[]), unnest(%(uptos)s::bigint[]), unnest(%(unreads)s::boolean[])
    ) WITH ORDINALITY AS a (user_id, after, upto, unread, number)
), found AS MATERIALIZED (
    SELECT a.number, page.*, sum(page.size) OVER (ORDER BY a.number, page.seq) - page.size AS before_all
    FROM asked AS a CROSS JOIN LATERAL (
        SELECT either.*, sum(either.size) OVER (ORDER BY either.seq) - either.size AS before
        FROM (
            (
                SELECT n.*, {size} AS size FROM public.notifications AS n
                WHERE n.user_id IN (a.user_id, a.user_id) AND n.seq > a.after AND n.seq + 0 <= a.upto
                  AND NOT (a.unread AND n.is_viewed)
                ORDER BY n.user_id, n.seq LIMIT %(page)s
            )
            UNION ALL
            (
                SELECT n.*, {size} AS size FROM public.notifications AS n
                WHERE n.user_id IS NULL AND n.seq > a.after AND n.seq + 0 <= a.upto
                  AND NOT (a.unread AND (n.is_viewed OR EXISTS (
                      SELECT FROM rowcast.viewed AS v WHERE v.user_id = a.user_id AND v.notification_id = n.id)))
                ORDER BY n.user_id, n.seq LIMIT %(page)s
            )
        ) AS either
        ORDER BY either.seq LIMIT %(page)s
    ) AS page
), pages AS (
    SELECT f.number, array_agg(f.seq ORDER BY f.seq) FILTER (WHERE f.before < %(budget)s AND f.before_all < %(total)s) AS seqs,
        count(*) >= %(page)s OR max(f.before) >= %(budget)s OR max(f.before_all) >= %(total)s AS more
    FROM found AS f GROUP BY f.number
)
SELECT a.number, s.last_seq, s.pruned_seq, {rejoin} AS rejoin, coalesce(p.more, false), p.seqs, NULL::bigint, NULL::text, NULL::text
FROM state AS s CROSS JOIN asked AS a LEFT JOIN pages AS p USING (number)
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, n.seq, n.user_id::text, {event}
FROM (
    SELECT DISTINCT ON (f.seq) f.* FROM found AS f WHERE f.before < %(budget)s AND f.before_all < %(total)s ORDER BY f.seq
) AS n
