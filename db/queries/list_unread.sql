-- As list.sql, but only what the user has not viewed: first the ids of all that is unread, then the page. No ORDER BY in the first
-- step: it would lead a planner to walk through all of a user's rows in search of the few that are unread.
WITH state AS MATERIALIZED (
    SELECT last_seq FROM rowcast.state
), unread AS MATERIALIZED (
    SELECT n.id FROM public.notifications AS n
    WHERE n.user_id = %(viewer)s AND NOT n.is_viewed AND n.seq IS NOT NULL AND n.seq + 0 <= (SELECT last_seq FROM state)
    UNION ALL
    SELECT n.id FROM public.notifications AS n
    WHERE n.user_id IS NULL AND NOT n.is_viewed AND n.seq IS NOT NULL AND n.seq + 0 <= (SELECT last_seq FROM state)
      AND NOT EXISTS (SELECT FROM rowcast.viewed AS v WHERE v.user_id = %(viewer)s AND v.notification_id = n.id)
), newest AS MATERIALIZED (
    SELECT unread.id FROM unread WHERE unread.id <= %(upto)s ORDER BY unread.id DESC LIMIT %(page)s + 1
), found AS MATERIALIZED (
    SELECT n.*, {size} AS size FROM public.notifications AS n WHERE n.id = ANY (ARRAY(SELECT newest.id FROM newest))
), page AS MATERIALIZED (
    {page}
)
SELECT s.last_seq, (SELECT count(*) FROM unread) AS unread,
    (SELECT count(*) FROM page) < (SELECT count(*) FROM found) AS more, n.id, {row}
FROM state AS s LEFT JOIN page AS n ON true
ORDER BY n.id DESC
