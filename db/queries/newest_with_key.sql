-- The newest row with that key: by the index, which holds the first 200 characters.
SELECT {row} AS body
FROM public.notifications AS n
WHERE left(n.key, 200) = left(%(key)s, 200) AND n.key = %(key)s
ORDER BY n.id DESC LIMIT 1
