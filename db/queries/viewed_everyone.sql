-- One batch of the rows for everyone in (after, upto] that a user has now viewed. The batch's last seq comes back, or null.
WITH batch AS MATERIALIZED (
    SELECT n.id, n.seq FROM public.notifications AS n
    WHERE n.user_id IS NULL AND NOT n.is_viewed AND n.seq > %(after)s AND n.seq <= %(upto)s
      AND NOT EXISTS (SELECT FROM rowcast.viewed AS v WHERE v.user_id = %(viewer)s AND v.notification_id = n.id)
    ORDER BY n.user_id, n.seq LIMIT %(batch)s
), marked AS (
    INSERT INTO rowcast.viewed (user_id, notification_id)
    SELECT %(viewer)s, batch.id FROM batch ORDER BY batch.id
    ON CONFLICT DO NOTHING
)
SELECT max(batch.seq) FROM batch
