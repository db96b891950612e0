-- Delete those of `ids` that still may go and that nobody has locked; how many went. None of them is above `upto`, which was said to be gone.
WITH free AS MATERIALIZED (
    SELECT n.id
    FROM public.notifications AS n
    WHERE n.id = ANY (%(ids)s) AND n.seq <= %(upto)s AND n.created_at < %(cutoff)s
      AND (n.user_id IS NULL OR n.is_viewed OR NOT %(keep_unread)s)
    FOR UPDATE OF n SKIP LOCKED
), gone AS (
    DELETE FROM public.notifications AS n WHERE n.id = ANY (ARRAY(SELECT free.id FROM free)) RETURNING n.id
)
SELECT count(*) FROM gone
