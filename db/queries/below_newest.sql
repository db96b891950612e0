-- Where a backlog begins that is cut to its newest rows: their seqs, newest first, of which only two are returned, the first of those that are kept
-- and the last of those that are not; fewer rows if there is nothing to cut.
-- Parameters: user_id, after, upto, unread (as replay.sql has them, and its conditions for the same reasons), keep (rows).
SELECT either.seq
FROM (
    (
        SELECT n.seq FROM public.notifications AS n
        WHERE n.user_id IN (%(user_id)s, %(user_id)s) AND n.seq > %(after)s AND n.seq + 0 <= %(upto)s
          AND NOT (%(unread)s AND n.is_viewed)
        ORDER BY n.user_id DESC, n.seq DESC LIMIT %(keep)s + 1
    )
    UNION ALL
    (
        SELECT n.seq FROM public.notifications AS n
        WHERE n.user_id IS NULL AND n.seq > %(after)s AND n.seq + 0 <= %(upto)s
          AND NOT (%(unread)s AND (n.is_viewed OR EXISTS (
              SELECT FROM rowcast.viewed AS v WHERE v.user_id = %(user_id)s AND v.notification_id = n.id)))
        ORDER BY n.user_id DESC, n.seq DESC LIMIT %(keep)s + 1
    )
) AS either
ORDER BY either.seq DESC LIMIT 2 OFFSET %(keep)s - 1
