-- The row as JSON text, of a row n of notifications, as the user `viewer` (null: nobody) sees it. to_char knows no infinity.
(SELECT row_to_json(r)::text FROM (SELECT
    n.id, n.user_id, n.key, n.message, n.channel_type, n.data, n.is_sent,
    n.is_viewed OR (n.user_id IS NULL AND EXISTS (
        SELECT FROM rowcast.viewed AS v WHERE v.user_id = %(viewer)s AND v.notification_id = n.id)) AS is_viewed,
    coalesce(to_char(n.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), n.created_at::text) AS created_at,
    n.seq
) AS r)
