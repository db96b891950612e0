DROP INDEX CONCURRENTLY IF EXISTS public.notifications_born
