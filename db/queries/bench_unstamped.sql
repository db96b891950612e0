SELECT EXISTS (SELECT FROM public.notifications WHERE seq IS NULL)
