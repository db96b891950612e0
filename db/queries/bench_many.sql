-- Many rows in one statement, to `users` users in turn (null: to everyone). Parameters: rows, users.
INSERT INTO public.notifications (user_id, message)
SELECT CASE WHEN %(users)s::bigint IS NOT NULL THEN 1 + g %% %(users)s::bigint END, 'row ' || g FROM generate_series(0, %(rows)s::bigint - 1) AS g
