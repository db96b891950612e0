-- Parameters: user, message.
INSERT INTO public.notifications (user_id, message) VALUES (%(user)s, %(message)s)
