INSERT INTO public.notifications (user_id, message) VALUES ($1, $2)
