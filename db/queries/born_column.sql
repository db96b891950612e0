ALTER TABLE public.notifications ADD COLUMN IF NOT EXISTS born xid8
