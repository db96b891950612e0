-- The lowest seq kept for a user (rows for everyone included), or null.
SELECT least(
    (SELECT n.seq FROM public.notifications AS n WHERE n.user_id = %(user_id)s AND n.seq IS NOT NULL ORDER BY n.seq LIMIT 1),
    (SELECT n.seq FROM public.notifications AS n WHERE n.user_id IS NULL AND n.seq IS NOT NULL ORDER BY n.seq LIMIT 1)
)
