-- Set is_viewed on a row that is for one user; nothing comes back if the row is for everyone, for another user or not there.
UPDATE public.notifications AS n SET is_viewed = %(viewed)s
WHERE n.id = %(id)s AND n.user_id IS NOT NULL AND coalesce(n.user_id = %(viewer)s, true)
RETURNING {row} AS body
