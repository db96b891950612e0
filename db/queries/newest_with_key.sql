-- The newest row with that key of those that the user `viewer` may see (null: of all).
SELECT {row} AS body FROM public.notifications AS n WHERE n.id = (SELECT rowcast.newest_with_key(%(key)s, %(viewer)s))
