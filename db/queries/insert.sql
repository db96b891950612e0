-- Rows of a JSON array, in its order, as one transaction. The table's own row type reads each value, whatever the type of user ids.
INSERT INTO public.notifications AS n (user_id, key, message, channel_type, data)
SELECT r.user_id, r.key, r.message, coalesce(r.channel_type, 'notifications_channel'), r.data
FROM ROWS FROM (json_populate_recordset(NULL::public.notifications, %(rows)s::json)) WITH ORDINALITY AS r
ORDER BY r.ordinality
RETURNING n.id, {row} AS body
