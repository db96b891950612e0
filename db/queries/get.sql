-- One row by its id; with a viewer, only a row that this user may see.
SELECT {row} AS body
FROM public.notifications AS n
WHERE n.id = %(id)s AND coalesce(n.user_id = %(viewer)s, true)
