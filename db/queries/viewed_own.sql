-- One batch of a user's own rows in (after, upto] that becomes viewed, locked in the order of seq so that two of these never deadlock;
-- nor do they with the claim, which locks no relayed row and waits for no lock. The batch's last seq comes back, or null.
-- Ordered by user and seq, so that no planner walks through everybody's rows by seq alone.
WITH batch AS MATERIALIZED (
    SELECT n.id, n.seq FROM public.notifications AS n
    WHERE (n.user_id, n.seq) > (%(viewer)s, %(after)s) AND (n.user_id, n.seq) <= (%(viewer)s, %(upto)s) AND NOT n.is_viewed
      AND n.seq IS NOT NULL
    ORDER BY n.user_id, n.seq LIMIT %(batch)s
    FOR NO KEY UPDATE
), marked AS (
    UPDATE public.notifications AS n SET is_viewed = true
    WHERE n.id = ANY (ARRAY(SELECT batch.id FROM batch))
)
SELECT max(batch.seq) FROM batch
