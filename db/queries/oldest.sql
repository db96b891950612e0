-- The lowest seq kept, or null.
SELECT n.seq FROM public.notifications AS n WHERE n.seq IS NOT NULL ORDER BY n.seq LIMIT 1
