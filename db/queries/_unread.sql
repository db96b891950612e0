-- How many relayed rows the user `viewer` has not viewed, rows for everyone included. (seq + 0: a bound that no planner takes for
-- a reason to walk through the whole index of seq.)
(
    SELECT count(*) FROM public.notifications AS n
    WHERE n.user_id = %(viewer)s AND NOT n.is_viewed AND n.seq IS NOT NULL
      AND n.seq + 0 <= (SELECT last_seq FROM rowcast.state)
) + (
    SELECT count(*) FROM public.notifications AS n
    WHERE n.user_id IS NULL AND NOT n.is_viewed AND n.seq IS NOT NULL
      AND n.seq + 0 <= (SELECT last_seq FROM rowcast.state)
      AND NOT EXISTS (SELECT FROM rowcast.viewed AS v WHERE v.user_id = %(viewer)s AND v.notification_id = n.id)
)
