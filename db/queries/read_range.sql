-- The bodies of one range of the log, oldest first, each row with last_seq of the same snapshot (one row of nulls if there are none).
SELECT s.last_seq, n.seq, n.user_id::text, {event}
FROM rowcast.state AS s LEFT JOIN public.notifications AS n ON n.seq > %(start)s AND n.seq <= %(end)s
ORDER BY n.seq
