CREATE INDEX CONCURRENTLY IF NOT EXISTS notifications_born ON public.notifications (born) WHERE NOT is_sent
