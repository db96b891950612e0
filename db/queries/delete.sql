-- One row by its id; with a viewer, only a row that is for this user alone.
-- What users have viewed of a row for everyone stays in rowcast.viewed until the next prune: its key begins with the user.
DELETE FROM public.notifications AS n WHERE n.id = %(id)s AND coalesce(n.user_id = %(viewer)s, %(viewer)s IS NULL)
